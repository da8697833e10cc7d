"""Streams and the buckets in front of them: that they are there, and have room."""

from collections.abc import Iterator

from droveway.cli.doctor.evidence import Evidence, Fill, known
from droveway.cli.doctor.finding import Finding, broken, named, runbook, warning
from droveway.contracts.fill import StreamFill
from droveway.contracts.jetstream import CONFIG, LIMITS

NEARLY_FULL, FULL = 0.8, 0.95
"""Shares, as the alerts StreamNearlyFull and StreamFull have them."""
_DROPS = frozenset({LIMITS, f"KV_{CONFIG}"})
"""Drop their oldest by design, so they may be full."""
_SPARED = frozenset({f"KV_{CONFIG}"})
"""Without it all goes on by the file."""


def check_streams_are_there(evidence: Evidence) -> Iterator[Finding]:
    """By the operator's own look at those it may read, and by what metrics was told of all."""
    silent = dict.fromkeys(known(evidence.missing))
    if isinstance(evidence.fill, Fill):
        silent |= dict.fromkeys(one.name for one in evidence.fill.told.streams if not one.answering)
    for say, streams in (
        (broken, [one for one in silent if one not in _SPARED]),
        (warning, [one for one in silent if one in _SPARED]),
    ):
        if streams:
            text = f"JetStream says nothing of {named(streams, 10)}: missing, or without a leader"
            yield say("stream_silent", text, f"`droveway setup`; {runbook('StreamSilent')}")


def check_fill(evidence: Evidence) -> Iterator[Finding]:
    """What is full takes no more; of what drops its oldest nothing is said."""
    if not isinstance(evidence.fill, Fill):
        return
    for one in evidence.fill.told.streams:
        share = max(_share(one.bytes, one.limit_bytes), _share(one.messages, one.limit_messages))
        if one.name in _DROPS or share < NEARLY_FULL:
            continue
        if share >= FULL:
            advice = f"{_more(one)}; {runbook('StreamFull')}"
            yield broken("stream_full", f"{_said(one, share)}: soon it takes no more", advice)
        else:
            advice = f"{_more(one)}; {runbook('StreamNearlyFull')}"
            yield warning("stream_nearly_full", _said(one, share), advice)


def _share(present: int, limit: int) -> float:
    return present / limit if limit else 0.0


def _said(one: StreamFill, share: float) -> str:
    return f"{one.name} is {100 * share:.0f}% full ({one.bytes:,} of {one.limit_bytes:,} bytes)"


def _more(one: StreamFill) -> str:
    bucket = one.name.removeprefix("KV_")
    noun = "SNAPSHOTS" if one.name == "KV_limits" else bucket.upper()
    return f"set DROVEWAY_SETUP_{noun}_MAX_BYTES higher and run `droveway setup`"
