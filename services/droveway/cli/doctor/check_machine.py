"""This machine: room on the disk of `droveway up`, and who can read its secrets."""

from collections.abc import Iterator

from droveway.cli.doctor.evidence import Evidence
from droveway.cli.doctor.finding import Finding, broken, named, warning

_GIB = 1024**3
LOW_BYTES, LOW_SHARE = 2 * _GIB, 0.10
"""Less than both is free: streams and the ledger will soon have no room."""
NONE_BYTES = _GIB // 4
"""As good as none."""


def check_disk(evidence: Evidence) -> Iterator[Finding]:
    """Streams, the ledger and the log of `droveway up` lie there."""
    machine = evidence.machine
    if not machine.folder or not machine.total_bytes:
        return
    free, share = machine.free_bytes, machine.free_bytes / machine.total_bytes
    text = f"{free / _GIB:.1f} GiB are free at {machine.folder}, {100 * share:.0f}% of the disk"
    if free < NONE_BYTES:
        yield broken("disk_full", text, "make room: JetStream and the ledger stop without it")
    elif free < LOW_BYTES and share < LOW_SHARE:
        yield warning("disk_nearly_full", text, "make room, or move --data to a larger disk")


def check_secrets(evidence: Evidence) -> Iterator[Finding]:
    """Keys and seeds that others can read."""
    files = evidence.machine.exposed
    if files:
        text = f"others on this machine can read {named(files)}"
        yield warning("secrets_exposed", text, f"chmod 600 {named(files[:1])}; then renew them")
