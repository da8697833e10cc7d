"""Equal logs give equal books, by whichever way; and what is admitted is never over."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from droveway.contracts.access import Budget, Limit
from droveway.contracts.envelope import encode
from droveway.contracts.limits import Admit, Batch, Charge, Op, Settle, Spend, Spent, batch_decoder
from droveway.limiter.book import Book
from droveway.limiter.decisions import DecisionSettings
from droveway.limiter.records import CHUNK_BYTES
from tests.support.limit_model import LimitModel
from tests.support.limiter_world import NOW_MS, OTHER_PLACE, PLACE, World, config, replayed, row

REMEMBERED = 8
HOUR_MS = 3_600_000
LIMITS = {
    "k:a|requests|1000": 12,
    "k:a|requests|1000:3/12": 12,
    "k:a|concurrency|0": 4,
    "k:b|requests|1000": 12,
    "k:b|requests|1000:3/12": 12,
    "k:b|concurrency|0": 4,
    "t:t|tokens|700": 100,
    "t:t|output_tokens|60000|m*": 400,
    "m|input_tokens|700": 80,
    "c:p/main|requests|500": 4,
    "c:p/main|tokens|500": 60,
    "c:p/main|concurrency|0": 3,
    "c:p/spare|requests|500": 4,
    "c:p/spare|tokens|500": 60,
    "c:p/spare|concurrency|0": 3,
}
_PROVIDER = (Limit(requests=4, tokens=60, concurrency=3, window_s=0.5),)
CONFIG = config(
    key=(
        Limit(requests=12, window_s=1, concurrency=4),
        Limit(requests=12, window_s=1, burst=3),
    ),
    tenant=(Limit(tokens=100, window_s=0.7), Limit(output_tokens=400, model="m*")),
    everybody=(Limit(input_tokens=80, window_s=0.7),),
    main=_PROVIDER,
    spare=_PROVIDER,
    key_budgets=(Budget(usd=0.001, period="hour"),),
    tenant_budgets=(Budget(usd=0.01, period="total"),),
)
NUMBERS = st.integers(0, 30)
TOKENS = st.integers(0, 40)
BOUNDS = st.one_of(st.none(), TOKENS)


class LogMachine(RuleBasedStateMachine):
    """One log, written by an owner that changes; readers that begin and restart anywhere."""

    @initialize()
    def begin(self) -> None:
        self.world = World(CONFIG, DecisionSettings(remembered_holds=REMEMBERED))
        self.reader = Book(REMEMBERED)
        self.read = 0
        self.model = LimitModel(LIMITS)

    @rule(gap_ms=st.one_of(st.integers(0, 300), st.integers(0, 15_000)))
    def time_passes(self, gap_ms: int) -> None:
        self.world.now_ms += gap_ms
        self.world.expire()

    @rule(
        number=NUMBERS,
        input_tokens=TOKENS,
        bound=BOUNDS,
        attempt=st.integers(1, 3),
        key=st.sampled_from("ab"),
    )
    def one_asks(
        self, number: int, input_tokens: int, bound: int | None, attempt: int, key: str
    ) -> None:
        self.world.ask(
            number,
            input_tokens=input_tokens,
            max_output_tokens=bound,
            attempt=attempt,
            key_id=key,
            places=(PLACE, OTHER_PLACE),
        )

    @rule(
        number=NUMBERS,
        ask=st.integers(1, 4),
        holder=st.sampled_from("abc"),
        other=st.sampled_from("abc"),
    )
    def another_router_asks(self, number: int, ask: int, holder: str, other: str) -> None:
        names = {"router": f"router-{other}", "instead_of": f"router-{holder}"}
        self.world.ask(number, ask=ask, input_tokens=5, max_output_tokens=5, **names)

    @rule(
        number=NUMBERS, attempt=st.integers(1, 3), input_tokens=TOKENS, output=TOKENS,
        committed=st.booleans(), credential=st.sampled_from(["main", "spare"]),
    )  # fmt: skip
    def an_attempt_ends(
        self,
        number: int,
        attempt: int,
        input_tokens: int,
        output: int,
        committed: bool,
        credential: str,
    ) -> None:
        self.world.settle(
            number,
            input_tokens,
            output,
            attempt=attempt,
            committed=committed,
            credential=credential,
        )

    @rule(number=NUMBERS, tokens=TOKENS)
    def a_caller_renews(self, number: int, tokens: int) -> None:
        self.world.renew(number, tokens)

    @rule(number=NUMBERS, router=st.sampled_from("abc"))
    def a_router_gives_up(self, number: int, router: str) -> None:
        self.world.release(number, f"router-{router}")

    @rule(number=NUMBERS, attempt=st.integers(1, 3), tokens=TOKENS, key=st.sampled_from("ab"))
    def a_row_is_counted(self, number: int, attempt: int, tokens: int, key: str) -> None:
        self.world.fold(row(number, tokens, tokens, attempt=attempt, key=key))

    @rule(steps=st.sampled_from(["log", "snapshot", "both"]))
    def another_owner_goes_on(self, steps: str) -> None:
        """By the whole log, by a snapshot, or by a snapshot and the log from there."""
        book = replayed(self.world.ops, REMEMBERED) if steps == "log" else self.world.book
        if steps == "both":
            self.follow()
            book = self.reader
        self.world.take_over(Book.restore(book.snapshot()))

    @rule(restored=st.booleans())
    def a_reader_follows(self, restored: bool) -> None:
        if restored:
            self.reader = Book.restore(self.reader.snapshot())
        self.follow()

    def follow(self) -> None:
        for op, at_ms in self.world.ops[self.read :]:
            self.reader.apply(_by_wire(op, at_ms), at_ms)
        self.model.feed(op for op, _ in self.world.ops[self.read :])
        self.read = len(self.world.ops)

    @invariant()
    def nothing_is_over(self) -> None:
        self.follow()
        assert self.model.over == []
        assert len(self.world.book.holds) <= REMEMBERED

    @invariant()
    def all_books_are_equal(self) -> None:
        self.follow()
        now_ms = self.world.now_ms
        books = self.world.book, self.reader
        for book in books:
            book.apply(Spend(0, ()), now_ms)
        assert _told(books[0]) == _told(books[1])
        assert books[0].meters.running == books[1].meters.running
        assert _open(books[0]) == _open(books[1])


TestLog = LogMachine.TestCase
TestLog.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def _by_wire(op: Op, at_ms: int) -> Op:
    return batch_decoder.decode(encode(Batch("limiter-a", 1, at_ms, (op,)))).ops[0]


def _told(book: Book) -> list[Any]:
    return [msgspec.msgpack.decode(chunk, strict=False) for chunk in book.snapshot()]


def _open(book: Book) -> dict[str, int]:
    return {name: one.open_nano for name, one in book.money.accounts.items() if one.open_nano}


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, st.integers(0, 900), st.integers(1, 30)), max_size=60))
def test_the_step_of_a_wall_clock_is_seen_by_nobody(questions: list[tuple[int, int, int]]) -> None:
    """The log's clock began anywhere: the same gaps give the same answers."""

    def told(start_ms: int) -> list[str]:
        world = World(config(key=(Limit(requests=5, tokens=90, window_s=1),)))
        world.now_ms = start_ms
        answers = []
        for number, gap_ms, tokens in questions:
            world.now_ms += gap_ms
            answers.append(type(world.ask(number, max_output_tokens=tokens)).__name__)
        return answers

    begun_ms = NOW_MS - NOW_MS % HOUR_MS
    assert told(begun_ms) == told(begun_ms + HOUR_MS) == told(begun_ms - HOUR_MS)


