"""Leases end in the order of their last renewal, never early, a few at a time."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from droveway.limiter.leases import Leases

LEASE_MS = 1_000
NAMES = st.sampled_from([f"req_{number}" for number in range(6)])


class LeaseMachine(RuleBasedStateMachine):
    """Against a plain table of when each was renewed."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.leases = Leases(LEASE_MS)
        self.model: dict[str, tuple[int, int]] = {}

    @rule(gap_ms=st.integers(0, 700))
    def time_passes(self, gap_ms: int) -> None:
        self.now_ms += gap_ms

    @rule(name=NAMES)
    def one_starts(self, name: str) -> None:
        self.leases.start(name, self.now_ms)
        self.model[name] = (self.now_ms, 0)

    @rule(name=NAMES, tokens=st.integers(0, 50))
    def one_is_renewed(self, name: str, tokens: int) -> None:
        self.leases.renew(name, tokens, self.now_ms)
        if name in self.model:
            self.model[name] = (self.now_ms, max(tokens, self.model[name][1]))

    @rule(name=NAMES)
    def one_ends(self, name: str) -> None:
        self.leases.end(name)
        self.model.pop(name, None)

    @rule(names=st.sets(NAMES))
    def another_owner_begins(self, names: set[str]) -> None:
        self.leases.restart(sorted(names), self.now_ms)
        self.model = {
            name: (self.now_ms, self.model.get(name, (0, 0))[1]) for name in sorted(names)
        }

    @rule(at_most=st.integers(1, 4))
    def some_run_out(self, at_most: int) -> None:
        due = {name for name, (at_ms, _) in self.model.items() if at_ms + LEASE_MS <= self.now_ms}
        over = self.leases.run_out(self.now_ms, at_most)
        assert len(over) == min(at_most, len(due))
        for one in over:
            assert one.request_id in due
            assert one.output_tokens == self.model.pop(one.request_id)[1]

    @invariant()
    def none_is_lost(self) -> None:
        assert len(self.leases) == len(self.model)


TestLeases = LeaseMachine.TestCase
TestLeases.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
