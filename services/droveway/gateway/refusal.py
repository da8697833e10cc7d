"""A request that ends with an error before its answer began."""

from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import TriedTarget


class Refusal(Exception):
    """Ends a request with `failure`; the status is the catalogue's or the provider's."""

    def __init__(
        self, occurrence: Failure, tried: tuple[TriedTarget, ...] = (), *, final: bool = False
    ) -> None:
        super().__init__(occurrence.code)
        self.final = final
        """It is known that nothing runs any more for the request; a door that gives up isn't sure.
        """
        self.failure = occurrence
        self.tried = tried


def refuse(code: str, message: str = "", **details: object) -> Refusal:
    """A refusal by its code; `details` are those of `errors.failure`."""
    return Refusal(failure(code, message, **details))  # type: ignore[arg-type]
