"""Money of all accounts: spent by the rows of USAGE, reserved, and settled without a row yet."""

from collections.abc import Iterable, Iterator
from itertools import islice

from droveway.contracts.limits import Spend, Spent
from droveway.limiter.accounts import Account, Calendar
from droveway.limiter.records import AccountRecord, CountedRecord, PendingRecord, Record
from droveway.limiter.reservations import Pending

MAX_COUNTED = 20_000
"""Attempts whose rows are known to be counted; a row that comes again later counts again."""
MAX_PENDING = 100_000
"""Settled attempts without a row; when there are more the oldest counts as spent."""
PENDING_MS = 3_600_000
"""After it an attempt without a row counts as spent."""
_IDS_PER_RECORD = 1_000


class Money:
    """Accounts by name; each attempt counts once, by its row where there is one."""

    __slots__ = ("_counted", "_pending", "accounts", "calendar", "usage_seq")

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.calendar = Calendar()
        self.usage_seq = 0
        self._pending: dict[bytes, Pending] = {}
        self._counted: dict[bytes, None] = {}

    def open(self, names: Iterable[str], nano: int) -> None:
        """So much more is open; negative: less."""
        for name in names:
            self._account(name).open_nano += nano

    def settle(self, attempt_id: bytes, names: tuple[str, ...], nano: int, at_ms: int) -> None:
        """An attempt costs so much, by its caller's word: open until its row is folded."""
        self._expire(at_ms)
        if attempt_id in self._counted or attempt_id in self._pending:
            return
        self._pending[attempt_id] = Pending(names, nano, at_ms)
        self.open(names, nano)

    def spend(self, names: Iterable[str], nano: int, at_ms: int) -> None:
        """So much is gone, in the periods of `at_ms`; negative: an estimate is taken back."""
        for name in names:
            self._account(name).spend(nano, at_ms, self.calendar)

    def fold(self, op: Spend) -> None:
        """Counts rows, each attempt once; rows up to `usage_seq` were counted before."""
        if op.usage_seq <= self.usage_seq:
            return
        self.usage_seq = op.usage_seq
        for row in op.rows:
            self._count(row)

    def provisional_nano(self, attempt_id: bytes) -> int | None:
        """What the attempt is open with; None: it isn't."""
        pending = self._pending.get(attempt_id)
        return None if pending is None else pending.nano

    def is_counted(self, attempt_id: bytes) -> bool:
        """Whether the attempt's row was folded lately."""
        return attempt_id in self._counted

    def records(self) -> Iterator[Record]:
        """Everything but what is reserved, which follows from the holds."""
        for name, account in sorted(self.accounts.items()):
            if account.state():
                yield AccountRecord(name, account.state())
        for attempt_id, pending in self._pending.items():
            yield PendingRecord(attempt_id, pending)
        ids = iter(self._counted)
        while some := [*islice(ids, _IDS_PER_RECORD)]:
            yield CountedRecord(some)

    def restore(self, record: AccountRecord | PendingRecord | CountedRecord) -> None:
        """Takes back one of `records`, in their order; what is reserved may be there already."""
        if isinstance(record, AccountRecord):
            self._account(record.name).restore(record.spent)
        elif isinstance(record, PendingRecord):
            self._pending[record.attempt_id] = record.pending
            self.open(record.pending.accounts, record.pending.nano)
        else:
            self._counted.update(dict.fromkeys(record.attempt_ids))

    def _count(self, row: Spent) -> None:
        if row.attempt_id in self._counted:
            return
        self._remember(row.attempt_id)
        if (pending := self._pending.pop(row.attempt_id, None)) is not None:
            self.open(pending.accounts, -pending.nano)
        self.spend(row.accounts, row.nano, row.stored_ms)

    def _expire(self, at_ms: int) -> None:
        """Only the oldest: each attempt that comes makes room for itself."""
        if not self._pending:
            return
        attempt_id = next(iter(self._pending))
        oldest = self._pending[attempt_id]
        if oldest.at_ms + PENDING_MS <= at_ms or len(self._pending) >= MAX_PENDING:
            del self._pending[attempt_id]
            self.open(oldest.accounts, -oldest.nano)
            self.spend(oldest.accounts, oldest.nano, oldest.at_ms)
            self._remember(attempt_id)  # its row may come at last

    def _remember(self, attempt_id: bytes) -> None:
        self._counted[attempt_id] = None
        if len(self._counted) > MAX_COUNTED:
            del self._counted[next(iter(self._counted))]

    def _account(self, name: str) -> Account:
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = Account()
        return account
