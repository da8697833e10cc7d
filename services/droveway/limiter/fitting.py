"""Whether a request has room in all its limits and budgets at one place, and what it would take.

Reads the book and changes nothing that shows.
"""

from typing import NamedTuple

from droveway.contracts.limits import Charge
from droveway.contracts.prices import ModelPrice
from droveway.limiter.book import Book
from droveway.limiter.counters import INPUT
from droveway.limiter.denials import Full, NeverFits, Reason, Spent, Unready
from droveway.limiter.plan import BudgetRule, PlacePlan, Rule
from droveway.limiter.reservations import Hold

_CAUTIOUS = 4
"""What can't be bounded and is over a quarter of a limit takes all that remains of it."""


class Estimate(NamedTuple):
    """Tokens that a request may use."""

    input_tokens: int
    output_tokens: int
    bounded: bool
    """It can't use more output: the client said so."""
    learned: bool
    """Else: by the answers so far, not by a default."""

    @property
    def by_kind(self) -> tuple[int, int, int, int]:
        """As `counters.KINDS` has them."""
        total = self.input_tokens + self.output_tokens
        return (1, total, self.input_tokens, self.output_tokens)


def requests_room(
    book: Book, rules: tuple[Rule, ...], now_ms: int, taken: list[Charge]
) -> Reason | None:
    """Adds one request for each rule to `taken`; or the rule that lets it wait longest."""
    windows = book.meters.windows
    worst: Full | None = None
    for rule in rules:
        if rule.unit_ns:
            used = book.meters.used(rule.counter, now_ms)
        else:
            window = windows.get(rule.name)
            used = 0 if window is None else window.used(now_ms)
        if used >= rule.room:
            worst = _longer(worst, _full(book, rule, used, 1, now_ms))
        else:
            taken.append(rule.one)
    return worst


def concurrency_room(
    book: Book, rules: tuple[Rule, ...], retry_ms: int, leases: list[str]
) -> Reason | None:
    """Adds each rule to `leases`; or the one that is full: nobody knows for how long."""
    running = book.meters.running
    for rule in rules:
        if (used := running.get(rule.name, 0)) >= rule.room:
            return Full(rule, used, 1, retry_ms)
        leases.append(rule.name)
    return None


def tokens_room(
    book: Book, rules: tuple[Rule, ...], estimate: Estimate, now_ms: int, taken: list[Charge]
) -> Reason | None:
    """Adds the tokens of each rule to `taken`; or the rule that doesn't let it pass."""
    amounts = estimate.by_kind
    worst: Full | None = None
    for rule in rules:
        needed = amount = amounts[rule.kind]
        used = book.meters.used(rule.counter, now_ms)
        if not estimate.bounded and rule.kind != INPUT and amount * _CAUTIOUS > rule.room:
            needed = _cautious(rule, estimate, amount)
            amount = rule.room - used
        if needed > rule.room:
            return NeverFits(rule, needed)
        if used + needed > rule.room:
            worst = _longer(worst, _full(book, rule, used, needed, now_ms))
        elif amount:
            taken.append(Charge(rule.name, amount))
    return worst


def money_room(
    book: Book,
    budgets: tuple[BudgetRule, ...],
    place: PlacePlan | None,
    estimate: Estimate,
    now_ms: int,
    hold: Hold | None,
) -> Reason | int:
    """Nano-dollars to reserve in all accounts; or the budget that can't pay.

    What `hold` has reserved already is the request's own.
    """
    if place is None or place.price is None:
        return Unready("prices at the provider" if place else "where it would go")
    cost = place.price.worst_nano_usd(estimate.input_tokens, estimate.output_tokens)
    if not cost:
        return 0
    whole, least = False, -1
    for budget in budgets:
        span = book.money.calendar.span(budget.period, now_ms)
        account = book.money.accounts.get(budget.account)
        spent = 0 if account is None else account.spent(budget.period, span.start_ms)
        opened = 0 if account is None else account.open_nano
        if hold is not None and budget.account in hold.accounts:
            opened -= hold.reserved_nano
        left = budget.limit_nano - spent - opened
        needed = cost
        if not estimate.bounded and cost * _CAUTIOUS > budget.limit_nano:
            whole = True
            needed = _cautious_cost(place.price, budget, estimate, cost)
        if needed > left:
            return Spent(budget, spent, opened, needed)
        least = left if least < 0 else min(least, left)
    return least if whole else cost


def _cautious(rule: Rule, estimate: Estimate, amount: int) -> int:
    """What must be there at least, for an answer of which only a guess is known."""
    share = rule.room if estimate.learned else -(-rule.room // _CAUTIOUS)
    own = amount - estimate.output_tokens  # the input, where this kind counts it
    return max(min(amount, share), own + 1)


def _cautious_cost(price: ModelPrice, budget: BudgetRule, estimate: Estimate, cost: int) -> int:
    own = price.worst_nano_usd(estimate.input_tokens, 1)
    share = budget.limit_nano if estimate.learned else -(-budget.limit_nano // _CAUTIOUS)
    return max(min(cost, share), own)


def _full(book: Book, rule: Rule, used: int, needed: int, now_ms: int) -> Full:
    wait_ms = book.meters.wait_ms(rule.counter, now_ms, used + needed - rule.room)
    return Full(rule, used, needed, max(1, wait_ms))


def _longer(one: Full | None, other: Full) -> Full:
    return other if one is None or other.wait_ms > one.wait_ms else one
