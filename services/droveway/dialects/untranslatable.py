"""What translating a request can end in: another request with warnings, or a refusal."""

from typing import Any, NamedTuple


class Untranslatable(Exception):
    """The request asks for what the other dialect has no words for; the client gets a 400."""

    code = "invalid_request"
    """Of the catalogue."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.message = message
        """What was wrong, and what would be right."""
        self.param = param
        """Path of the parameter in the client's own request, as `messages[2].content[0].type`."""


class Translated(NamedTuple):
    """A request in another dialect."""

    body: dict[str, Any]
    warnings: tuple[str, ...] = ()
    """What was dropped or changed, one short sentence for each."""
