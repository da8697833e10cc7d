"""One screen for people, or one JSON object for programs."""

from collections import Counter
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import msgspec
from rich.text import Text

from droveway.cli.admin_session import printable
from droveway.cli.doctor.evidence import (
    SERVICES,
    Broker,
    Evidence,
    Fill,
    Spendings,
    known,
    ours,
)
from droveway.cli.doctor.finding import SEVERITIES, Finding, named
from droveway.cli.services import uptime
from droveway.contracts.audit import AuditRecorded
from droveway.contracts.discovery import name_of
from droveway.runtime.config.entries import Standing

MOST_SHOWN = 50
"""Findings on the screen; JSON has all."""
CHANGES_SHOWN = 5
_STYLES = {"broken": "bold red", "warning": "yellow", "note": "cyan"}
_INDENT = " " * 10


def lines(evidence: Evidence, findings: Sequence[Finding]) -> Iterator[Text]:
    """The verdict, what was found, what was looked at, and what was changed lately."""
    yield _verdict(findings)
    for one in findings[:MOST_SHOWN]:
        since = uptime(one.since, evidence.at) if one.since else ""
        yield Text.assemble(
            (f"{one.severity:<{len(_INDENT)}}", _STYLES[one.severity]),
            one.what,
            (f" (for {since})" if since else "", "dim"),
        )
        yield Text(f"{_INDENT}{one.advice}", style="dim")
    if len(findings) > MOST_SHOWN:
        yield Text(f"and {len(findings) - MOST_SHOWN} more; --format json has all", style="dim")
    if looked_at := [*_looked_at(evidence)]:
        yield Text(f"looked at: {', '.join(looked_at)}", style="dim")
    if changes := known(evidence.changes):
        yield Text("last changes:", style="dim")
        yield from (_change_line(one, evidence) for one in changes[:CHANGES_SHOWN])


def as_json(evidence: Evidence, findings: Sequence[Finding], code: int) -> dict[str, Any]:
    """The same for programs, and all of it."""
    present = {one.severity for one in findings}
    return {
        "verdict": next((one for one in SEVERITIES[:2] if one in present), "well"),
        "exit_code": code,
        "at": evidence.at.isoformat(timespec="milliseconds"),
        "findings": [msgspec.to_builtins(one) for one in findings],
        "looked_at": [*_looked_at(evidence)],
        "not_asked": sorted(evidence.unasked),
        "changes": [_change(one) for one in known(evidence.changes)],
    }


def _verdict(findings: Sequence[Finding]) -> Text:
    counts = Counter(one.severity for one in findings)
    if not counts["broken"] and not counts["warning"]:
        return Text("all is well", style="bold green")
    words = (f"{counts[one]} {one}" for one in SEVERITIES if counts[one])
    return Text(", ".join(words), style=_STYLES["broken" if counts["broken"] else "warning"])


def _looked_at(evidence: Evidence) -> Iterator[str]:
    broker = evidence.broker
    if isinstance(broker, Broker):
        yield (
            f"nats-server {printable(broker.version)} at {printable(broker.address)} "
            f"(connected in {broker.connected_ms:.0f} ms, {broker.answered_ms:.1f} ms there and "
            "back)"
        )
    else:
        return
    if services := ours(known(evidence.services)):
        versions = named(sorted({one.version for one in services}))
        by_name = Counter(one.name.removeprefix(name_of("")) for one in services)
        each = named((f"{count} {name}" for name, count in by_name.items()), len(SERVICES))
        yield f"{_count(services, 'process')} of {versions} ({each})"
    if isinstance(evidence.fill, Fill):
        yield _count(evidence.fill.told.streams, "stream")
    if providers := known(evidence.providers):
        targets = {(each.provider, each.model) for one in providers for each in one.targets}
        yield f"{_count(targets, 'target')} in {_count(providers, 'router')}"
    if isinstance(evidence.budgets, Spendings) and evidence.budgets.found:
        yield _count(evidence.budgets.found, "budget")
    if isinstance(evidence.applied, Standing) and evidence.applied.applied is not None:
        yield f"configuration revision {evidence.applied.revision}"
    if evidence.file.path:
        yield printable(evidence.file.path)
    if evidence.machine.folder:
        yield printable(evidence.machine.folder)


def _count(things: Sized, noun: str) -> str:
    number = len(things)
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural}"


def _change(event: AuditRecorded) -> dict[str, str]:
    """Without what was changed: it is in the audit trail."""
    return {
        "at": event.at, "by": f"{event.by.via} {event.by.id}", "action": event.action,
        "target": event.target, "outcome": event.outcome, "reason": event.reason,
    }  # fmt: skip


def _change_line(event: AuditRecorded, evidence: Evidence) -> Text:
    told = _change(event)
    ago = uptime(event.at, evidence.at)
    failed = "" if event.outcome == "begun" else f" ({event.outcome})"
    reason = f": {event.reason}" if event.reason else ""
    words = f"{told['action']} of {told['target']} by {told['by']}{failed}{reason}"
    return Text(f"{_INDENT}{ago} ago: {printable(words)}", style="dim")
