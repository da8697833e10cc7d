"""What became of this caller's attempts since its last digest, by target and router."""

from collections import Counter
from collections.abc import Callable

from droveway.contracts.config import Health
from droveway.contracts.dispatch import CallRouted
from droveway.contracts.health import CUTS, FAULTS, MAX_TARGETS, TargetHealth

MAX_MODEL_CHARS = 256
"""A longer name, which only a configuration can have, isn't told of."""

_Key = tuple[str, str, str]
"""Provider, its name for the model, router."""


class _Row:
    __slots__ = ("cut", "failed", "first_token_s", "good", "slow", "timed")

    def __init__(self) -> None:
        self.good = self.slow = self.cut = self.timed = 0
        self.failed: Counter[str] = Counter()
        self.first_token_s = 0.0


class Outcomes:
    """Counts what is the provider's doing; cancels and our own bounds say nothing of a target."""

    def __init__(self) -> None:
        self.slow_s = Health().slow_s
        """A first token that took longer is a slow one."""
        self.on_failing: Callable[[], None] = lambda: None
        """Called when a target fails that the digest before said nothing bad of."""
        self._rows: dict[_Key, _Row] = {}
        self._failing: set[tuple[str, str]] = set()
        self._failed_before: set[tuple[str, str]] = set()

    def committed(self, call: CallRouted, first_token_s: float) -> None:
        """An answer begins, or has come whole.

        Args:
            call: The attempt.
            first_token_s: How long it took; 0 of one that isn't streamed.
        """
        if (row := self._row(call)) is None:
            return
        if first_token_s:
            row.timed += 1
            row.first_token_s += first_token_s
        if first_token_s > self.slow_s:
            row.slow += 1
            self._fails(call)
        else:
            row.good += 1

    def failed(self, call: CallRouted, code: str) -> None:
        """It has ended before it committed."""
        if code in FAULTS and (row := self._row(call)) is not None:
            row.failed[code] += 1
            self._fails(call)

    def interrupted(self, call: CallRouted, code: str) -> None:
        """It has ended too early after it had committed."""
        if code in CUTS and (row := self._row(call)) is not None:
            row.cut += 1
            self._fails(call)

    def digest(self) -> tuple[TargetHealth, ...]:
        """All since the last `told`."""
        return tuple(
            TargetHealth(
                provider=provider,
                model=model,
                router=router,
                good=row.good,
                slow=row.slow,
                cut=row.cut,
                failed=dict(row.failed),
                first_token_ms=round(1000 * row.first_token_s / row.timed) if row.timed else 0,
            )
            for (provider, model, router), row in self._rows.items()
        )

    def told(self) -> None:
        """The digest is on its way: what comes now is for the next one."""
        self._rows.clear()
        self._failed_before, self._failing = self._failing, set()

    def _row(self, call: CallRouted) -> _Row | None:
        """None: there is no room for one more until the next digest."""
        key = call.target.provider, call.target.model, call.router
        row = self._rows.get(key)
        if row is None and len(self._rows) < MAX_TARGETS and len(key[1]) <= MAX_MODEL_CHARS:
            row = self._rows[key] = _Row()
        return row

    def _fails(self, call: CallRouted) -> None:
        target = call.target.provider, call.target.model
        begins = target not in self._failing and target not in self._failed_before
        self._failing.add(target)
        if begins:
            self.on_failing()
