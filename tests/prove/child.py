"""A service as a process of its own, forked from a preloaded parent and ended by its pid.

`multiprocessing`'s fork server is that parent: it runs no loop and no thread, so its forks are
sound, and it tells how each child has ended.
"""

import asyncio
import contextlib
import ctypes
import gc
import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

_PR_SET_PDEATHSIG = 1

Limits = Mapping[int, int]
"""Resource limits by `resource.RLIMIT_*`."""

_CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.prove.preloaded"])


class Child:
    """One process; it's ended with the harness, however that ends."""

    def __init__(
        self, service: str, environment: Mapping[str, str], log: Path, limits: Limits
    ) -> None:
        self._process: ForkServerProcess = _CONTEXT.Process(
            target=serve, args=(service, dict(environment), log, dict(limits)), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative when a signal ended it."""
        return self._process.exitcode

    def signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def ended(self, within_s: float) -> bool:
        """Waits for its end; whether that came in time."""
        await asyncio.to_thread(self._process.join, within_s)
        return self.exit_code is not None

    def kill(self) -> None:
        """SIGKILL, and waits until it's gone."""
        self.signal(signal.SIGKILL)
        self._process.join()


class Program:
    """As `Child`, by a start of its own: for what only works from the first instruction on."""

    def __init__(
        self, service: str, environment: Mapping[str, str], log: Path, limits: Limits
    ) -> None:
        assert not limits, "a program of its own takes no resource limits"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"droveway.{service}"],
                env=dict(environment),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative when a signal ended it."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        self._process.send_signal(number)

    async def ended(self, within_s: float) -> bool:
        """Waits for its end; whether that came in time."""
        try:
            await asyncio.to_thread(self._process.wait, within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, and waits until it's gone."""
        self._process.kill()
        self._process.wait()


def serve(service: str, environment: dict[str, str], log: Path, limits: dict[int, int]) -> None:
    """Becomes the service; runs in the child."""
    os.setpgid(0, 0)  # Ctrl-C is for the harness, which ends all in order
    die_with_parent()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    for number, limit in limits.items():
        resource.setrlimit(number, (limit, limit))
    gc.enable()
    sys.argv = [f"droveway.{service}"]
    runpy.run_module(f"droveway.{service}", run_name="__main__")


def die_with_parent() -> None:
    """Asks Linux to kill this process when the thread that forked it is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
