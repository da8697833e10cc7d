import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from droveway.cli.child import Restarts, told

LIMIT_S = 8


class Supervised:
    """A running supervisor and the lines that it and its children have printed."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, beginning: str) -> str:
        """The next line that begins so; pytest's time-out ends the wait for one that doesn't."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(beginning):
                return self.lines[-1]
        raise AssertionError(f"no line begins with {beginning!r}: {self.lines}")

    def pid_of(self, name: str) -> int:
        """The process of a child's latest start."""
        told = [line for line in self.lines if line.startswith(f"{name} began ")]
        return int(told[-1].split()[-1])

    def end(self) -> int:
        """Reads to the end and returns the exit code."""
        assert self.process.stdout is not None
        self.lines += [line.rstrip("\n") for line in self.process.stdout]
        return self.process.wait(LIMIT_S)


@contextmanager
def supervised(*words: str) -> Iterator[Supervised]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.supervised", *words],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield Supervised(process)
        finally:
            process.kill()


def wait_until_gone(pid: int) -> None:
    until_s = time.monotonic() + LIMIT_S
    while Path(f"/proc/{pid}").exists() and "Z" not in state(pid):
        assert time.monotonic() < until_s, f"process {pid} is still there"
        time.sleep(0.01)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_children_stop_in_the_reverse_order_of_their_start() -> None:
    with supervised("one", "two", "three") as run:
        run.until("ready")
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 0
        stops = [line for line in run.lines if line.endswith("stopped")]
        assert stops == ["three stopped", "two stopped", "one stopped"]


def test_ctrl_c_reaches_the_parent_only() -> None:
    with supervised("one", "two") as run:
        run.until("ready")
        os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
        assert run.end() == 0
        stops = [line for line in run.lines if line.endswith("stopped")]
        assert stops == ["two stopped", "one stopped"]


def test_a_killed_child_is_started_again() -> None:
    with supervised("one", "two") as run:
        run.until("ready")
        first = run.pid_of("one")
        os.kill(first, signal.SIGKILL)
        assert "SIGKILL" in run.until("says one has ended")
        run.until("one began")
        run.until("says one is back")
        assert run.pid_of("one") != first
        run.process.terminate()
        assert run.end() == 0


def test_each_failure_waits_longer() -> None:
    with supervised("one") as run:
        run.until("ready")
        waits_s = []
        for _ in range(3):
            os.kill(run.pid_of("one"), signal.SIGKILL)
            waits_s.append(float(run.until("says one has ended").split()[-2]))
            run.until("one began")
        assert waits_s == sorted(waits_s)
        assert waits_s[-1] >= 0.2


def test_no_child_outlives_a_killed_parent() -> None:
    with supervised("one", "two!") as run:
        run.until("ready")
        pids = children_of(run.process.pid)
        assert len(pids) == 2
        run.process.kill()
        for pid in pids:
            wait_until_gone(pid)


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_second_signal_kills_who_does_not_listen() -> None:
    with supervised("one!", "two!") as run:
        run.until("ready")
        began_s = time.monotonic()
        run.process.terminate()
        time.sleep(0.1)  # two signals at once are one
        run.process.terminate()
        assert run.end() == 0
        assert time.monotonic() - began_s < 2


def test_a_wrong_configuration_ends_everything_with_78() -> None:
    with supervised("one", "two=78") as run:
        assert run.end() == 78
        assert "failed two doesn't start (exit code 78)" in run.lines
        # It may be ended before it can say so.
        began = [line for line in run.lines if line.startswith("one began ")]
        assert not any(Path(f"/proc/{line.split()[-1]}").exists() for line in began)
        assert run.lines.count("two began") == 1


def test_a_child_that_never_gets_ready_is_tried_three_times() -> None:
    with supervised("one=1") as run:
        assert run.end() == 1
        assert run.lines.count("one began") == 3


def test_the_parent_has_one_thread() -> None:
    with supervised("one") as run:
        run.until("ready")
        assert len(list(Path(f"/proc/{run.process.pid}/task").iterdir())) == 1
        run.process.terminate()
        assert run.end() == 0


@pytest.mark.parametrize(
    ("failures", "least_s", "most_s"), [(1, 1, 1.25), (2, 2, 2.5), (5, 16, 20), (9, 30, 30)]
)
def test_waits_double_up_to_their_cap(failures: int, least_s: float, most_s: float) -> None:
    assert least_s <= Restarts().delay_s(failures) <= most_s


def test_exit_codes_are_told_in_words() -> None:
    assert told(78) == "exit code 78"
    assert told(-9) == "SIGKILL"
