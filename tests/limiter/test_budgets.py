"""Money: reserved at its worst, spent by the rows, each attempt once, period by period."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from droveway.contracts.access import Budget, Limit
from droveway.contracts.admission import Admitted
from droveway.contracts.limits import Spend
from droveway.limiter.accounts import Account, Calendar, span_of
from droveway.limiter.decisions import Decisions
from tests.support.limiter_world import NANO_PER_TOKEN, NOW_MS, World, config, prices, row

DOLLAR = 10**9
CENT_TOKENS = DOLLAR // 100 // NANO_PER_TOKEN
"""So many tokens cost one cent."""


def _world(usd: float = 1.0, **budget: object) -> World:
    return World(config(key_budgets=(Budget(usd=usd, **budget),)))  # type: ignore[arg-type]


def _spent(world: World, account: str = "k:a") -> tuple[int, int]:
    found = world.book.money.accounts[account]
    start_ms = span_of("month", world.now_ms).start_ms
    return found.spent("month", start_ms), found.open_nano


def test_a_dollar_is_never_overspent_by_a_hundred_at_once() -> None:
    world = _world()
    answers = [world.ask(n, input_tokens=0, max_output_tokens=3 * CENT_TOKENS) for n in range(100)]
    passed = [n for n, answer in enumerate(answers) if isinstance(answer, Admitted)]
    assert len(passed) == 33
    for number in passed:
        world.settle(number, 0, 3 * CENT_TOKENS)
    world.fold(*(row(number, 0, 3 * CENT_TOKENS) for number in passed))
    assert _spent(world) == (99 * DOLLAR // 100, 0)
    failure = world.denied(200, max_output_tokens=2 * CENT_TOKENS).failure
    assert failure.code == "insufficient_quota"
    assert failure.retry_after_ms is None
    assert "the key has a budget of $1 (month), $0.99 are spent" in failure.message
    assert isinstance(world.ask(201, max_output_tokens=CENT_TOKENS), Admitted)


def test_an_attempt_is_open_until_its_row_and_counts_once() -> None:
    world = _world()
    world.admitted(1, max_output_tokens=10 * CENT_TOKENS)
    assert _spent(world) == (0, DOLLAR // 10)
    world.settle(1, 0, CENT_TOKENS)
    assert _spent(world) == (0, DOLLAR // 100)
    world.fold(row(1, 0, CENT_TOKENS))
    world.fold(row(1, 0, CENT_TOKENS))
    assert _spent(world) == (DOLLAR // 100, 0)


def test_a_row_that_comes_first_settles_the_request() -> None:
    world = _world()
    world.admitted(1, max_output_tokens=10 * CENT_TOKENS)
    world.fold(row(1, 0, CENT_TOKENS))
    assert _spent(world) == (DOLLAR // 100, 0)
    assert world.settle(1, 0, CENT_TOKENS) == ()
    world.now_ms += 20_000
    assert world.expire() == ()
    assert _spent(world) == (DOLLAR // 100, 0)


def test_what_a_dead_caller_may_have_spent_counts_until_the_row_says_better() -> None:
    world = _world()
    world.admitted(1, max_output_tokens=10 * CENT_TOKENS)
    world.now_ms += 10_000
    world.expire()
    assert _spent(world) == (DOLLAR // 10, 0)
    world.fold(row(1, 0, CENT_TOKENS))
    assert _spent(world) == (DOLLAR // 100, 0)


def test_a_dead_caller_s_tokens_so_far_are_its_cost() -> None:
    world = _world()
    world.admitted(1, max_output_tokens=10 * CENT_TOKENS)
    world.renew(1, 2 * CENT_TOKENS)
    world.now_ms += 10_000
    world.expire()
    assert _spent(world) == (DOLLAR // 50, 0)


def test_a_row_that_never_comes_counts_as_spent_in_the_end() -> None:
    world = _world(usd=100)
    world.admitted(1, max_output_tokens=CENT_TOKENS)
    world.settle(1, 0, CENT_TOKENS)
    world.now_ms += 3_600_000
    world.admitted(2, max_output_tokens=CENT_TOKENS)
    world.settle(2, 0, CENT_TOKENS)
    assert _spent(world) == (DOLLAR // 100, DOLLAR // 100)


def test_a_tenant_s_budget_holds_over_all_its_keys() -> None:
    world = World(config(tenant_budgets=(Budget(usd=1.0),)))
    world.admitted(1, max_output_tokens=60 * CENT_TOKENS, key_id="a")
    failure = world.denied(2, max_output_tokens=60 * CENT_TOKENS, key_id="b").failure
    assert "the tenant has a budget" in failure.message
    assert "$0.6 reserved" in failure.message


def test_the_row_s_time_decides_the_period() -> None:
    world = _world(period="hour")
    next_ms = span_of("hour", NOW_MS).end_ms or 0
    world.now_ms = next_ms - 1
    world.fold(row(1, cost_nano=DOLLAR))
    world.denied(1, max_output_tokens=1)
    world.now_ms = next_ms
    world.admitted(2, max_output_tokens=1)
    world.fold(row(3, cost_nano=DOLLAR), stored_ms=next_ms - 1)
    world.admitted(4, max_output_tokens=1)


def test_prepaid_credit_never_begins_anew() -> None:
    world = _world(period="total")
    world.fold(row(1, cost_nano=DOLLAR))
    world.now_ms += 400 * 86_400_000
    world.denied(1, max_output_tokens=1)


def test_an_answer_without_a_bound_reserves_all_that_is_left_of_a_small_budget() -> None:
    world = _world(usd=0.01)
    world.admitted(1, input_tokens=10)
    world.denied(2, input_tokens=10)
    world.settle(1, 10, 20)
    world.admitted(2, input_tokens=10)


def test_where_no_price_is_known_a_budget_lets_nothing_pass() -> None:
    world = _world()
    world.decisions.price("p", None)
    failure = world.denied(1, max_output_tokens=1).failure
    assert (failure.code, "prices" in failure.message) == ("limiter_unavailable", True)
    world.decisions.price("p", prices(0))
    world.fold(row(9, cost_nano=2 * DOLLAR))
    assert isinstance(world.ask(1, max_output_tokens=1), Admitted), "what is free needs no budget"


def test_a_soft_threshold_is_told_once() -> None:
    world = World(config(key_budgets=(Budget(usd=1.0, soft=(0.5, 0.8)),)))
    world.fold(row(1, cost_nano=DOLLAR // 2 - 1))
    assert world.decisions.crossed == []
    world.fold(row(2, cost_nano=DOLLAR // 2), row(3, cost_nano=1))
    crossed = world.decisions.crossed
    assert [(one.id, one.soft_nano) for one in crossed] == [
        ("a", DOLLAR // 2),
        ("a", 8 * DOLLAR // 10),
    ]
    crossed.clear()
    world.fold(row(4, cost_nano=1))
    assert world.decisions.crossed == []


def test_rows_are_folded_once_by_their_place_in_the_stream() -> None:
    world = _world()
    rows = [(row(1, cost_nano=5), NOW_MS)]
    assert [type(op) for op in world.decisions.fold(7, rows)] == [Spend]
    assert world.decisions.fold(7, [(row(2, cost_nano=5), NOW_MS)]) == ()
    assert world.book.usage_seq == 7


@settings(deadline=None)
@given(st.integers(0, 4 * 10**12), st.sampled_from(["hour", "day", "month"]))
def test_periods_follow_each_other_without_a_gap(at_ms: int, period: str) -> None:
    span = span_of(period, at_ms)  # type: ignore[arg-type]
    assert span.end_ms is not None
    assert span.start_ms <= at_ms < span.end_ms
    assert span_of(period, span.end_ms).start_ms == span.end_ms  # type: ignore[arg-type]
    start = datetime.fromtimestamp(span.start_ms / 1000, UTC)
    assert (start.minute, start.second, start.microsecond) == (0, 0, 0)
    assert period == "hour" or start.hour == 0
    assert period != "month" or start.day == 1


def test_a_period_that_is_over_is_not_spent_in() -> None:
    account, calendar = Account(), Calendar()
    account.spend(5, NOW_MS, calendar)
    account.spend(7, NOW_MS - 40 * 86_400_000, calendar)
    assert account.spent("month", span_of("month", NOW_MS).start_ms) == 5
    assert account.spent("total", 0) == 12


def test_a_row_that_stands_twice_counts_once() -> None:
    world = _world()
    world.fold(row(1, cost_nano=5), row(1, cost_nano=5))
    assert _spent(world) == (5, 0)


def test_a_further_attempt_needs_no_second_reservation() -> None:
    world = _world()
    world.admitted(1, max_output_tokens=60 * CENT_TOKENS)
    world.admitted(1, max_output_tokens=60 * CENT_TOKENS, attempt=2)
    assert _spent(world) == (0, 6 * DOLLAR // 10)


def test_rows_of_two_attempts_correct_an_estimate_once() -> None:
    world = _world()
    world.admitted(1, max_output_tokens=10 * CENT_TOKENS)
    world.admitted(1, max_output_tokens=10 * CENT_TOKENS, attempt=2)
    world.now_ms += 10_000
    world.expire()
    world.fold(row(2, 0, 50 * CENT_TOKENS))
    assert _spent(world) == (6 * DOLLAR // 10, 0)
    world.fold(row(1, 0, CENT_TOKENS), row(1, 0, 2 * CENT_TOKENS, attempt=2))
    assert _spent(world) == (53 * DOLLAR // 100, 0)


class BudgetMachine(RuleBasedStateMachine):
    """Requests with a known bound, in any order of words, rows, losses and crashes."""

    BUDGET = 100

    def __init__(self) -> None:
        super().__init__()
        wanted = config(key_budgets=(Budget(usd=self.BUDGET * NANO_PER_TOKEN / DOLLAR),))
        self.world = World(wanted)
        self.number = 0
        self.bounds: dict[int, int] = {}
        self.used: dict[int, int] = {}
        self.rows: list[int] = []

    @rule(bound=st.integers(1, 60))
    def one_asks(self, bound: int) -> None:
        self.number += 1
        if isinstance(self.world.ask(self.number, max_output_tokens=bound), Admitted):
            self.bounds[self.number] = bound

    @precondition(lambda self: self.bounds)
    @rule(data=st.data(), said=st.booleans(), recorded=st.booleans())
    def one_ends(self, data: st.DataObject, said: bool, recorded: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.bounds)))
        self.used[number] = data.draw(st.integers(0, self.bounds.pop(number)))
        if recorded:
            self.rows.append(number)
        if said:
            self.world.settle(number, 0, self.used[number])

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def a_row_is_counted(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.rows))
        self.world.fold(row(number, 0, self.used[number]))

    @rule(gap_ms=st.integers(0, 12_000))
    def time_passes(self, gap_ms: int) -> None:
        self.world.now_ms += gap_ms
        self.world.expire()

    @rule()
    def another_owner_goes_on(self) -> None:
        book = self.world.book
        self.world.take_over(type(book).restore(book.snapshot()))

    @invariant()
    def what_was_used_and_may_be_used_stays_within_the_budget(self) -> None:
        assert sum(self.used.values()) <= self.BUDGET
        spent, opened = _spent(self.world) if self.world.book.money.accounts else (0, 0)
        assert spent + opened <= self.BUDGET * NANO_PER_TOKEN
        assert spent >= 0
        assert opened >= 0
        assert spent + opened >= sum(self.used.values()) * NANO_PER_TOKEN


TestBudget = BudgetMachine.TestCase
TestBudget.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_an_owner_without_prices_yet_counts_what_the_caller_said() -> None:
    world = _world()
    world.admitted(1, max_output_tokens=CENT_TOKENS)
    world.settle(1, 0, CENT_TOKENS // 2)
    late = Decisions(world.book, world.settings)
    late.configure(world.config)
    late.fold(1, [(row(1, 0, CENT_TOKENS // 2), NOW_MS)])
    assert _spent(world) == (DOLLAR // 200, 0)
    assert late.statistics().unpriced == 1


def test_a_key_without_budgets_reserves_no_money() -> None:
    world = World(config(key=(Limit(requests=5),)))
    assert world.admitted(1, max_output_tokens=10).lease_ms == 0
