"""A wall clock of a process that steps while it runs; monotonic clocks go on as they do.

By libfaketime, preloaded: https://github.com/wolfcw/libfaketime.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

_PACKAGED = Path("vendor/libfaketime/src/libfaketime.so.1")
_INSTALLED = "*/faketime/libfaketime.so.1"
"""Below /usr/lib, as Debian's package has it."""


class SteppingClock:
    """The offset of the processes that run in `environment`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.step(0)

    @property
    def environment(self) -> Mapping[str, str]:
        """What such a process is started with.

        Raises:
            FileNotFoundError: libfaketime isn't there.
        """
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: int) -> None:
        """From now on the clock is so many seconds ahead; negative: behind."""
        written = self._path.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        written.replace(self._path)


def _library() -> Path:
    found = importlib.util.find_spec("libfaketime")
    places = [Path(one) for one in (found.submodule_search_locations or ())] if found else []
    for path in [*(place / _PACKAGED for place in places), *Path("/usr/lib").glob(_INSTALLED)]:
        if path.exists():
            return path
    raise FileNotFoundError("libfaketime isn't installed: pip install libfaketime")
