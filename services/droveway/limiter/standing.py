"""Where a client stands: the windows of an answer, and the report for an operator."""

from collections.abc import Iterable

from droveway.contracts.admission import BudgetStanding, LimitStanding
from droveway.contracts.inference import Window
from droveway.limiter.book import Book
from droveway.limiter.counters import KINDS
from droveway.limiter.plan import BudgetRule, ClientPlan, Rule

Windows = tuple[Window | None, Window | None, Window | None, Window | None]
"""Of requests, tokens, input tokens and output tokens."""
NO_WINDOWS: Windows = (None, None, None, None)


def windows(book: Book, plan: ClientPlan, now_ms: int, full: Rule | None = None) -> Windows:
    """The tightest limit of each kind: `full`, else the one with the least left."""
    requests, tokens, input_tokens, output_tokens = plan.by_kind
    return (
        _tightest(book, requests, now_ms, full) if requests else None,
        _tightest(book, tokens, now_ms, full) if tokens else None,
        _tightest(book, input_tokens, now_ms, full) if input_tokens else None,
        _tightest(book, output_tokens, now_ms, full) if output_tokens else None,
    )


def limit_standings(book: Book, rules: Iterable[Rule], now_ms: int) -> tuple[LimitStanding, ...]:
    """Each limit as it counts now."""
    return tuple(
        LimitStanding(
            scope=rule.scope,
            kind=KINDS[rule.kind],
            model=rule.model,
            limit=rule.limit,
            used=book.meters.used(rule.counter, now_ms),
            window_ms=rule.window_ms,
            reset_ms=book.meters.reset_ms(rule.counter, now_ms),
        )
        for rule in rules
    )


def budget_standings(
    book: Book, rules: Iterable[BudgetRule], now_ms: int
) -> tuple[BudgetStanding, ...]:
    """Each budget as it counts now."""
    found: list[BudgetStanding] = []
    for rule in rules:
        span = book.money.calendar.span(rule.period, now_ms)
        account = book.money.accounts.get(rule.account)
        found.append(
            BudgetStanding(
                scope=rule.scope,
                period=rule.period,
                limit_nano=rule.limit_nano,
                spent_nano=0 if account is None else account.spent(rule.period, span.start_ms),
                reserved_nano=0 if account is None else account.open_nano,
                resets_ms=None if span.end_ms is None else span.end_ms - now_ms,
            )
        )
    return tuple(found)


def _tightest(book: Book, rules: tuple[Rule, ...], now_ms: int, full: Rule | None) -> Window:
    meters = book.meters
    tightest, least = rules[0], -1
    for rule in rules:
        remaining = max(0, rule.room - meters.used(rule.counter, now_ms))
        if rule is full:
            tightest, least = rule, remaining
            break
        if least < 0 or remaining < least:
            tightest, least = rule, remaining
    return Window(
        limit=tightest.limit,
        remaining=least,
        reset_ms=meters.reset_ms(tightest.counter, now_ms),
        window_ms=tightest.window_ms,
    )
