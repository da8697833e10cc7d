"""What the front needs of a dialect: keys, errors and headers in its words; and of an endpoint."""

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

from droveway.simulator.book import Entry
from droveway.simulator.delivery import Words
from droveway.simulator.errors import ApiError
from droveway.simulator.faults import Faults
from droveway.simulator.steps import Step

Name = Literal["openai", "anthropic"]


class Dialect(Protocol):
    """One provider's manners."""

    name: Name

    def key(self, headers: Mapping[str, str], /) -> str | None:
        """Find the key."""

    def headers(self, request_id: str, processing_ms: int, /) -> dict[str, str]:
        """Say which headers every answer has."""

    def limit_headers(self, remaining: int, reset_ms: int, /) -> dict[str, str]:
        """Say how many requests are left, and until when."""

    def error_body(self, error: ApiError, request_id: str, /) -> bytes:
        """Put a refusal into the dialect's error object."""

    def words(self, request_id: str, faults: Faults, /) -> Words:
        """Say what is said where an answer fails."""


class Job(Protocol):
    """A request that has been read and found right."""

    model: str

    def steps(self, faults: Faults) -> Iterator[Step]:
        """Answer it.

        Raises:
            ApiError: what was asked can't be answered.
        """


class Endpoint(Protocol):
    """Reads the requests of one route."""

    dialect: Dialect
    name: str

    def read(self, body: bytes, headers: Mapping[str, str], entry: Entry, /) -> Job:
        """Decode and check a request, and tell the book what it is.

        Raises:
            ApiError: it isn't as the dialect has it.
        """


def bearer_key(headers: Mapping[str, str]) -> str | None:
    """Read the key of `authorization: Bearer <key>`."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None
