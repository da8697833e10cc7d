"""What Linux knows of processes: CPU time, memory, children, who listens where; and the machine."""

import os
import platform
import re
import time
from collections.abc import Iterable
from pathlib import Path

_LISTENING = "0A"
_CPU_CLOCK = 2
_PROC = Path("/proc")


def cpu_us(pid: int) -> float:
    """CPU microseconds of a process with all of its threads, to the nanosecond; 0 when it's gone.

    Source: Linux, include/linux/posix-timers.h (a clock id is made of the inverted pid).
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | _CPU_CLOCK) / 1000
    except OSError:
        return 0.0


def pss_kib(pid: int) -> int:
    """Memory in KiB; what processes share is split among them, so that a sum counts it once."""
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


def with_descendants(pid: int) -> list[int]:
    """A process, its children, and theirs."""
    parents: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def listening_ports(pids: Iterable[int]) -> dict[int, int]:
    """The process by each TCP port of IPv4 on which one of `pids` listens."""
    ports: dict[str, int] = {}
    for line in (_PROC / "net" / "tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTENING:
            ports[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    owners: dict[int, int] = {}
    for pid in pids:
        for link in (_PROC / str(pid) / "fd").iterdir():
            try:
                port = ports.get(os.readlink(link))  # noqa: PTH115 Path.readlink is slower
            except OSError:
                continue
            if port is not None:
                owners[port] = pid
    return owners


def command(pid: int) -> str:
    """The program that a process runs, without its folder."""
    text = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")[0].decode()
    return Path(text).name


def machine() -> str:
    """Cores, memory, system and Python in one line."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = re.search(r"^model name\s*: (.+)$", (_PROC / "cpuinfo").read_text(), re.MULTILINE)
    model = found[1] if found else platform.machine()
    return (
        f"{len(os.sched_getaffinity(0))} cores ({model}), {pages / 2**30:.0f} GiB, "
        f"Linux {'.'.join(platform.release().split('.')[:2])}, Python {platform.python_version()}"
    )


def load_average() -> float:
    """Runnable processes over the last minute: other people's work shows here before a run."""
    return os.getloadavg()[0]
