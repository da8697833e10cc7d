"""Keeps child processes alive, from a parent that stays fit to fork.

The parent has imported everything, runs no loop and no thread, and waits in `select` for three
things: a signal, a child that is ready, a child that is due for its restart. So a child costs a
fork (its memory is shared with the parent's) both at the start and when it is started again.

    with Supervisor(...) as children:          leaving stops them, the last one started first
        children.start(nats)
        children.run_to_end(setup)
        children.start(router)
        children.until_ready(limit_s=30)
        children.until_stopped()
"""

import os
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from droveway.cli.child import EX_CONFIG, Child, Restarts, enter, told
from droveway.runtime.errors import DrovewayError

Say = Callable[[str], None]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TICK_S = 1.0
_READ_BYTES = 4096
_FIRST_START_FAILURES = 3


class ChildFailed(DrovewayError):
    """A child never got ready; its own message stands on standard error.

    Attributes:
        code: Its exit code, negative when a signal ended it.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Stopped(Exception):
    """The operator wants everything to stop."""


class _Running:
    """One child's process, or the wait for its next one."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.pid = 0
        self.pipe = -1
        self.ports: dict[str, int] = {}
        """By each service in this process that takes work."""
        self.was_ready = False
        self.started_s = 0.0
        self.failures = 0
        self.due_s: float | None = None
        self.code: int | None = None

    @property
    def ready(self) -> bool:
        """Whether each of its services takes work."""
        return self.pid != 0 and self.ports.keys() >= self.child.announces


