"""A supervisor with tiny children, run as a program: `python -m tests.support.supervised …`.

Prints a line per event: what the supervisor says, and what each child does, with its process id.
"""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from droveway.cli.child import Child, Report, Restarts
from droveway.cli.supervisor import ChildFailed, Supervisor

RESTARTS = Restarts(first_s=0.05, cap_s=0.4, forget_after_s=60)
READY_LIMIT_S = 5.0
STOP_LIMIT_S = 5.0


def tell(*words: object) -> None:
    """Writes a line whole: children share the parent's standard output."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def service(name: str) -> Child:
    """Works until SIGTERM."""

    def work(report: Report) -> int:
        tell(name, "began", os.getpid())

        def stop(_number: int, _frame: FrameType | None) -> None:
            tell(name, "stopped")
            sys.exit(0)

        signal.signal(signal.SIGTERM, stop)
        report(name, 0)
        while True:
            signal.pause()

    return Child(name, work, frozenset({name}), stop_limit_s=STOP_LIMIT_S)


def stubborn(name: str) -> Child:
    """Ignores SIGTERM."""

    def work(report: Report) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        report(name, 0)
        while True:
            signal.pause()

    return Child(name, work, frozenset({name}), stop_limit_s=STOP_LIMIT_S)


def failing(name: str, code: int) -> Child:
    """Ends at once."""

    def work(_report: Report) -> int:
        tell(name, "began")
        return code

    return Child(name, work, frozenset({name}))


def child(word: str) -> Child:
    """`name`, `name=code` or `name!`."""
    name, _, code = word.partition("=")
    if code:
        return failing(name, int(code))
    return stubborn(name[:-1]) if name.endswith("!") else service(name)


def main(words: Sequence[str]) -> int:
    """Supervises the children that the words name; the exit code is that of `droveway up`."""
    try:
        with Supervisor(lambda text: tell("says", text), RESTARTS) as children:
            for word in words:
                children.start(child(word))
            children.until_ready(READY_LIMIT_S)
            tell("ready")
            children.until_stopped()
    except ChildFailed as error:
        tell("failed", error)
        return error.code
    tell("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
