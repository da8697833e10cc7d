"""NATS, what couldn't be asked over it, and clocks."""

import re
from collections.abc import Iterator

from droveway.cli.doctor.evidence import Evidence, Fill, Unasked
from droveway.cli.doctor.finding import Finding, broken, named, note, runbook, warning
from droveway.cli.nats_server import OLDEST

SLOW_MS = 250
"""A message to the broker and back takes longer."""
CLOCK_OFF_MS = 2_000
_VERSION = re.compile(r"(\d+)\.(\d+)\.")
_WORDS = {
    "services": "who runs", "providers": "how targets fare", "switches": "what is switched off",
    "canaries": "canaries", "keys": "keys", "tenants": "tenants", "budgets": "budgets",
    "applied": "the applied configuration", "missing": "which streams are there",
    "fill": "how full streams are", "unpriced": "prices", "requests": "failures",
    "changes": "the audit trail",
}  # fmt: skip


def check_connection(evidence: Evidence) -> Iterator[Finding]:
    """Whether the broker is there, and how it answers."""
    broker = evidence.broker
    if isinstance(broker, Unasked):
        advice = f"start it, or say where it is: docs/guides/discovery.md; {_NATS}"
        yield broken("nats_unreachable", f"NATS can't be asked: {broker.reason}", advice)
        return
    found = _VERSION.match(broker.version)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        text = f"nats-server {broker.version} is older than {oldest}: streams lack what they need"
        yield broken("nats_too_old", text, f"run nats-server {oldest} or later")
    if broker.answered_ms > SLOW_MS:
        text = f"NATS takes {broker.answered_ms:.0f} ms for a message to itself and back"
        yield warning("nats_slow", text, f"look at its CPU, its disk and the network; {_NATS}")


def check_answers(evidence: Evidence) -> Iterator[Finding]:
    """What couldn't be asked: nothing is said of it, good or bad."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in evidence.unasked.items():
        if name in _WORDS:
            by_reason.setdefault(reason, []).append(_WORDS[name])
    for reason, words in by_reason.items():
        text = f"not known: {named(words, len(_WORDS))}; {reason}"
        yield warning("not_asked", text, "see to what is broken above it, then look again")


def check_clocks(evidence: Evidence) -> Iterator[Finding]:
    """Clocks of metrics, the broker and this machine: keys expire and budgets begin by them."""
    fill = evidence.fill
    if not isinstance(fill, Fill) or fill.told.broker_ahead_ms is None:
        return
    broker_ahead_ms = fill.told.broker_ahead_ms
    ours_ahead_ms = fill.heard_ms - fill.told.at_ms - broker_ahead_ms
    if abs(broker_ahead_ms) > CLOCK_OFF_MS:
        yield _off("of metrics", -broker_ahead_ms)
    if abs(ours_ahead_ms) > CLOCK_OFF_MS:
        text = _off("of this machine", ours_ahead_ms)
        yield note(text.code, text.what, text.advice)


def _off(whose: str, ahead_ms: int) -> Finding:
    side = "ahead of" if ahead_ms > 0 else "behind"
    text = f"the clock {whose} is {abs(ahead_ms) / 1_000:.1f} s {side} the broker's"
    return warning("clock_off", text, "synchronise clocks (chrony, systemd-timesyncd)")


_NATS = runbook("NatsUnreachable")
