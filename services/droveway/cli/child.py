"""What one child of the supervisor is, its first steps after the fork, and how it comes back."""

import ctypes
import gc
import logging
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, NoReturn

from droveway.runtime.tuning import settle_in

log = logging.getLogger(__name__)

EX_CONFIG = 78
EX_SOFTWARE = 70
_PR_SET_PDEATHSIG = 1

Report = Callable[[str, int], None]
"""Called with a service's name and a port once it takes work."""


class Child(NamedTuple):
    """Something to run in a process of its own."""

    name: str
    work: Callable[[Report], int]
    """Runs in the child and returns the exit code; may also exit, or become another program."""
    announces: frozenset[str] = frozenset()
    """Services that must report before this child counts as ready."""
    ends: bool = False
    """It ends by itself and isn't started again."""
    stop_limit_s: float = 10.0
    """Time from SIGTERM to SIGKILL: drain and a margin."""
    environment: Mapping[str, str] | None = None
    """All of its environment; None: the parent's."""


class Restarts(NamedTuple):
    """How fast a child that ended is started again."""

    first_s: float = 1.0
    cap_s: float = 30.0
    forget_after_s: float = 60.0
    """A child that lived this long starts again as if it had never failed."""

    def delay_s(self, failures: int) -> float:
        """The wait after the `failures`-th failure in a row: doubled, jittered by 25 %."""
        doubled: float = self.first_s * 2 ** min(failures - 1, 16)
        return min(self.cap_s, doubled * random.uniform(1, 1.25))  # noqa: S311


def told(code: int) -> str:
    """An exit code in words."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def enter(child: Child, parent: int, pipe: int, close: Sequence[int]) -> NoReturn:
    """Turns a just forked process into the child; never returns to the parent's code."""
    code = EX_SOFTWARE
    try:
        for descriptor in close:
            os.close(descriptor)
        _leave_the_parent(parent)
        if child.environment is not None:
            os.environ.clear()
            os.environ.update(child.environment)

        def report(name: str, port: int) -> None:
            os.write(pipe, f"{name} {port}\n".encode())

        code = child.work(report)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else EX_SOFTWARE
    except Exception:
        log.exception("%s has failed", child.name)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _leave_the_parent(parent: int) -> None:
    # Ctrl-C goes to the terminal's process group: only the parent may hear it, so that the
    # children end in order.
    os.setpgid(0, 0)
    _die_with(parent)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    gc.enable()
    settle_in()  # nats-server, too: the policy outlives exec


def _die_with(parent: int) -> None:
    """Asks Linux to kill this process when its parent is gone; other systems can't."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(EX_SOFTWARE)
