"""One answer out of several: where one breaks off another goes on, and the client sees one stream.

A join takes the events of the answer at hand, as callers send them in the client's dialect. Those
of the first pass as they are. When it breaks off, `go_on` says that what comes is the rest: it gets
the first one's name and numbers, says nothing twice, and counts what all of them took.
"""

from typing import Protocol

from droveway.contracts.relay import Usage

MAX_SAID_BYTES = 1024 * 1024
"""Of text that is kept to be gone on with; a longer answer that breaks off stays broken."""


class Join(Protocol):
    """One client's stream; made anew for each request."""

    @property
    def said(self) -> "Said":
        """The text that the client has."""
        ...

    @property
    def can_go_on(self) -> bool:
        """Whether what the client has is a text that another target can go on with, or nothing."""
        ...

    def take(self, data: bytes) -> list[bytes]:
        """One event of the answer at hand, as the client is to see it."""
        ...

    def go_on(self, before: Usage) -> None:
        """What comes is the rest of it; `before` is what all answers so far took."""
        ...


class Said:
    """A text as its client has it."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._pieces: list[str] = []
        self._owed = ""

    @property
    def full(self) -> bool:
        """There is more than is kept."""
        return self.size_bytes > MAX_SAID_BYTES

    @property
    def prefill(self) -> str:
        """The text to be gone on with: without the white space at its end, which some refuse."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0].rstrip()

    def add(self, text: str) -> None:
        """The client has seen a further piece."""
        self.size_bytes += len(text.encode("utf-8", "replace"))
        if not self.full:
            self._pieces.append(text)

    def go_on(self) -> None:
        """The rest begins: it may begin with the white space that its target wasn't shown."""
        prefill = self.prefill
        self._owed = self._pieces[0][len(prefill) :]

    def rest(self, text: str) -> str:
        """A piece of the rest, without the white space that the client has already."""
        while self._owed and text:
            if text[0] != self._owed[0]:
                self._owed = ""
                break
            text, self._owed = text[1:], self._owed[1:]
        return text
