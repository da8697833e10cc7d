"""What became of what was reserved: settled by callers, released, run out, or read from USAGE."""

from collections.abc import Sequence
from typing import NamedTuple

from droveway.contracts.limits import Op, Settle, Spend, Spent
from droveway.contracts.prices import ModelPrice
from droveway.contracts.relay import Usage
from droveway.contracts.settlement import Released, Settled
from droveway.limiter.book import Book
from droveway.limiter.counters import key_scope, tenant_scope
from droveway.limiter.leases import Leases, Over
from droveway.limiter.plan import Plans
from droveway.limiter.reservations import Hold
from droveway.limiter.usage_rows import AttemptUsed

_MAX_SETTLED = 1_000
"""Attempts of one request; more than any router makes."""
_MOST_TOKENS = 2**32
"""Of one attempt; a caller that says more has lost its mind."""
_MOST_NANO = 2**53
"""Of one attempt: nine million dollars."""
_MAX_CROSSED = 1_000
"""Events that nobody has fetched; later ones are lost."""


class Crossed(NamedTuple):
    """A soft threshold of a budget that spending has reached."""

    scope: str
    """`key` or `tenant`."""
    id: str
    period: str
    period_start_ms: int
    soft_nano: int
    limit_nano: int
    spent_nano: int


class Settling:
    """Makes the operations that settle, and applies them to the book."""

    def __init__(self, book: Book, plans: Plans, leases: Leases) -> None:
        self._book = book
        self._plans = plans
        self._leases = leases
        self.crossed: list[Crossed] = []
        self.settled_count = 0
        self.expired_count = 0
        self.unpriced_count = 0

    def settled(self, message: Settled, now_ms: int) -> tuple[Op, ...]:
        """By the caller's word; said twice it counts once."""
        hold = self._book.holds.get(message.request_id)
        if hold is None or not _is_news(hold, message.attempt_id):
            return ()
        usage = _sane(message.usage)
        price = self._plans.price_of(message.provider, message.model)
        op = Settle(
            now_ms,
            message.request_id,
            message.attempt_id,
            usage.input_tokens,
            usage.output_tokens,
            _provisional(hold, price, usage),
            message.committed,
            usage.estimated,
            f"{message.provider}/{message.credential}",
        )
        self.settled_count += 1
        return self._applied(op, now_ms)

    def released(self, message: Released, now_ms: int) -> tuple[Op, ...]:
        """All of it is free, if whoever says so holds the request."""
        hold = self._book.holds.get(message.request_id)
        if hold is None or not hold.open or hold.router != message.router:
            return ()
        op = Settle(now_ms, message.request_id, b"", 0, 0, 0, final=True, estimated=False)
        return self._applied(op, now_ms)

    def expire(self, now_ms: int, at_most: int) -> tuple[Op, ...]:
        """Leases that have run out: what is known of them, else all that was reserved."""
        ops: list[Op] = []
        for over in self._leases.run_out(now_ms, at_most):
            hold = self._book.holds.get(over.request_id)
            if hold is not None and hold.open:
                self.expired_count += 1
                ops += self._applied(self._estimated(over, hold, now_ms), now_ms)
        return tuple(ops)

    def fold(self, usage_seq: int, rows: Sequence[tuple[AttemptUsed, int]]) -> tuple[Op, ...]:
        """Counts rows; a row settles its attempt if its caller's word was lost."""
        if usage_seq <= self._book.usage_seq:
            return ()
        ops: list[Op] = []
        spent: list[Spent] = []
        for row, stored_ms in rows:
            nano = self._cost_of(row)
            ops += self._settled_by_row(row, nano)
            known = self._book.money.provisional_nano(row.attempt_id) is not None
            if (nano or known) and not self._book.money.is_counted(row.attempt_id):
                accounts = (key_scope(row.key_id), tenant_scope(row.tenant))
                spent.append(Spent(row.attempt_id, accounts, nano, stored_ms))
        before = self._soft_spent(rows)
        ops += self._applied(Spend(usage_seq, tuple(spent)), self._book.at_ms)
        self._note_crossed(rows, before)
        return tuple(ops)

    def _applied(self, op: Op, now_ms: int) -> tuple[Op, ...]:
        self._book.apply(op, now_ms)
        if isinstance(op, Settle):
            hold = self._book.holds.get(op.request_id)
            if hold is None or not hold.open:
                self._leases.end(op.request_id)
        return (op,)

    def _estimated(self, over: Over, hold: Hold, now_ms: int) -> Settle:
        """What its caller said last; if it said nothing and an attempt runs, the reservation."""
        used, output, nano = 0, 0, 0
        if hold.running:
            used, output, nano = hold.reserved_input, hold.reserved_output, hold.reserved_nano
            price = self._plans.price_of(hold.target.partition("/")[0], hold.model)
            if over.output_tokens:  # more than was reserved, where that was a guess
                output = min(_MOST_TOKENS, over.output_tokens)
            if price is not None and hold.accounts:
                worst = price.worst_nano_usd(used, output)
                nano = _payable(worst if output > hold.reserved_output else min(nano, worst))
        return Settle(now_ms, over.request_id, b"", used, output, nano, final=True, estimated=True)

    def _cost_of(self, row: AttemptUsed) -> int:
        if row.cost_nano_usd is not None:
            return _payable(row.cost_nano_usd)
        usage = _sane(row.usage)
        price = self._plans.price_of(row.provider, row.model)
        if price is not None:
            return _payable(price.cost_nano_usd(usage))
        self.unpriced_count += bool(usage.input_tokens or usage.output_tokens)
        return self._book.money.provisional_nano(row.attempt_id) or 0

    def _settled_by_row(self, row: AttemptUsed, nano: int) -> tuple[Op, ...]:
        hold = self._book.holds.get(row.request_id)
        if hold is None or not _is_news(hold, row.attempt_id):
            return ()
        usage = _sane(row.usage)
        op = Settle(
            max(hold.at_ms, self._book.at_ms),
            row.request_id,
            row.attempt_id,
            usage.input_tokens,
            usage.output_tokens,
            nano if hold.accounts else 0,
            row.committed,
            usage.estimated,
            f"{row.provider}/{row.credential}",
        )
        self.settled_count += 1
        return self._applied(op, self._book.at_ms)

    def _soft_spent(
        self, rows: Sequence[tuple[AttemptUsed, int]]
    ) -> dict[tuple[str, str], list[int]]:
        """What every concerned budget has spent, in the period of the latest row."""
        if not rows:
            return {}
        at_ms = rows[-1][1]
        clients = dict.fromkeys((row.key_id, row.tenant) for row, _ in rows)
        return {client: self._spent_by(client, at_ms) for client in clients}

    def _spent_by(self, client: tuple[str, str], at_ms: int) -> list[int]:
        money = self._book.money
        found: list[int] = []
        for rule in self._plans.budgets(*client):
            account = money.accounts.get(rule.account)
            start_ms = money.calendar.span(rule.period, at_ms).start_ms
            found.append(0 if account is None else account.spent(rule.period, start_ms))
        return found

    def _note_crossed(
        self,
        rows: Sequence[tuple[AttemptUsed, int]],
        before: dict[tuple[str, str], list[int]],
    ) -> None:
        seen: set[tuple[str, str, int]] = set()
        for client, olds in before.items():
            at_ms = rows[-1][1]
            news = self._spent_by(client, at_ms)
            for rule, old, new in zip(self._plans.budgets(*client), olds, news, strict=True):
                start_ms = self._book.money.calendar.span(rule.period, at_ms).start_ms
                for soft in rule.soft_nano:
                    named = (rule.account, rule.period, soft)
                    if old < soft <= new and named not in seen and len(self.crossed) < _MAX_CROSSED:
                        seen.add(named)
                        self.crossed.append(
                            Crossed(
                                rule.scope,
                                rule.account.partition(":")[2],
                                rule.period,
                                start_ms,
                                soft,
                                rule.limit_nano,
                                new,
                            )
                        )


def _is_news(hold: Hold, attempt_id: bytes) -> bool:
    """Whether what an attempt used changes anything: each counts once."""
    if attempt_id in hold.settled or len(hold.settled) >= _MAX_SETTLED:
        return False
    return hold.open or hold.running > 0


def _sane(usage: Usage) -> Usage:
    """No provider's arithmetic takes more back than was reserved, or is too large for the log."""
    numbers = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
    )
    if min(numbers) >= 0 and max(numbers) <= _MOST_TOKENS:
        return usage
    plain = [min(_MOST_TOKENS, max(0, number)) for number in numbers]
    return Usage(plain[0], plain[1], plain[2], plain[3], 0, usage.estimated, plain[4])


def _payable(nano: int) -> int:
    """A cost that the log can have: an operation that can't be written would stop every owner."""
    return min(_MOST_NANO, max(0, nano))


def _provisional(hold: Hold, price: ModelPrice | None, usage: Usage) -> int:
    """What an attempt costs until its row is there; the reservation where no price is known."""
    if not hold.accounts:
        return 0
    return hold.reserved_nano if price is None else _payable(price.cost_nano_usd(usage))
