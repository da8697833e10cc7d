"""What all who watch files go by: whose changes concern them, and when a watch can't be had."""

import asyncio
from collections.abc import Collection
from pathlib import Path

LOOK_EVERY_S = 30.0
"""Files that can't be watched are read this often."""
UNWATCHABLE = (OSError, RuntimeError)
"""What says that files can't be watched: a folder is gone, or the host has no watches left."""
_SWAPPED_LINK = "..data"
"""By which Kubernetes swaps a mounted ConfigMap or Secret."""


def concerns(files: Collection[Path], changed: str) -> bool:
    """Whether a change of the path `changed` may be one of `files`: it is one, or their link."""
    path = Path(changed)
    return path in files or path.name == _SWAPPED_LINK


def check_cancelled() -> None:
    """What ends a watch while its task is cancelled is that cancellation, whatever it says.

    Raises:
        CancelledError: The running task is to end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
