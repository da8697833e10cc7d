"""Servers that others wrote, each as a process of its own with the address that it prints."""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_LIMIT_S = 30
STOP_LIMIT_S = 10
POLL_S = 0.02
_ADDRESS = re.compile(r"http://127\.0\.0\.1:[1-9][0-9]*")


class Program:
    """One running server."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    def resident_bytes(self) -> int:
        """Memory that it holds now, shared pages included."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match
        return int(match[1]) * 1024


@contextmanager
def serving(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """Starts a server in `folder`, waits until it prints where it listens; SIGTERM ends it."""
    output = folder / "output.txt"
    with (
        output.open("wb") as file,
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield Program(_address(process, output), process.pid)
        finally:
            process.terminate()
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: "subprocess.Popen[bytes]", output: Path) -> str:
    until_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until_s:
        if match := _ADDRESS.search(output.read_text()):
            return match[0]
        assert process.poll() is None, output.read_text()
        time.sleep(POLL_S)  # another program's start can't be awaited otherwise
    raise AssertionError(f"it doesn't say where it listens:\n{output.read_text()}")
