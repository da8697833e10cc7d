"""A clock for open loops: event loops wake to the millisecond, a kernel timer to microseconds."""

import asyncio
import ctypes
import os
import time
from types import TracebackType
from typing import Self

_CLOCK_MONOTONIC = 1
_NANO = 1_000_000_000


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("first", _TimeSpec))


class Ticker:
    """Ticks `per_s` times a second; a late reader gets all the ticks that it has missed."""

    def __init__(self, per_s: float) -> None:
        self._interval_s = 1 / per_s
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = -1
        self._began_s = 0.0
        self._ticks = 0
        self._ready = asyncio.Event()

    def __enter__(self) -> Self:
        self._file = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        seconds, nanoseconds = divmod(int(self._interval_s * _NANO), _NANO)
        interval = _TimeSpec(seconds, nanoseconds)
        timer = _TimerSpec(interval, interval)
        self._began_s = time.perf_counter()
        if self._file < 0 or self._libc.timerfd_settime(self._file, 0, ctypes.byref(timer), None):
            raise OSError(ctypes.get_errno(), "this system has no timerfd; Linux has")
        asyncio.get_running_loop().add_reader(self._file, self._ready.set)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._file)
        os.close(self._file)

    async def next(self) -> list[float]:
        """The moments (`time.perf_counter`) that have come since the last call, at least one."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            try:
                ticks = int.from_bytes(os.read(self._file, 8), "little")
            except BlockingIOError:
                continue
            first = self._ticks + 1
            self._ticks += ticks
            return [self._began_s + self._interval_s * n for n in range(first, first + ticks)]
