"""What each client saw, and what the nemesis did when: the evidence that checkers judge.

A history is a header, then one line of JSON for each request and each strike, in the order in
which they ended. Other processes write the same lines; `History.extend_from` reads them. All times
are seconds of the machine's monotonic clock, so that lines of several processes compare.
"""

import platform
import re
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import msgspec

Terminal = Literal["done", "error", "cut", "none"]
"""`done`: the answer ended as its protocol says. `error`: the client was told, by status or event.
`cut`: the connection ended before the answer. `none`: the body ended well but told no end,
nothing came within the client's time, or the client left before."""

_NUMBERED = re.compile(r"numbered-(\d{1,7})")


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="history"):
    """Where a history comes from."""

    seed: int
    began_s: float
    versions: dict[str, str]


class Request(msgspec.Struct, kw_only=True, tag="request"):
    """One request from its first byte to its outcome; a client fills it in as it goes."""

    id: str
    client: str
    """Which kind: `raw`, `httpx`, an SDK's name."""
    model: str
    stream: bool
    invoked_s: float
    expected_tokens: int | None = None
    """How many a whole answer has; none if that isn't known."""
    status: int | None = None
    request_id: str = ""
    attempts: int | None = None
    tokens: list[str] = []
    """Each delta's text as it came."""
    arrivals_s: list[float] = []
    """When each delta came, since the invocation."""
    terminals: list[Literal["done", "error"]] = []
    """Each terminal that came, in order: there has to be one."""
    late_events: int = 0
    """Events after the first terminal."""
    body: Literal["whole", "cut", "left", "none"] = "none"
    """How the body ended: as HTTP has it, before that, since the client left, or not at all."""
    error_code: str = ""
    exception: str = ""
    """The class of what was raised, if anything."""
    duration_s: float = 0.0

    @property
    def terminal(self) -> Terminal:
        """The first outcome that the client could act on."""
        if self.terminals:
            return self.terminals[0]
        return "cut" if self.body == "cut" else "none"

    @property
    def text(self) -> str:
        """All that was said."""
        return "".join(self.tokens)

    @property
    def longest_pause_s(self) -> float:
        """The longest wait between two deltas."""
        pairs = zip(self.arrivals_s, self.arrivals_s[1:], strict=False)
        return max((later - earlier for earlier, later in pairs), default=0.0)


class Strike(msgspec.Struct, frozen=True, kw_only=True, tag="strike"):
    """What the nemesis did, or undid."""

    name: str
    at_s: float
    phase: Literal["begins", "ends", "heals", "fails"]
    cause: str = ""
    """Of a failure: the class of what was raised."""


Line = Header | Request | Strike
_decoder = msgspec.json.Decoder(Line)


class History:
    """Everything that was seen, in memory and, if a path is given, in a file as it happens."""

    def __init__(self, path: Path | None = None, *, seed: int = 0) -> None:
        packages = {name: version(name) for name in ("droveway", "nats-py")}
        self.header = Header(
            seed=seed,
            began_s=time.monotonic(),
            versions={"python": platform.python_version(), **packages},
        )
        self.requests: list[Request] = []
        self.strikes: list[Strike] = []
        self._invoked = 0
        self._file: IO[bytes] | None = path.open("wb") if path else None
        self._write(self.header)

    def __enter__(self) -> Self:
        """Closes the file at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def invoke(
        self, client: str, model: str, *, stream: bool, expected_tokens: int | None = None
    ) -> Request:
        """Begins a request; a model `numbered-<n>` says itself how many tokens are expected."""
        self._invoked += 1
        if expected_tokens is None and (match := _NUMBERED.search(model)):
            expected_tokens = int(match[1])
        return Request(
            id=f"{client}-{self._invoked}",
            client=client,
            model=model,
            stream=stream,
            invoked_s=time.monotonic(),
            expected_tokens=expected_tokens,
        )

    def add(self, line: Request | Strike) -> None:
        """Adds what has come to its end; a request gets its duration."""
        if isinstance(line, Strike):
            self.strikes.append(line)
        else:
            line.duration_s = line.duration_s or time.monotonic() - line.invoked_s
            self.requests.append(line)
        self._write(line)

    def extend_from(self, path: Path) -> int:
        """Adds what another process saw, its ids behind the file's name; how many lines that were.

        Raises:
            msgspec.ValidationError, msgspec.DecodeError: A line isn't of a history.
        """
        lines = [line for line in read(path) if not isinstance(line, Header)]
        for line in lines:
            if isinstance(line, Request):
                line.id = f"{path.stem}/{line.id}"
            self.add(line)
        return len(lines)

    def with_terminal(self, terminal: Terminal) -> list[Request]:
        """The requests that ended so."""
        return [request for request in self.requests if request.terminal == terminal]

    def _write(self, line: Line) -> None:
        if self._file is not None:
            self._file.write(msgspec.json.encode(line) + b"\n")
            self._file.flush()


def read(path: Path) -> Iterator[Line]:
    """The lines of a history; a last one that was cut by its writer's death is left out."""
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield _decoder.decode(line)