class Supervisor:
    """The children of this process."""

    def __init__(self, say: Say, restarts: Restarts | None = None) -> None:
        self._say = say
        self._restarts = restarts or Restarts()
        self._children: list[_Running] = []
        self._selector = selectors.PollSelector()
        self._wakeup = os.pipe()
        self._stops = 0
        self._stopping = False
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Self:
        assert threading.active_count() == 1, "a process with threads can't fork safely"
        for end in self._wakeup:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        self._selector.register(self._wakeup[0], selectors.EVENT_READ, None)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        try:
            self.stop()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)  # type: ignore[arg-type]
            signal.set_wakeup_fd(-1)
            self._selector.close()
            for end in self._wakeup:
                os.close(end)
        return kind is Stopped

    def start(self, child: Child) -> None:
        """Starts a child that is to live until `stop`, whatever becomes of its processes."""
        running = _Running(child)
        self._children.append(running)
        self._fork(running)

    def run_to_end(self, child: Child, limit_s: float) -> int:
        """Runs a child that ends by itself and returns its exit code.

        Raises:
            ChildFailed: It still runs after `limit_s`; it is killed.
            Stopped: The operator was quicker.
        """
        running = _Running(child)
        self._children.append(running)
        self._fork(running)
        until_s = time.monotonic() + limit_s
        try:
            while running.pid:
                if time.monotonic() > until_s:
                    raise ChildFailed(f"{child.name} hasn't ended within {limit_s:.0f} s", 70)
                self._turn(until_s)
        finally:
            if running.pid:
                self._kill(running, signal.SIGKILL)
                self._reap(running, block=True)
            self._children.remove(running)
        assert running.code is not None
        return running.code

    def must_succeed(self, child: Child, limit_s: float) -> None:
        """As `run_to_end`, for a child without which nothing else makes sense.

        Raises:
            ChildFailed: It ended with another code than 0, or not in time.
            Stopped: The operator was quicker.
        """
        if code := self.run_to_end(child, limit_s):
            raise ChildFailed(f"{child.name} has failed ({told(code)})", code)

    def until_ready(self, limit_s: float) -> dict[str, int]:
        """Waits until all children take work; returns the port of each service.

        Raises:
            ChildFailed: One refused its configuration, failed three times, or took too long.
            Stopped: The operator was quicker.
        """
        until_s = time.monotonic() + limit_s
        while waiting := [one for one in self._children if not one.ready]:
            for running in waiting:
                self._check_first_start(running)
            if time.monotonic() > until_s:
                names = ", ".join(one.child.name for one in waiting)
                raise ChildFailed(f"{names}: not ready after {limit_s:.0f} s", 69)
            self._turn(until_s)
        return {name: port for one in self._children for name, port in one.ports.items()}

    def until_stopped(self) -> None:
        """Keeps all children alive until the operator's signal.

        Raises:
            Stopped: Always; the block of the supervisor takes it.
        """
        while True:
            self._turn(None)

    def stop(self) -> None:
        """Ends all children, the last one started first; a second signal kills them at once."""
        self._stopping = True
        for running in self._children:
            running.due_s = None
        for running in reversed(self._children):
            until_s = time.monotonic() + running.child.stop_limit_s
            self._kill(running, signal.SIGTERM)
            while running.pid:
                if self._stops > 1 or time.monotonic() > until_s:
                    self._kill(running, signal.SIGKILL)
                    until_s = time.monotonic() + _TICK_S
                self._turn(until_s)

    def _turn(self, until_s: float | None) -> None:
        """One wait for whatever comes first, and what follows from it."""
        if self._stops and not self._stopping:
            raise Stopped
        times = [until_s, *(one.due_s for one in self._children)]
        next_s = min((one for one in times if one is not None), default=None)
        wait_s = _TICK_S if next_s is None else min(_TICK_S, max(0.0, next_s - time.monotonic()))
        for key, _events in self._selector.select(wait_s):
            if key.data is None:
                os.read(self._wakeup[0], _READ_BYTES)
            else:
                self._read_ready(key.data)
        for running in [*self._children]:
            self._reap(running)
            if running.due_s is not None and running.due_s <= time.monotonic():
                self._fork(running)

    def _fork(self, running: _Running) -> None:
        running.due_s, running.ports, running.code = None, {}, None
        running.started_s = time.monotonic()
        read_end, write_end = os.pipe()
        parent = os.getpid()
        ours = (*self._descriptors(), read_end)
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between fork and the child's own handlers would be taken by the parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                enter(running.child, parent, write_end, ours)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        os.close(write_end)
        running.pid, running.pipe = pid, read_end
        if not running.child.announces:
            running.was_ready = True
        self._selector.register(read_end, selectors.EVENT_READ, running)

    def _descriptors(self) -> tuple[int, ...]:
        """What a child must not keep open."""
        pipes = tuple(one.pipe for one in self._children if one.pipe >= 0)
        return (*self._wakeup, *pipes)

    def _read_ready(self, running: _Running) -> None:
        lines = os.read(running.pipe, _READ_BYTES).decode()
        if not lines:
            self._selector.unregister(running.pipe)
            return
        for line in lines.splitlines():
            name, _, port = line.partition(" ")
            running.ports[name] = int(port)
        if running.ready and not running.was_ready:
            running.was_ready = True
        elif running.ready:
            self._say(f"{running.child.name} is back")

    def _reap(self, running: _Running, *, block: bool = False) -> None:
        if not running.pid:
            return
        pid, status = os.waitpid(running.pid, 0 if block else os.WNOHANG)
        if pid:
            self._ended(running, os.waitstatus_to_exitcode(status))

    def _ended(self, running: _Running, code: int) -> None:
        if running.pipe in self._selector.get_map():
            self._selector.unregister(running.pipe)
        os.close(running.pipe)
        running.pid, running.pipe, running.code = 0, -1, code
        hopeless = code == EX_CONFIG and not running.was_ready
        if running.child.ends or self._stopping or hopeless:
            return
        lived_s = time.monotonic() - running.started_s
        running.failures = 1 if lived_s >= self._restarts.forget_after_s else running.failures + 1
        delay_s = self._restarts.delay_s(running.failures)
        running.due_s = time.monotonic() + delay_s
        self._say(f"{running.child.name} has ended ({told(code)}); again in {delay_s:.1f} s")

    def _check_first_start(self, running: _Running) -> None:
        code = running.code
        if running.was_ready or code is None:
            return
        if code == EX_CONFIG or running.failures >= _FIRST_START_FAILURES:
            raise ChildFailed(f"{running.child.name} doesn't start ({told(code)})", code)

    def _kill(self, running: _Running, number: int) -> None:
        if running.pid:
            os.kill(running.pid, number)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._stops += 1
