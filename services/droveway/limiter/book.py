"""The whole state of the limiter; it changes only by the log's operations.

Pure: no clock, no socket. Whoever applies the same operations has the same book. Times are those
of the operations; reading a counter drops what has left it, which no one can see.
"""

from collections.abc import Iterator, Sequence

from droveway.contracts.limits import Admit, Op, Pass, Settle, Spend
from droveway.limiter.counters import REQUESTS, parse, place_scope
from droveway.limiter.learned import Learned
from droveway.limiter.meters import Meters
from droveway.limiter.money import Money
from droveway.limiter.records import (
    BucketRecord,
    Head,
    HoldRecord,
    LearnedRecord,
    Record,
    WindowRecord,
    pack,
    unpack,
)
from droveway.limiter.reservations import Hold, Taken, hold_of, is_whole_reservation

REMEMBERED_HOLDS = 100_000


class Book:
    """Counters, holds, reservations and money of one partition."""

    def __init__(self, remembered_holds: int = REMEMBERED_HOLDS) -> None:
        self.remembered_holds = remembered_holds
        """Beyond it the hold that was closed first is forgotten."""
        self.at_ms = 0
        self.meters = Meters()
        self.money = Money()
        self.learned = Learned()
        self.holds: dict[str, Hold] = {}
        self._closed: dict[str, None] = {}
        """Oldest first."""

    @property
    def usage_seq(self) -> int:
        """The rows of USAGE up to it are counted."""
        return self.money.usage_seq

    @property
    def open_holds(self) -> int:
        """Requests with something reserved."""
        return len(self.holds) - len(self._closed)

    def apply(self, op: Op, at_ms: int) -> None:
        """One operation of the log; `at_ms` is the log's time.

        What isn't known any more, or was applied already, changes nothing.
        """
        if at_ms > self.at_ms:
            self.at_ms = at_ms
        if type(op) is Admit:
            self._admit(op)
        elif type(op) is Settle:
            self._settle(op)
        elif type(op) is Spend:
            self.money.fold(op)
        elif type(op) is Pass and (hold := self.holds.get(op.request_id)) is not None:
            hold.router, hold.ask, hold.attempt = op.router, op.ask, 1
            hold.running += hold.open  # the new router's, beside what the one before had begun

    def open_requests(self) -> Iterator[str]:
        """Requests with something reserved."""
        return (request_id for request_id, hold in self.holds.items() if hold.open)

    def snapshot(self) -> list[bytes]:
        """The whole state in chunks of at most 700,000 bytes; equal books give equal bytes."""
        return pack(self._records())

    @classmethod
    def restore(cls, chunks: Sequence[bytes]) -> "Book":
        """The book that `snapshot` wrote.

        Raises:
            msgspec.DecodeError: The chunks aren't those of one snapshot.
        """
        book = cls()
        learned: dict[str, dict[int, int]] = {}
        for record in unpack(chunks):
            if isinstance(record, Head):
                book.at_ms, book.remembered_holds = record.at_ms, record.remembered_holds
                book.money.usage_seq = record.usage_seq
            elif isinstance(record, HoldRecord):
                book._take_back(record.request_id, record.hold)
            elif isinstance(record, LearnedRecord):
                learned[record.model] = record.counts
            elif isinstance(record, WindowRecord | BucketRecord):
                book.meters.restore(record)
            else:
                book.money.restore(record)
        book.learned = Learned(learned)
        return book

    def _records(self) -> Iterator[Record]:
        yield Head(self.usage_seq, self.at_ms, self.remembered_holds)
        yield from self.meters.records(self.at_ms)
        for request_id, hold in sorted(
            (id_, hold) for id_, hold in self.holds.items() if hold.open
        ):
            yield HoldRecord(request_id, hold)
        for request_id in self._closed:
            yield HoldRecord(request_id, self.holds[request_id])
        yield from self.money.records()
        for model, counts in self.learned.state().items():
            yield LearnedRecord(model, counts)

    def _take_back(self, request_id: str, hold: Hold) -> None:
        self.holds[request_id] = hold
        if hold.open:
            for name in hold.leases:
                self.meters.enter(name)
            self.money.open(hold.accounts, hold.reserved_nano)
        else:
            self._closed[request_id] = None

    def _admit(self, op: Admit) -> None:
        for charge in op.charges:
            self.meters.charge(charge.counter, op.at_ms, charge.amount)
        hold = self.holds.get(op.request_id)
        if hold is None:
            hold = self.holds[op.request_id] = hold_of(op)
            self._closed[op.request_id] = None
        else:
            hold.attempt, hold.place = op.attempt, op.place
            hold.model, hold.target, hold.at_ms = op.model, op.target, op.at_ms
        if op.lease_until_ms:
            self._reserve(hold, op)
        if len(self.holds) > self.remembered_holds:
            self._forget()

    def _reserve(self, hold: Hold, op: Admit) -> None:
        self._closed.pop(op.request_id, None)
        if not hold.open:
            hold.taken, hold.running = [], 0
        hold.leased = hold.open = True
        hold.running += 1
        for charge in op.charges:
            if parse(charge.counter).kind != REQUESTS:
                hold.taken.append(Taken(op.at_ms, charge.counter, charge.amount))
        for name in op.leases:
            self.meters.enter(name)
        hold.leases.extend(op.leases)
        self.money.open(hold.accounts, -hold.reserved_nano)
        self.money.open(op.accounts, op.reserved_nano)
        hold.accounts, hold.reserved_nano = op.accounts, op.reserved_nano
        hold.reserved_input, hold.reserved_output = op.reserved_input, op.reserved_output

    def _settle(self, op: Settle) -> None:
        hold = self.holds.get(op.request_id)
        if hold is None or op.attempt_id in hold.settled:
            return
        if op.attempt_id:
            hold.settled.append(op.attempt_id)
        if not hold.open:
            self._correct(hold, op)
            return
        if op.attempt_id:
            hold.running = max(0, hold.running - 1)
        self._settle_tokens(hold, op)
        self._leave(hold, op)
        self._settle_money(hold, op)
        if op.final:
            if op.attempt_id and not op.estimated and not hold.bounded:
                self.learned.add(hold.model, op.output_tokens)
            hold.open = False
            if not hold.running:
                hold.taken = []
            self._closed[op.request_id] = None
            self._forget()

    def _settle_tokens(self, hold: Hold, op: Settle) -> None:
        """Actual for reserved, once; before the last attempt a client's reservation stays whole.

        Of the last one what counts now is kept, for the case that more attempts are settled.
        """
        if op.estimated and is_whole_reservation(hold, op.input_tokens, op.output_tokens):
            return
        used = (0, op.input_tokens + op.output_tokens, op.input_tokens, op.output_tokens)
        scope, place_ms = _place_of(hold, op.target)
        kept: list[Taken] = []
        for taken in hold.taken:
            counter = parse(taken.counter)
            actual = used[counter.kind]
            if counter.of_place:
                if taken.at_ms != place_ms or (scope and counter.scope != scope):
                    kept.append(taken)
                    continue
            elif not op.final:
                kept.append(taken)
                if actual:
                    self.meters.charge(taken.counter, op.at_ms, actual)
                continue
            self.meters.settle(taken.counter, taken.at_ms, taken.amount, actual, op.at_ms)
            if op.final and not (op.attempt_id and counter.of_place):
                known = 0 if op.attempt_id else actual
                kept.append(Taken(taken.at_ms, taken.counter, known))
        hold.taken = kept

    def _leave(self, hold: Hold, op: Settle) -> None:
        """Of an attempt its credential's places; of the last one all."""
        leaves = [*hold.leases]
        if not op.final:
            scope = place_scope(op.target)
            leaves = [*dict.fromkeys(name for name in leaves if parse(name).scope == scope)]
        for name in leaves:
            self.meters.leave(name)
            hold.leases.remove(name)

    def _settle_money(self, hold: Hold, op: Settle) -> None:
        if op.final:
            self.money.open(hold.accounts, -hold.reserved_nano)
            hold.reserved_nano = 0
        if not op.nano:
            return
        if op.attempt_id:
            self.money.settle(op.attempt_id, hold.accounts, op.nano, op.at_ms)
        else:
            self.money.spend(hold.accounts, op.nano, op.at_ms)
            hold.estimated_nano, hold.estimated_ms = op.nano, op.at_ms

    def _correct(self, hold: Hold, op: Settle) -> None:
        """An attempt that wasn't settled when its request was closed ends after all.

        What was estimated of its money when the lease ran out is taken back; of its tokens nothing
        is: others may have been refused since.
        """
        if not op.attempt_id or not hold.running:
            return
        hold.running -= 1
        used = (0, op.input_tokens + op.output_tokens, op.input_tokens, op.output_tokens)
        scope = place_scope(op.target) if op.target else ""
        kept: list[Taken] = []
        for taken in hold.taken:
            counter = parse(taken.counter)
            if counter.of_place and scope and counter.scope != scope:
                kept.append(taken)
                continue
            if (actual := used[counter.kind]) > taken.amount:
                self.meters.charge(taken.counter, op.at_ms, actual - taken.amount)
            if not counter.of_place:
                kept.append(Taken(op.at_ms, taken.counter, 0))
        hold.taken = kept if hold.running else []
        if hold.estimated_nano:
            self.money.spend(hold.accounts, -hold.estimated_nano, hold.estimated_ms)
            hold.estimated_nano = 0
        if op.nano:
            self.money.settle(op.attempt_id, hold.accounts, op.nano, op.at_ms)

    def _forget(self) -> None:
        while len(self.holds) > self.remembered_holds and self._closed:
            request_id = next(iter(self._closed))
            del self._closed[request_id]
            del self.holds[request_id]


def _place_of(hold: Hold, target: str) -> tuple[str, int]:
    """Scope and admission time of the attempt that is settled: the earliest one at `target`."""
    if not target:
        return "", hold.at_ms
    scope = place_scope(target)
    times = (one.at_ms for one in hold.taken if parse(one.counter).scope == scope)
    return scope, min(times, default=hold.at_ms)
