"""What is known of one request at its door: its times, its facts, and how it has ended."""

import time
from collections.abc import Sequence

from droveway.contracts.access import Key
from droveway.contracts.errors import Failure, status_of
from droveway.contracts.inference import Standing, TriedTarget
from droveway.contracts.relay import Completed, Interrupted, Origin, Usage
from droveway.gateway.error_classes import CLIENT_GONE


class Record:
    """Filled in as the request goes."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.key: Key | None = None
        self.model = ""
        self.stream = False
        self.status = 0
        self.outcome = "failed"
        self.failure: Failure | None = None
        self.origin: Origin | None = None
        self.usage = Usage()
        self.input_estimate_tokens = 0
        self.attempts = 0
        self.continuations = 0
        """How often another target went on with the answer."""
        self._upstream_s: float | None = None
        """The first answer's time at its provider, before its first content."""
        self._tried = ""
        self._channel = ""
        self.accepted = False
        self.standing: Standing | None = None
        self.warnings: tuple[str, ...] = ()
        """What the provider won't get of the request, as far as the door knows."""
        self.answer_bytes = 0
        self.events = 0
        self._began_s = time.monotonic()
        self._marks: dict[str, float] = {}

    def mark(self, phase: str, at_s: float | None = None) -> None:
        """Notes the (monotonic) time of a phase; the first time counts."""
        self._marks.setdefault(phase, time.monotonic() if at_s is None else at_s)

    def elapsed_us(self) -> int:
        """Microseconds since the request came."""
        return int((time.monotonic() - self._began_s) * 1e6)

    def fail(self, occurrence: Failure, outcome: str = "failed") -> None:
        """The request ends badly, with the status that the client gets or would have got."""
        self.failure = occurrence
        self.outcome = outcome
        self.status = self.status or status_of(occurrence)

    def finish(self, status: int) -> None:
        """The gateway has answered by itself, and well."""
        self.outcome = "completed"
        self.status = status

    def leave(self) -> None:
        """The client left first."""
        self.outcome = "cancelled"
        self.status = CLIENT_GONE

    def saw(self, origin: Origin | None) -> None:
        """The first frame says who answers."""
        if origin is not None:
            self.origin = origin
            if self._upstream_s is None:
                self._upstream_s = origin.upstream_us / 1e6
            self._channel = origin.channel
            self.attempts = origin.attempt
            self.mark("first_frame")

    def saw_failed(self, tried: Sequence[TriedTarget]) -> None:
        """No attempt committed; the last one's provider is where the request went."""
        self.attempts = max(self.attempts, len(tried))
        self._tried = tried[-1].target.partition("/")[0] if tried else ""
        self._channel = tried[-1].channel if tried else ""

    def end(self, terminal: Completed | Interrupted) -> None:
        """The answer's terminal has come."""
        self.mark("last_frame")
        self.usage = terminal.usage
        if isinstance(terminal, Interrupted):
            self.failure = terminal.failure
            self.outcome = "interrupted"
        else:
            self.outcome = "completed"

    def _overhead_s(self, first_s: float | None) -> float | None:
        """What the first content waited for beyond its provider's own time."""
        if first_s is None or self._upstream_s is None:
            return None
        return max(0.0, first_s - self._upstream_s)

    def _first_frame_s(self) -> float | None:
        at_s = self._marks.get("first_frame")
        return None if at_s is None else at_s - self._began_s

    def _per_token_s(self) -> float | None:
        """The mean over a streamed answer's tokens after the first one, as the provider counts."""
        first_s, last_s = self._marks.get("first_frame"), self._marks.get("last_frame")
        tokens = 0 if self.usage.estimated else self.usage.output_tokens
        if not self.stream or first_s is None or last_s is None or tokens < 2:
            return None
        return (last_s - first_s) / (tokens - 1)

    def _used(self) -> Usage:
        """As its caller told; of an answer that was cut before that, what the client saw of it."""
        cut = self.outcome in ("interrupted", "cancelled") and self.origin is not None
        if not cut or self.usage != Usage():
            return self.usage
        return Usage(self.input_estimate_tokens, self.events if self.stream else 0, estimated=True)

    def _at_us(self, phase: str) -> int | None:
        at_s = self._marks.get(phase)
        return None if at_s is None else max(0, int((at_s - self._began_s) * 1e6))
