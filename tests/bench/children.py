"""Processes that end with the run, whatever becomes of it."""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import msgspec

from tests.bench.load import Load, Outcome

ROOT = Path(__file__).parents[2]
STOP_LIMIT_S = 15.0
_LOAD_MARGIN_S = 20.0
_PR_SET_PDEATHSIG = 1
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")
_LIBC = ctypes.CDLL(None)


class RunFailed(Exception):
    """Something that is measured, or measures, doesn't work."""


class Children:
    """Starts processes and ends all of them on leaving the block, the last one first."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def start(
        self,
        arguments: Sequence[str | Path],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        log: IO[str] | None = None,
    ) -> subprocess.Popen[str]:
        """Starts a program with an environment of its own; its output is piped unless logged."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        process = subprocess.Popen(
            arguments,
            cwd=folder,
            env={**kept, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log or subprocess.PIPE,
            stderr=subprocess.STDOUT if log else None,
            text=True,
            process_group=0,
            preexec_fn=_die_with_parent,
        )
        self._stack.callback(_end, process)
        return process

    def upstream(self) -> tuple[int, int]:
        """A mock provider; returns its pid and port."""
        process = self.start([sys.executable, "-m", "tests.bench.upstream"], ROOT)
        return process.pid, int(read_line(process, 10))


def run_load(load: Load, meanwhile: tuple[float, Callable[[], None]] | None = None) -> Outcome:
    """Runs a load in a process of its own; calls `meanwhile` so many seconds after its start.

    Raises:
        RunFailed: It crashed, took too long, or an answer failed.
    """
    limit_s = load.warm_up_s + load.duration_s + _LOAD_MARGIN_S
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.load"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=_die_with_parent,
    )
    try:
        sent: bytes | None = msgspec.json.encode(load)
        if meanwhile is not None:
            wait_s, call = meanwhile
            assert process.stdin is not None
            process.stdin.write(sent or b"")
            process.stdin.close()
            process.stdin, sent = None, None
            time.sleep(wait_s)
            call()
        output, _ = process.communicate(sent, timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"the load generator hasn't ended after {limit_s:.0f} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        raise RunFailed(f"the load generator has ended with {process.returncode}")
    outcome = msgspec.json.decode(output, type=Outcome)
    if outcome.errors:
        raise RunFailed(f"{outcome.errors} answers failed; the first: {outcome.first_error}")
    return outcome


def read_line(process: subprocess.Popen[str], limit_s: float) -> str:
    """The next line that a process prints.

    Raises:
        RunFailed: It ended, or said nothing in time.
    """
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(limit_s):
            raise RunFailed(f"{process.args!r} has said nothing for {limit_s} s")
    line = process.stdout.readline()
    if not line:
        raise RunFailed(f"{process.args!r} has ended with {process.wait()}")
    return line


def _end(process: subprocess.Popen[str]) -> None:
    """Asks a process to stop, then kills what is left of its group."""
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"{process.args!r} didn't stop in {STOP_LIMIT_S} s: killed\n")
    try:
        os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.05)  # its children are reaped by init
    except ProcessLookupError:
        pass
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
