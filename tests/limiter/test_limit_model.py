"""The exact model itself: it lets pass what is right, and finds what is one too many."""

import time
from collections.abc import Sequence

import pytest

from droveway.contracts.limits import Admit, Charge, Op, Settle
from tests.support.limit_model import Admission, LimitModel, over_admissions

T = 1_790_000_000_000
WINDOW = "k:a|requests|1000"
TOKENS = "k:a|tokens|1000"
PLACES = "k:a|concurrency|0"
BURST = "k:a|requests|1000:2/10"
LIMITS = {WINDOW: 2, TOKENS: 100, PLACES: 1}


def _admit(number: int, at_ms: int, counter: str, amount: int = 1, lease: str = "") -> Admit:
    charges = (Charge(counter, amount),) if counter else ()
    leases = (lease,) if lease else ()
    until_ms = 0 if counter in (WINDOW, BURST) else T + 10_000
    return Admit(
        T + at_ms, f"req_{number}", "router-a", 1, 1, "a", "t", charges, leases, 0, amount, 0, (),
        until_ms, "m",
    )  # fmt: skip


def _settle(number: int, at_ms: int, output: int, *, estimated: bool = False) -> Settle:
    id_ = b"" if estimated else number.to_bytes(16, "big")
    return Settle(T + at_ms, f"req_{number}", id_, 0, output, 0, True, estimated)


RIGHT: dict[str, Sequence[Op]] = {
    "a window that moves": [_admit(n, n * 500, WINDOW) for n in range(6)],
    "given back": [_admit(1, 0, TOKENS, 100), _settle(1, 5, 10), _admit(2, 6, TOKENS, 90)],
    "one after the other": [
        _admit(1, 0, "", lease=PLACES), _settle(1, 5, 0), _admit(2, 5, "", lease=PLACES),
    ],
    "evenly": [_admit(n, n * 100, BURST) for n in range(20)],
}  # fmt: skip
WRONG: dict[str, Sequence[Op]] = {
    "at the last millisecond": [_admit(n, at_ms, WINDOW) for n, at_ms in enumerate([0, 500, 999])],
    "over the edge of two fixed windows": [_admit(n, 900 + n * 100, WINDOW) for n in range(3)],
    "given back twice": [
        _admit(1, 0, TOKENS, 100), _settle(1, 5, 10), _settle(1, 6, 0), _admit(2, 7, TOKENS, 100),
    ],
    "a debt forgotten": [
        _admit(1, 0, TOKENS, 50), _settle(1, 900, 90), _admit(2, 1_100, TOKENS, 61),
    ],
    "an estimate given back": [
        _admit(1, 0, TOKENS, 100), _settle(1, 5, 100, estimated=True), _admit(2, 7, TOKENS, 1),
    ],
    "two at once": [_admit(1, 0, "", lease=PLACES), _admit(2, 500, "", lease=PLACES)],
    "three at once": [_admit(n, 10 * n, BURST) for n in range(3)],
}  # fmt: skip


@pytest.mark.parametrize("ops", RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_found_right(ops: Sequence[Op]) -> None:
    model = LimitModel(LIMITS)
    model.feed(ops)
    assert model.over == []
    assert model.admissions == sum(isinstance(op, Admit) for op in ops)


@pytest.mark.parametrize("ops", WRONG.values(), ids=WRONG)
def test_one_too_many_is_found(ops: Sequence[Op]) -> None:
    model = LimitModel(LIMITS)
    model.feed(ops)
    assert len(model.over) == 1


def test_bare_admissions_are_judged_as_well() -> None:
    history = [Admission(T + n * 10, "c", 1, 100, 1_000) for n in range(300)]
    assert over_admissions(history) == []
    found = over_admissions([*history, Admission(T + 2_990, "c", 1, 100, 1_000)])
    assert [(one.counted, one.limit) for one in found] == [(101, 100)]
    assert len(over_admissions(Admission(T, "b", 1, 10, 1_000, 2) for _ in range(3))) == 1


def test_its_time_grows_with_the_history_and_no_faster() -> None:
    started_s = time.process_time()
    history = (Admission(T + n // 100, "c", 1, 10**6, 60_000) for n in range(100_000))
    assert over_admissions(history) == []
    assert time.process_time() - started_s < 2.0
