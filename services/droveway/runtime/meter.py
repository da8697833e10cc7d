"""What comes on one subject, counted and timed, for service discovery."""

import time
from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Meter:
    """What has come on one subject, for service discovery; all but `last_error` only grow."""

    __slots__ = ("errors", "last_error", "processing_ns", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.last_error = ""
        """Its kind only: words of an error may be a client's."""
        self.processing_ns = 0

    def failed(self, kind: str) -> None:
        """Counts an error."""
        self.errors += 1
        self.last_error = kind


class Metered(Generic[P]):
    """A bus callback with its meter; unless told otherwise it is done when it returns."""

    __slots__ = ("_callback", "meter")

    def __init__(self, callback: Callable[P, None]) -> None:
        self._callback = callback
        self.meter = Meter()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Calls through, counts and times."""
        self.meter.requests += 1
        began_ns = time.monotonic_ns()
        try:
            self._callback(*args, **kwargs)
        except Exception as error:
            self.meter.failed(type(error).__name__)
            raise
        finally:
            self.meter.processing_ns += time.monotonic_ns() - began_ns


def metered(callback: Callable[P, None]) -> Metered[P]:
    """`callback` with a meter: its own if it has one."""
    return callback if isinstance(callback, Metered) else Metered(callback)
