"""One target's health, told by the outcomes of its attempts: closed, open, or on trial.

    closed --- failures in a row, or too large a share ---> open <---- one failed ----+
      ^                                                       |                       |
      |                                                       +--- after a wait ---> trial
      +---------------------- so many good ones in a row ---------------------------- +

On trial it takes one request, and two more at a time for each that went well, but no more than
would close it: a target that fails every third time would else be closed by a lucky probe, and get
all of its requests again.
Pure: it is handed the time. A rate limit is no failure (its credential cools), nor is a request
that the provider refused as such.
Source: Envoy, "Outlier detection"; Nygard, "Release It!", 2018, circuit breaker.
"""

from collections import deque
from typing import Literal

from droveway.contracts.config import Health
from droveway.router.window import Outcomes, Window

State = Literal["closed", "open", "probing"]
TRIALS = 8
"""Good ones in a row that close it: of a target that serves six of ten, one trial in fifty."""


class Breaker:
    """Opens after failures in a row, or when too large a share failed, was slow or was cut."""

    __slots__ = (
        "_consecutive",
        "_opened_s",
        "_probes",
        "_rules",
        "_times_open",
        "_trials",
        "_why",
        "_window",
        "since_s",
    )

    def __init__(self, rules: Health, now_s: float) -> None:
        self._rules = rules
        self._window = Window()
        self._consecutive = 0
        self._times_open = 0
        self._opened_s: float | None = None
        self._probes: deque[float] = deque()
        """Until when the outcome of each can come."""
        self._trials = 0
        self._why = ""
        self.since_s = now_s
        """When it was closed, or opened first; failed trials don't count."""

    def configure(self, rules: Health) -> None:
        """Takes other rules; what was seen stays."""
        self._rules = rules

    def state(self, now_s: float) -> State:
        """Whether it takes requests: `probing` takes one more now."""
        if self._opened_s is None:
            return "closed"
        if now_s < self._opened_s + self.wait_s:
            return "open"
        while self._probes and self._probes[0] <= now_s:
            self._probes.popleft()
        pending, good = len(self._probes), min(self._trials, TRIALS - 1)
        return "probing" if pending <= 2 * good and pending + good < TRIALS else "open"

    @property
    def wait_s(self) -> float:
        """From the last failure to the next trial."""
        rules = self._rules
        return min(rules.open_cap_s, rules.open_s * 2.0 ** min(max(0, self._times_open - 1), 32))

    @property
    def why(self) -> str:
        """What opened it."""
        return "" if self._opened_s is None else self._why

    @property
    def down(self) -> bool:
        """Whether it isn't closed, and no trial since went well."""
        return self._opened_s is not None and not self._trials

    def probe(self, now_s: float, within_s: float) -> None:
        """One request on trial goes there; its outcome comes within that time, or never.

        One that isn't streamed may well take long: then another may go before it has ended.
        """
        self._probes.append(now_s + min(within_s, self._rules.slow_s))

    def succeeded(self, now_s: float, first_token_s: float, began_s: float) -> None:
        """An attempt has committed."""
        if first_token_s > self._rules.slow_s:
            self._note(now_s, bad=1)
            self._fails(now_s, "slow", began_s)
            return
        self._note(now_s, good=1)
        self._consecutive = 0
        if self._on_trial(began_s):
            self._trials += 1
            if (
                self._trials >= TRIALS and not self._probes
            ):  # one that stalls isn't known as bad yet
                self.reset(now_s)

    def failed(self, now_s: float, code: str, began_s: float) -> None:
        """An attempt has failed, by the provider's fault."""
        self._note(now_s, bad=1)
        self._consecutive += 1
        self._fails(now_s, code, began_s)

    def heard(self, now_s: float, good: int, slow: int, failures: int, code: str) -> None:
        """What became of others' attempts in the last second or so, in an order that isn't known.

        A good one among them ends a row of failures, or would have; the share judges the rest.
        They close nothing: good ones are told early, those that stall late.
        """
        self._note(now_s, good=good, bad=slow + failures)
        if self._opened_s is None:
            self._consecutive = 0 if good else self._consecutive + failures
            if slow + failures:
                self._judge(now_s, code)

    def cut(self, now_s: float, answers: int) -> None:
        """So many that had counted as good broke off, by the provider's fault."""
        self._note(now_s, bad=answers)
        self._window.worsen(answers)
        if self._opened_s is None:
            self._judge(now_s, "cut")

    def spared(self, began_s: float) -> None:
        """An attempt says nothing of its health: another may be on trial in its place."""
        self._on_trial(began_s)

    def reset(self, now_s: float) -> None:
        """All is forgotten."""
        self._window.clear()
        self._probes.clear()
        self._consecutive = self._times_open = self._trials = 0
        self._opened_s = None
        self._why = ""
        self.since_s = now_s

    def outcomes(self, now_s: float) -> Outcomes:
        """Of the window."""
        return self._window.outcomes(now_s, self._rules.window_s)

    def _fails(self, now_s: float, code: str, began_s: float) -> None:
        if self._opened_s is None:
            self._judge(now_s, code)
        elif self._on_trial(began_s) and now_s >= self._opened_s + self.wait_s:
            self._open(now_s, code)

    def _on_trial(self, began_s: float) -> bool:
        """Whether an attempt that has ended was one; those from before it opened are none."""
        if self._opened_s is None or began_s < self._opened_s:
            return False
        if self._probes:
            self._probes.popleft()
        return True

    def _open(self, now_s: float, why: str) -> None:
        if self._opened_s is None:
            self.since_s = now_s
        self._opened_s = now_s
        self._times_open += 1
        self._trials = 0
        self._probes.clear()
        self._why = why

    def _judge(self, now_s: float, why: str) -> None:
        rules = self._rules
        if self._consecutive >= rules.consecutive or self._window.exceeds(
            now_s, rules.window_s, rules.ratio, rules.min_outcomes
        ):
            self._open(now_s, why)

    def _note(self, now_s: float, *, good: int = 0, bad: int = 0) -> None:
        self._window.note(now_s, self._rules.window_s, good=good, bad=bad)
