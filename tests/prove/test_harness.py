"""The harness itself: claims that break are told, tables stay in step, processes are real."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.prove import chinese
from tests.prove.__main__ import prove, told
from tests.prove.child import Child
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import at_most, open_loop
from tests.prove.registry import CLAIMS, chosen
from tests.prove.report import END, READMES, START, Report, Row, table, write_tables
from tests.support.checker import Evidence
from tests.support.history import History

REPOSITORY = Path(__file__).parents[2]


def claim_of(result: Result, violation: str = "") -> Claim:
    async def run(run: Run) -> Result:
        if violation:
            run.blame(violation)
        return result

    return Claim(id="X1", text="it works", bound="0", run=run)


def row_of(claim: Claim, folder: Path) -> Row:
    return prove(claim, seed=1, quick=True, folder=folder)


def report_of(*rows: Row) -> Report:
    return Report(
        date="2026-11-22 18:00 UTC",
        seed=7,
        quick=False,
        machine="2 cores",
        versions={"nats-server": "2.15.1"},
        load_before=0.0,
        rows=list(rows),
    )


def test_each_claim_has_one_number_and_a_chinese_text() -> None:
    ids = [claim.id for claim in CLAIMS]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(chinese.TEXTS)


def test_a_claim_is_chosen_by_any_of_its_numbers() -> None:
    assert [claim.id for claim in chosen(["D8", "B1"])] == ["B1", "B4+D8"]
    assert chosen(None) == list(CLAIMS)
    with pytest.raises(ValueError, match="no such claim: B999; known are B1,"):
        chosen(["B999"])


def test_a_claim_within_its_bound_holds(tmp_path: Path) -> None:
    row = row_of(claim_of(Result("0 of 5", True, {"n": 5})), tmp_path)
    assert (row.held, row.measured, row.facts) == (True, "0 of 5", {"n": 5})
    assert told(row).startswith("X1       held ")


def test_a_violation_breaks_a_claim_that_is_within_its_bound(tmp_path: Path) -> None:
    row = row_of(claim_of(Result("0 of 5", True, {}), "I2 a gap"), tmp_path)
    assert not row.held
    assert "BROKEN" in told(row)
    assert "I2 a gap" in told(row)


def test_a_claim_that_raises_is_broken_and_the_others_still_run(tmp_path: Path) -> None:
    async def run(_run: Run) -> Result:
        raise TimeoutError("router-1 isn't ready")

    row = row_of(Claim(id="X1", text="it works", bound="0", run=run), tmp_path)
    assert not row.held
    assert row.violations == ["TimeoutError: router-1 isn't ready"]


def test_an_empty_history_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no request"):
        Run("X1", 1, True, tmp_path).judge(Evidence(History()))


def test_the_seed_decides_every_chance(tmp_path: Path) -> None:
    one, same, other = (Run("X1", seed, True, tmp_path).random("when") for seed in (1, 1, 2))
    assert one.random() == same.random() != other.random()


def test_both_readmes_have_a_place_for_the_table() -> None:
    for name in READMES:
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        assert text.count(START) == text.count(END) == 1


def test_a_table_replaces_the_one_before(tmp_path: Path) -> None:
    for name in READMES:
        (tmp_path / name).write_text(f"a\n{START}\nstale\n{END}\nb\n", encoding="utf-8")
    held = Row(
        id="B1", claim="c", bound="0", measured="0 of 5", held=True,
        seconds=1.0, violations=[], facts={},
    )  # fmt: skip
    write_tables(report_of(held), tmp_path)
    for name in READMES:
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert text.startswith(f"a\n{START}\n`make prove`")
        assert text.endswith(f"| 0 | 0 of 5 |\n{END}\nb\n")
        assert "stale" not in text


def test_a_broken_row_stands_out(tmp_path: Path) -> None:
    row = row_of(claim_of(Result("3 of 5", False, {})), tmp_path)
    assert "| X1 | it works | 0 | **3 of 5** |" in table(report_of(row), "README.md")


async def test_an_open_loop_asks_on_time_however_long_answers_take() -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    async def ask(number: int) -> float:
        at_s = loop.time() - began_s
        await asyncio.sleep(1.0)
        assert number / 50 - 0.005 < at_s < number / 50 + 0.5, "later, and it waited for answers"
        return at_s

    times_s = await open_loop(50, 0.2, ask)
    assert len(times_s) == 10


async def test_at_most_so_many_run_at_a_time() -> None:
    running = most = 0

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return number

    assert await at_most(3, map(work, range(10))) == list(range(10))
    assert most == 3


async def test_a_child_is_a_process_that_can_be_struck(tmp_path: Path) -> None:
    log = tmp_path / "simulator.log"
    child = Child("simulator", {"DROVEWAY_SIMULATOR_PORT": "0"}, log, {})
    try:
        async with asyncio.timeout(10):
            while b"simulator.ready" not in (log.read_bytes() if log.exists() else b""):
                assert child.exit_code is None
                await asyncio.sleep(0.02)
        assert os.getpgid(child.pid) == child.pid
        child.signal(signal.SIGTERM)
        assert await child.ended(5.0)
        assert child.exit_code == 0
    finally:
        child.kill()


def test_a_child_with_a_wrong_setting_ends_with_its_exit_code(tmp_path: Path) -> None:
    log = tmp_path / "simulator.log"
    child = Child("simulator", {"DROVEWAY_SIMULATOR_PORT": "x"}, log, {})
    assert asyncio.run(child.ended(10.0))
    assert child.exit_code == 78
    assert "DROVEWAY_SIMULATOR_PORT" in log.read_text()
