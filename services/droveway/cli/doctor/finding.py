"""What a check finds, how findings are ordered, and the exit code that they come to."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from droveway.cli.admin_session import printable
from droveway.otel.redaction import redact

Severity = Literal["broken", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("broken", "warning", "note")
"""The worst first."""

EX_WELL, EX_WARNINGS, EX_BROKEN, EX_BLIND = 0, 1, 2, 3
"""As monitoring plugins have them; warnings count only where they are asked to.

Source: monitoring-plugins.org, "Plugin Return Codes", 2026.
"""

_NAMED = 5
"""Names in one sentence; of more their number is told."""
_LONGEST = 300


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that isn't as it should be, or is good to know."""

    severity: Severity
    code: str
    """For programs: `limiter_without_owner`."""
    what: str
    since: str = ""
    """RFC 3339, UTC; empty: nobody knows."""
    advice: str
    """What to do, in one line."""


def broken(code: str, what: str, advice: str, since: str = "") -> Finding:
    """Clients are harmed now."""
    return _found("broken", code, what, advice, since)


def warning(code: str, what: str, advice: str, since: str = "") -> Finding:
    """It harms some, or will."""
    return _found("warning", code, what, advice, since)


def note(code: str, what: str, advice: str, since: str = "") -> Finding:
    """As somebody wanted it, perhaps."""
    return _found("note", code, what, advice, since)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first, in the order of the checks otherwise."""
    return sorted(findings, key=lambda one: SEVERITIES.index(one.severity))


def exit_code(findings: Sequence[Finding], *, blind: bool, strict: bool) -> int:
    """What a script is told.

    Args:
        findings: All of them.
        blind: There was no connection, so next to nothing could be looked at.
        strict: Warnings count.
    """
    present = {one.severity for one in findings}
    if blind:
        return EX_BLIND
    if "broken" in present:
        return EX_BROKEN
    return EX_WARNINGS if strict and "warning" in present else EX_WELL


def named(names: Iterable[str], most: int = _NAMED) -> str:
    """`a, b and 3 more`; each bounded, and without control characters."""
    every = [printable(one) for one in names]
    shown, left_out = every[:most], len(every) - most
    return ", ".join(shown) + (f" and {left_out} more" if left_out > 0 else "")


def runbook(alert: str) -> str:
    """Where it is told at length what to do."""
    return f"deploy/runbooks/{alert}.md"


def _found(severity: Severity, code: str, what: str, advice: str, since: str) -> Finding:
    return Finding(
        severity=severity, code=code, what=_safe(what), since=printable(since), advice=_safe(advice)
    )


def _safe(text: str) -> str:
    """Words of others stand in it: no secret, no control character, and no page of it."""
    plain = "".join(one if one.isprintable() else " " for one in redact(text))
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
