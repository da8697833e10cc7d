"""All targets' health as this router sees it: whom to ask first, and whom to leave alone.

Its own attempts count as soon as they end, those of other routers by their callers' digests within
a second. A digest says whose attempts they were, so none counts twice. Were shares left to digests
alone, a router would wait for them before it saw its own failures, and a lost one would hide them.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from droveway.contracts import dispatch
from droveway.contracts.config import Health
from droveway.contracts.events import MAX_MODEL_CHARS, TargetClosed, TargetOpened
from droveway.contracts.health import FAULTS, TargetHealth
from droveway.contracts.providers import TargetSeen
from droveway.otel.logs import log_event
from droveway.router.breaker import Breaker
from droveway.router.routes import Candidate
from droveway.router.speed import Speed

log = logging.getLogger(__name__)

MAX_TARGETS = 4_096
"""Where a route takes any model, clients choose their names; the one heard of longest ago goes."""

Key = tuple[str, str]
"""Provider and its name for the model."""


class HealthStatistics(NamedTuple):
    """A snapshot for gauges."""

    targets: int
    limit: int
    opened: int
    """Those that are left alone now."""
    spared: int
    """Requests that went elsewhere, since a target was left alone."""
    probes: int


class TargetsHealth:
    """A breaker for each target that was ever tried, here or by another router.

    Args:
        router: This one's name, by which digests tell its attempts from others'.
        tell: Takes an event for each target that begins to be left alone or is used again.
    """

    def __init__(
        self, router: str, tell: Callable[[TargetOpened | TargetClosed], None] = lambda _: None
    ) -> None:
        self._router = router
        self._tell_event = tell
        self._rules = Health()
        self._breakers: OrderedDict[Key, Breaker] = OrderedDict()
        self._speeds: OrderedDict[Key, Speed] = OrderedDict()
        self._spared = 0
        self._probes = 0

    def configure(self, rules: Health) -> None:
        """Takes other rules."""
        self._rules = rules
        for breaker in self._breakers.values():
            breaker.configure(rules)

    def first_token_s(self, target: dispatch.Target) -> float:
        """What it lately took to a first token; 0: not known, or not for long."""
        known = self._speeds.get((target.provider, target.model))
        return 0.0 if known is None else known.value_s(time.monotonic())

    def order(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The healthy ones and those to be probed as they stood, then the others.

        None is left out: where all are open, the one that is tried again soonest is the least bad.
        """
        now_s = time.monotonic()
        states = [self._state(one, now_s) for one in candidates]
        if "open" not in states:
            return [*candidates]
        pairs = list(zip(candidates, states, strict=True))
        healthy = [one for one, state in pairs if state != "open"]
        self._spared += bool(healthy) and states[0] == "open"
        others = [one for one, state in pairs if state == "open"]
        return healthy + sorted(others, key=self._wait_s)

    def dispatched(self, candidate: Candidate, within_s: float) -> None:
        """An attempt goes there; of a target that was open it is the probe."""
        breaker = self._breakers.get(_key(candidate))
        now_s = time.monotonic()
        if breaker is not None and breaker.state(now_s) == "probing":
            breaker.probe(now_s, within_s)
            self._probes += 1

    def learn(
        self, candidate: Candidate, news: dispatch.AttemptNews, took_s: float, *, stream: bool
    ) -> None:
        """What an attempt came to after so long; of a stream that is its first token's time."""
        now_s = time.monotonic()
        began_s, first_token_s = now_s - took_s, took_s if stream else 0.0
        key = _key(candidate)
        breaker = self._breaker(key, now_s)
        why = breaker.why
        match news:
            case dispatch.Committed():
                breaker.succeeded(now_s, first_token_s, began_s)
                if first_token_s:
                    self._speed(key).note(now_s, first_token_s)
            case dispatch.AttemptFailed(failure=failure) if failure.code in FAULTS:
                breaker.failed(now_s, failure.code, began_s)
            case _:
                breaker.spared(began_s)
        self._tell(key, why, breaker.why)

    def hear(self, told: Iterable[TargetHealth]) -> None:
        """What a caller's digest says: of other routers' attempts all, of this one's the cuts."""
        now_s = time.monotonic()
        for one in told:
            key = (one.provider, one.model)
            breaker = self._breaker(key, now_s)
            why = breaker.why
            if one.router != self._router:
                code = max(one.failed, key=lambda code: one.failed[code], default="slow")
                breaker.heard(now_s, one.good, one.slow, one.failures, code)
                if one.first_token_ms:
                    self._speed(key).note(now_s, one.first_token_ms / 1000)
            if one.cut:
                breaker.cut(now_s, one.cut)
            self._tell(key, why, breaker.why)

    def reset(self, provider: str, model: str) -> None:
        """An operator wants targets used again: of one provider, or of all where it is empty."""
        now_s = time.monotonic()
        for key, breaker in self._breakers.items():
            if provider in ("", key[0]) and model in ("", key[1]):
                why = breaker.why
                breaker.reset(now_s)
                self._tell(key, why, "")

    def opened(self, provider: str) -> bool:
        """Whether every target of the provider of which anything is known is left alone."""
        known = [one for key, one in self._breakers.items() if key[0] == provider]
        return bool(known) and all(one.down for one in known)

    def seen(self) -> Iterator[TargetSeen]:
        """All that was ever tried, those that are left alone first."""
        now_s = time.monotonic()
        for key, one in sorted(self._breakers.items(), key=lambda pair: not pair[1].why):
            outcomes, speed = one.outcomes(now_s), self._speeds.get(key)
            yield TargetSeen(
                provider=key[0],
                model=key[1],
                state=one.state(now_s),
                for_ms=int(1000 * (now_s - one.since_s)),
                why=one.why,
                outcomes=outcomes.good + outcomes.bad,
                failed=outcomes.bad,
                first_token_ms=0 if speed is None else round(1000 * speed.value_s(now_s)),
            )

    def statistics(self) -> HealthStatistics:
        """A snapshot for gauges."""
        return HealthStatistics(
            targets=len(self._breakers),
            limit=MAX_TARGETS,
            opened=sum(bool(one.why) for one in self._breakers.values()),
            spared=self._spared,
            probes=self._probes,
        )

    def _state(self, candidate: Candidate, now_s: float) -> str:
        breaker = self._breakers.get(_key(candidate))
        return "closed" if breaker is None else breaker.state(now_s)

    def _wait_s(self, candidate: Candidate) -> float:
        return self._breakers[_key(candidate)].wait_s

    def _speed(self, key: Key) -> Speed:
        if (known := self._speeds.get(key)) is None:
            known = self._speeds[key] = Speed()
            if len(self._speeds) > MAX_TARGETS:
                self._speeds.popitem(last=False)
        return known

    def _breaker(self, key: Key, now_s: float) -> Breaker:
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = self._breakers[key] = Breaker(self._rules, now_s)
            if len(self._breakers) > MAX_TARGETS:
                self._breakers.popitem(last=False)
        self._breakers.move_to_end(key)
        return breaker

    def _tell(self, key: Key, before: str, after: str) -> None:
        """Says so when a target begins to be left alone, and when it is used again."""
        if bool(before) == bool(after):
            return
        provider, model = key
        log_event(
            log,
            "target_opened" if after else "target_closed",
            level=logging.WARNING if after else logging.INFO,
            provider=provider,
            model=model,
            why=after or before,
        )
        model = model[:MAX_MODEL_CHARS]
        if after:
            self._tell_event(TargetOpened(provider=provider, model=model, why=after))
        else:
            self._tell_event(TargetClosed(provider=provider, model=model))


def _key(candidate: Candidate) -> Key:
    return (candidate.target.provider, candidate.target.model)
