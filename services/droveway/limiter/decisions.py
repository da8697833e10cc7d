"""All limits of a key at once, all or nothing; a repeated question gets its first answer."""

from collections import OrderedDict
from typing import NamedTuple

from droveway.contracts.admission import AdmissionRequested, Admitted, Denied
from droveway.contracts.config import Config
from droveway.contracts.errors import failure
from droveway.contracts.inference import Window
from droveway.limiter.window import SlidingWindow, Standing


class DecisionStatistics(NamedTuple):
    """A snapshot for gauges."""

    admitted: int
    denied: int
    repeated: int
    remembered: int
    keys: int


class Decisions:
    """Every key's windows; pure but for the clock reading that it's handed."""

    def __init__(self, remembered: int) -> None:
        self._windows: dict[str, tuple[SlidingWindow, ...]] = {}
        self._remembered = remembered
        self._answers: OrderedDict[str, Admitted | Denied] = OrderedDict()
        self._admitted = 0
        self._denied = 0
        self._repeated = 0

    def configure(self, config: Config) -> None:
        """Takes new limits; windows of the same length keep what they have counted."""
        fresh: dict[str, tuple[SlidingWindow, ...]] = {}
        for key in config.keys:
            known = {window.window_s: window for window in self._windows.get(key.id, ())}
            fresh[key.id] = tuple(
                known[limit.window_s].resized(limit.requests)
                if limit.window_s in known
                else SlidingWindow(limit.requests, limit.window_s)
                for limit in key.limits
            )
        self._windows = fresh

    def decide(self, request: AdmissionRequested, now_s: float) -> Admitted | Denied:
        """Admits and counts, or denies and counts nothing."""
        if (answer := self._answers.get(request.request_id)) is not None:
            self._repeated += 1
            return answer
        answer = self._decide(request, now_s)
        if isinstance(answer, Admitted):
            self._admitted += 1
            self._answers[request.request_id] = answer
            if len(self._answers) > self._remembered:
                self._answers.popitem(last=False)
        else:
            self._denied += 1
        return answer

    def statistics(self) -> DecisionStatistics:
        """A snapshot for gauges."""
        return DecisionStatistics(
            admitted=self._admitted,
            denied=self._denied,
            repeated=self._repeated,
            remembered=len(self._answers),
            keys=len(self._windows),
        )

    def _decide(self, request: AdmissionRequested, now_s: float) -> Admitted | Denied:
        windows = self._windows.get(request.key_id)
        if windows is None:
            unknown = failure("limiter_unavailable", "The limiter doesn't know this key yet")
            return Denied(request_id=request.request_id, failure=unknown)
        if not windows:
            return Admitted(request_id=request.request_id)
        standings = [(window, window.standing(now_s)) for window in windows]
        window, standing = max(standings, key=lambda pair: (pair[1].wait_s, -pair[1].remaining))
        if standing.wait_s > 0:
            return _denied(request, window, standing)
        for each in windows:
            each.take(now_s)
        return Admitted(
            request_id=request.request_id,
            requests=_view(window, window.standing(now_s)),
        )


def _denied(request: AdmissionRequested, window: SlidingWindow, standing: Standing) -> Denied:
    wait_ms = int(standing.wait_s * 1000) + 1
    text = (
        f"Rate limit exceeded for model {request.model}: {window.limit} requests per "
        f"{window.window_s:g} s. Please retry after {wait_ms / 1000:.3f} seconds"
    )
    return Denied(
        request_id=request.request_id,
        failure=failure("rate_limit_exceeded", text, retry_after_ms=wait_ms),
        requests=_view(window, standing),
    )


def _view(window: SlidingWindow, standing: Standing) -> Window:
    return Window(
        limit=standing.limit,
        remaining=standing.remaining,
        reset_ms=int(standing.reset_s * 1000),
        window_ms=int(window.window_s * 1000),
    )