def test_a_snapshot_s_chunks_fit_a_message_and_are_all_of_it() -> None:
    world = World(config(key=(Limit(requests=10**6, tokens=10**9),)))
    for number in range(20_000):
        world.ask(number, input_tokens=1, max_output_tokens=1)
    chunks = world.book.snapshot()
    assert len(chunks) > 1
    assert max(len(chunk) for chunk in chunks) <= CHUNK_BYTES
    assert Book.restore(chunks).snapshot() == chunks
    assert len(Book.restore(chunks).holds) == 20_000


@pytest.mark.parametrize(
    "broken", [b"", b"\xdd\xff\xff\xff\xff", b"\x91\x92\xa1q\x01", b"x" * 100], ids=repr
)
def test_what_is_no_snapshot_is_refused(broken: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Book.restore([broken])


_UNKNOWN: dict[str, Callable[[], Op]] = {
    "settled": lambda: Settle(NOW_MS, "req_x", bytes(16), 5, 5, 5, True, False),
    "spent before": lambda: Spend(0, ()),
}


@pytest.mark.parametrize("op", _UNKNOWN.values(), ids=_UNKNOWN)
def test_what_is_not_known_changes_nothing(op: Callable[[], Op]) -> None:
    book = Book()
    book.apply(op(), 0)
    assert book.snapshot() == Book().snapshot()


def _admit(number: int, at_ms: int, charge: Charge, **changed: Any) -> Admit:
    plain = Admit(
        at_ms, f"req_{number}", "router-a", 1, 1, "k", "t", (charge,), (), 0, 0, 0, (), 0, "m"
    )
    return msgspec.structs.replace(plain, **changed)


def test_an_operation_that_stands_twice_is_applied_once() -> None:
    book, tokens = Book(), "k:k|tokens|1000"
    leased = {"lease_until_ms": NOW_MS + 1, "accounts": ("k:k",), "reserved_nano": 9}
    book.apply(_admit(1, NOW_MS, Charge(tokens, 9), **leased), NOW_MS)
    told = Settle(NOW_MS, "req_1", bytes(16), 1, 2, 3, False, False)
    row_of_it = Spend(1, (Spent(bytes(16), ("k:k",), 4, NOW_MS),))
    for op in (told, told, row_of_it, row_of_it, told):
        book.apply(op, NOW_MS)
    assert book.meters.windows[tokens].used(NOW_MS) == 9 + 3
    assert book.money.accounts["k:k"].open_nano == 9
    assert book.money.accounts["k:k"].spent("total", 0) == 4


def test_a_word_that_comes_after_its_row_opens_nothing() -> None:
    book = Book()
    leased = {"lease_until_ms": NOW_MS + 1, "accounts": ("k:k",), "reserved_nano": 9}
    book.apply(_admit(1, NOW_MS, Charge("k:k|tokens|1000", 9), **leased), NOW_MS)
    book.apply(Spend(1, (Spent(bytes(16), ("k:k",), 4, NOW_MS),)), NOW_MS)
    book.apply(Settle(NOW_MS, "req_1", bytes(16), 1, 2, 3, True, False), NOW_MS)
    assert book.money.accounts["k:k"].open_nano == 0


def test_counters_that_count_nothing_are_forgotten() -> None:
    book = Book()
    for number in range(1_000):
        at_ms = NOW_MS + number * 100
        book.apply(_admit(number, at_ms, Charge(f"k:k{number}|requests|1000", 1)), at_ms)
    assert len(book.meters.windows) < 50
