"""A request that ends with an error before its answer began."""

import contextlib
from collections.abc import Iterator

from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import TriedTarget
from droveway.dialects.untranslatable import Untranslatable
from droveway.gateway.json_caps import BadRequest


class Refusal(Exception):
    """Ends a request with `failure`; the status is the catalogue's or the provider's."""

    def __init__(
        self, occurrence: Failure, tried: tuple[TriedTarget, ...] = (), *,
        final: bool = False, spent: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(occurrence.code)
        self.final = final
        """It is known that nothing runs any more for the request; a door that gives up isn't sure.
        """
        self.spent = spent
        """The gateway has done what its retries can: see `answers.should_retry`."""
        self.failure = occurrence
        self.tried = tried


def refuse(code: str, message: str = "", **details: object) -> Refusal:
    """A refusal by its code; `details` are those of `errors.failure`."""
    return Refusal(failure(code, message, **details))  # type: ignore[arg-type]


def no_such_model(name: str) -> Refusal:
    """404 for a model that no route serves or that the key may not use: both look the same."""
    text = f"The model `{name[:100]}` does not exist or you do not have access to it."
    return refuse("model_not_found", text, param="model")


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turns what reading or translating a request raises into the refusal that tells it.

    Raises:
        Refusal: The request is wrong, in its JSON, in its fields or in what it asks for.
    """
    try:
        yield
    except (BadRequest, Untranslatable) as error:
        raise refuse(error.code, error.message, param=error.param) from None
