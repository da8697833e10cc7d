"""Responses kept by id, so that a client can read them again and go on from them.

This KV bucket is the only place where the content of clients is kept. A request with `store: false`
leaves nothing in it, and a gateway with `store_responses` off leaves nothing at all. A value goes
after the bucket's time to live, or when its owner deletes it; then its bytes are overwritten. It
holds what client and model said, and nothing of ours: no key, no credential, no header.

The owner is the key that asked, under its tenant: to any other there is no such response.
"""

import base64
import logging
import re
from typing import Any, NamedTuple

import msgspec

from droveway.contracts.access import Key
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.jetstream import RESPONSES
from droveway.gateway.refusal import refuse
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus, store
from droveway.runtime.errors import BusError, JetStreamRefused

log = logging.getLogger(__name__)

_ID = re.compile(r"resp_[0-9a-f]{32}")
_STREAM = f"KV_{RESPONSES}"
_ABSENT = frozenset({10037, 10043, 10057})
"""JetStream's numbers for a message that isn't there, or was deleted just now."""
_BUCKET_S = 2.0

NOT_STORED = "store: the response could not be kept"
TOO_LARGE = "store: the response is larger than {limit} bytes with its conversation and is not kept"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one response."""

    response: msgspec.Raw
    """The Response object, as the client got it."""
    messages: list[dict[str, Any]]
    """The conversation with its answer as chat messages, without instructions."""
    input_items: list[dict[str, Any]]
    """What this request added to it."""


class StoredResponsesStatistics(NamedTuple):
    """A snapshot for gauges; all but `limit_bytes` count from the process's start."""

    limit_bytes: int
    stored: int
    stored_bytes: int
    too_large: int
    failed: int
    """Not kept since the bucket was full, or didn't answer."""
    found: int
    missed: int
    """Asked for, and there was none of that owner."""
    deleted: int


_records = msgspec.json.Decoder(Record)
_encode = msgspec.json.Encoder().encode


class StoredResponses:
    """The bucket `responses`, as one gateway uses it."""

    def __init__(self, bus: Bus, max_stored_bytes: int) -> None:
        self._bus = bus
        self._limit_bytes = max_stored_bytes
        self._stored = self._stored_bytes = self._too_large = self._failed = 0
        self._found = self._missed = self._deleted = 0

    async def put(self, owner: Key, response_id: str, record: Record) -> str:
        """Keeps a response; what goes wrong costs the client its storing, never its answer.

        Returns: A warning for the client if it isn't kept, else nothing.
        """
        value = _encode(record)
        if len(value) > self._limit_bytes:
            self._too_large += 1
            return TOO_LARGE.format(limit=self._limit_bytes)
        try:
            subject = _subject(owner, response_id)
            await store(self._bus, subject, value, _BUCKET_S)
        except BusError as error:
            self._failed += 1
            log_event(log, "response_not_stored", level=logging.WARNING, error=str(error))
            return NOT_STORED
        self._stored += 1
        self._stored_bytes += len(value)
        return ""

    async def get(self, owner: Key, response_id: str) -> Record | None:
        """The response of that owner; None when there is none.

        Raises:
            Refusal: 503: the bucket doesn't answer.
        """
        found = await self._find(owner, response_id)
        if found is None:
            self._missed += 1
            return None
        self._found += 1
        return found[0]

    async def delete(self, owner: Key, response_id: str) -> bool:
        """Forgets a response; whether there was one.

        Raises:
            Refusal: 503: the bucket doesn't answer.
        """
        found = await self._find(owner, response_id)
        if found is None or not await self._call("MSG.DELETE", {"seq": found[1]}):
            self._missed += 1
            return False
        self._deleted += 1
        return True

    def statistics(self) -> StoredResponsesStatistics:
        """A snapshot for gauges."""
        return StoredResponsesStatistics(
            self._limit_bytes, self._stored, self._stored_bytes, self._too_large, self._failed,
            self._found, self._missed, self._deleted,
        )  # fmt: skip

    async def _find(self, owner: Key, response_id: str) -> tuple[Record, int] | None:
        """Asks the stream's leader: a replica may not have what was stored a moment ago."""
        if not _ID.fullmatch(response_id):
            return None
        answer = await self._call("MSG.GET", {"last_by_subj": _subject(owner, response_id)})
        if answer is None:
            return None
        message = answer["message"]
        try:
            return _records.decode(base64.b64decode(message["data"])), message["seq"]
        except MALFORMED:
            log_event(log, "stored_response_unreadable", level=logging.ERROR)
            return None

    async def _call(self, verb: str, body: dict[str, Any]) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] = await self._bus.jetstream(
                f"STREAM.{verb}.{_STREAM}", body, _BUCKET_S
            )
        except JetStreamRefused as error:
            if error.number in _ABSENT:
                return None
            raise refuse("service_unavailable", retry_after_ms=1_000) from error
        except BusError as error:
            raise refuse("service_unavailable", retry_after_ms=1_000) from error
        return answer


def _subject(owner: Key, response_id: str) -> str:
    assert _ID.fullmatch(response_id)
    return f"$KV.{RESPONSES}.{owner.tenant}.{owner.id}.{response_id}"
