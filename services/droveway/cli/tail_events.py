"""What `droveway tail` says of an event: of a service, not of a request that has ended."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from droveway.cli.admin_session import printable
from droveway.cli.tail_lines import Filter, Part, clock
from droveway.contracts import events
from droveway.contracts.patterns import covers

_NANO = Decimal(10) ** 9
_GOOD = (
    events.CooldownEnded, events.TargetClosed, events.ConfigAdopted, events.OwnerChanged,
    events.LedgerCaughtUp,
)  # fmt: skip


def wants(filter_: Filter, event: events.Event) -> bool:
    """Whether an event is about what is wanted; one that says nothing of it isn't."""
    tenant = key_id = model = provider = ""
    if isinstance(event, events.RequestRefused):
        tenant, key_id, model = event.tenant, event.key_id, event.model
    elif isinstance(event, events.BudgetCrossed):
        tenant = event.id if event.scope == "tenant" else ""
        key_id = event.id if event.scope == "key" else ""
    elif isinstance(event, events.CooldownBegan | events.CooldownEnded):
        provider = event.provider
    elif isinstance(event, events.TargetOpened | events.TargetClosed):
        provider, model = event.provider, event.model
    elif isinstance(event, events.CanaryRolledBack):
        model = event.route
    return (
        filter_.tenant in ("", tenant)
        and filter_.key_id in ("", key_id)
        and (not filter_.model or covers(filter_.model, model))
        and filter_.provider in ("", provider)
        and not (filter_.failed and isinstance(event, _GOOD))
    )


def event_parts(event: events.Event) -> Iterator[Part]:
    """The line for people."""
    at = datetime.fromtimestamp(event.at_ms / 1000, UTC).isoformat()
    unsaid = f" ({event.unsaid} more were left out)" if event.unsaid else ""
    style = "blue" if isinstance(event, _GOOD) else "magenta"
    yield clock(at), "dim"
    yield f"  {events.name_of(type(event)):<30}", style
    yield f"  {event.instance}: {printable(_words(event))}{unsaid}", ""


def event_object(event: events.Event) -> dict[str, object]:
    """The event for programs, beside requests."""
    return {"kind": "event", **msgspec.to_builtins(event)}


def _words(event: events.Event) -> str:
    match event:
        case events.RequestRefused():
            who = f"{event.tenant}/{event.key_id}" if event.key_id else "somebody unknown"
            model = f" {event.model}" if event.model else ""
            what = f"{event.operation}{model} of {who}"
            return f"{event.request_id} {what}: {event.status} {event.code}"
        case events.BudgetCrossed():
            spent, limit = event.spent_nano / _NANO, event.limit_nano / _NANO
            return f"{event.scope} {event.id} has spent ${spent:f} of ${limit:f} / {event.period}"
        case events.CooldownBegan() | events.CooldownEnded():
            return _credential_words(event)
        case events.TargetOpened() | events.TargetClosed():
            return _target_words(event)
        case events.ConfigAdopted():
            return "works by a new configuration"
        case events.ConfigRefused():
            return f"refuses a configuration: {event.findings} findings, told in its log"
        case events.OwnerChanged():
            return f"decides over limits now (partition {event.partition})"
        case events.LedgerBehind():
            return f"the ledger is behind by {event.rows} rows"
        case events.LedgerCaughtUp():
            return "the ledger has all rows again"
        case events.CanaryRolledBack():
            return f"the canary of {event.route} is rolled back: {event.reason}"


def _credential_words(event: events.CooldownBegan | events.CooldownEnded) -> str:
    credential = f"{event.provider}/{event.credential}"
    if isinstance(event, events.CooldownEnded):
        return f"{credential} is used again"
    return f"{credential} is spared for {event.for_ms} ms: {event.why.replace('_', ' ')}"


def _target_words(event: events.TargetOpened | events.TargetClosed) -> str:
    target = f"{event.provider}/{event.model}"
    if isinstance(event, events.TargetClosed):
        return f"{target} is used again"
    return f"{target} is left alone: {event.why.replace('_', ' ')}"
