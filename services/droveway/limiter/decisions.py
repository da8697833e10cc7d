"""All limits of a key at once, all or nothing; and which router holds a request."""

from collections import OrderedDict
from typing import NamedTuple

from droveway.contracts.admission import AdmissionRequested, Admitted, Decision, Denied, Held
from droveway.contracts.config import Config
from droveway.contracts.errors import failure
from droveway.contracts.inference import Window
from droveway.limiter.window import SlidingWindow, Standing


class DecisionStatistics(NamedTuple):
    """A snapshot for gauges."""

    admitted: int
    denied: int
    repeated: int
    held: int
    """Questions by a router about a request that another one holds."""
    taken_over: int
    remembered: int
    keys: int


class _Hold(NamedTuple):
    """An admitted request: who has it, by which publication, and what it was told."""

    router: str
    ask: int
    answer: Admitted


class Decisions:
    """Every key's windows and holds; pure but for the clock reading that it's handed."""

    def __init__(self, remembered: int) -> None:
        self._windows: dict[str, tuple[SlidingWindow, ...]] = {}
        self._remembered = remembered
        self._holds: OrderedDict[str, _Hold] = OrderedDict()
        self._admitted = 0
        self._denied = 0
        self._repeated = 0
        self._held = 0
        self._taken_over = 0

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

    def decide(self, request: AdmissionRequested, now_s: float) -> Decision:
        """Admits and counts, or denies and counts nothing; a request counts once."""
        if (hold := self._holds.get(request.request_id)) is not None:
            return self._again(request, hold)
        answer = self._decide(request, now_s)
        if isinstance(answer, Denied):
            self._denied += 1
            return answer
        self._admitted += 1
        self._holds[request.request_id] = _Hold(request.router, request.ask, answer)
        if len(self._holds) > self._remembered:
            self._holds.popitem(last=False)
        return answer

    def _again(self, request: AdmissionRequested, hold: _Hold) -> Admitted | Held:
        """Whoever has it may ask again, or take over what another one can't have any more."""
        if (request.router, request.ask) == (hold.router, hold.ask):
            self._repeated += 1
            return hold.answer
        if request.instead_of == hold.router and request.ask > hold.ask:
            self._taken_over += 1
            self._holds[request.request_id] = _Hold(request.router, request.ask, hold.answer)
            return hold.answer
        self._held += 1
        return Held(request_id=request.request_id, router=hold.router, ask=hold.ask)

    def statistics(self) -> DecisionStatistics:
        """A snapshot for gauges."""
        return DecisionStatistics(
            admitted=self._admitted,
            denied=self._denied,
            repeated=self._repeated,
            held=self._held,
            taken_over=self._taken_over,
            remembered=len(self._holds),
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
