"""What travels on which subject: the table that the AsyncAPI document is made from.

Who may publish and subscribe isn't told here: permissions say it.
"""

from typing import NamedTuple

from droveway.contracts import discovery, events
from droveway.contracts.envelope import PREFIX

REQUEST_BODY = "client.request"
"""What a client on the bus sends: no struct of ours, but what one would POST."""

ROWS = "usage.rows"
"""Rows that share a message: an array of the structs beside it in its channel."""


class Channel(NamedTuple):
    """One kind of subject."""

    name: str
    address: str
    """With `{parameters}`, each of which is one token."""
    about: str
    messages: tuple[str, ...]
    """By the names of their schemas."""
    replies: tuple[str, ...] = ()
    """Channels in which it is answered."""


_FRAMES = ("relay.chunk", "relay.completed", "relay.interrupted")
_STEERING = ("relay.credit", "relay.taken", "relay.resend", "relay.cancel", "relay.heartbeat")
_PROVIDERS = ("providers.seen.v1", "providers.reset_done.v1")
_REPORTS = (
    *("report.made.v1", "stats.made.v1", "bill.made.v1", "comparison.made.v1"),
    *("fill.told.v1", "report.refused.v1"),
)

CHANNELS: tuple[Channel, ...] = (
    Channel(
        "request",
        f"{PREFIX}.request.{{key}}.{{operation}}",
        "A client asks; the broker proves the key by its permissions.",
        (REQUEST_BODY,),
        ("client_inbox",),
    ),
    Channel(
        "client_control",
        f"{PREFIX}.control.t.{{key}}.{{gateway}}",
        "A client steers an answer, at the gateway that holds it.",
        ("client.credit", "client.resend", "client.taken", "client.cancel", "client.probe"),
    ),
    Channel(
        "client_inbox",
        "_INBOX.t.{key}.{token}",
        "The answer, as one message or as frames; it ends with exactly one terminal.",
        (
            *("client.opened", "client.chunk", "client.heartbeat"),
            *("client.completed", "client.failed", "client.interrupted"),
        ),
    ),
    Channel(
        "inference",
        f"{PREFIX}.inference.{{class}}",
        "A door wants one answer; one router takes it.",
        ("inference.requested.v1",),
        ("gateway_inbox",),
    ),
    Channel(
        "direct",
        f"{PREFIX}.direct.{{class}}.{{router}}",
        "The same to one router that was heard, when the group's choice was mute.",
        ("inference.requested.v1",),
        ("gateway_inbox",),
    ),
    Channel(
        "admission",
        f"{PREFIX}.admission.{{partition}}",
        "A router asks before anything is spent.",
        ("admission.requested.v1",),
        ("router_inbox",),
    ),
    Channel(
        "standing",
        f"{PREFIX}.standing.{{partition}}",
        "An operator, or a gateway for one, asks where a key stands.",
        ("standing.asked.v1",),
        ("gateway_inbox", "operator_inbox"),
    ),
    Channel(
        "settlement",
        f"{PREFIX}.settlement.{{partition}}",
        "What became of what was reserved.",
        ("lease.renewed.v1", "attempt.settled.v1", "request.released.v1"),
    ),
    Channel(
        "limits",
        f"{PREFIX}.limits.{{partition}}",
        "The limiter's log, kept in the JetStream stream LIMITS; one batch of operations each.",
        ("limits.batch",),
    ),
    Channel(
        "owner",
        f"{PREFIX}.owner.{{partition}}",
        "The owner of the partition says that it lives.",
        ("owner.alive.v1",),
    ),
    Channel(
        "dispatch",
        f"{PREFIX}.dispatch.{{pool}}",
        "A router has one upstream attempt made; its frames go to the door.",
        ("call.routed.v1",),
        ("router_inbox", "gateway_inbox"),
    ),
    Channel(
        "health",
        f"{PREFIX}.health.{{pool}}",
        "How targets fare and which credentials to spare: each second, and at once when that "
        "changes.",
        ("pool.health.v1",),
    ),
    Channel(
        "providers",
        f"{PREFIX}.providers",
        "An operator or a gateway asks how targets fare, or has what was seen of them forgotten.",
        ("providers.asked.v1", "providers.reset.v1"),
        ("gateway_inbox", "operator_inbox"),
    ),
    Channel(
        "gateway_control",
        f"{PREFIX}.control.gateway.{{instance}}",
        "To the gateway that holds the client.",
        (*_STEERING, "relay.pull"),
    ),
    Channel(
        "caller_control",
        f"{PREFIX}.control.caller.{{instance}}",
        "To the caller that runs the attempt.",
        (*_STEERING, "relay.inquiry"),
    ),
    Channel(
        "router_control",
        f"{PREFIX}.control.router.{{instance}}",
        "To the router that owns the request.",
        ("relay.cancel", "relay.heartbeat", "relay.room"),
    ),
    Channel(
        "usage",
        f"{PREFIX}.usage.{{tenant}}",
        "Rows for the ledger, kept in the JetStream stream USAGE: one, or an array of them.",
        ("attempt.recorded.v1", "request.recorded.v1", ROWS),
    ),
    Channel(
        "report",
        f"{PREFIX}.report",
        "An operator, or a gateway for a client, asks what was used and what it cost.",
        (
            *("report.asked.v1", "stats.asked.v1", "bill.asked.v1", "comparison.asked.v1"),
            "fill.asked.v1",
        ),
        ("gateway_inbox", "operator_inbox"),
    ),
    Channel(
        "gateway_audit",
        f"{PREFIX}.audit.gateway",
        "Who changed what through the administration, kept in the JetStream stream AUDIT; JSON.",
        (),
    ),
    Channel(
        "operator_audit",
        f"{PREFIX}.audit.operator",
        "Who changed what from the command line, kept beside the former.",
        (),
    ),
    Channel(
        "metrics_audit",
        f"{PREFIX}.audit.metrics",
        "Canaries that their guard has rolled back, kept beside the former.",
        (),
    ),
    *(
        Channel(
            f"{service}_events",
            events.events_subject(service),
            f"What happens in a {service}, for operators who listen; told once, in JSON.",
            tuple(events.name_of(kind) for kind in kinds),
        )
        for service, kinds in events.OF_SERVICES.items()
    ),
    Channel(
        "gateway_inbox",
        "_INBOX.gateway.{instance}.{token}",
        "What a door hears of its request: news of its router, then the frames of a caller.",
        (
            *("inference.accepted.v1", "inference.waiting.v1", "inference.refused.v1"),
            *("inference.held.v1", "attempt.running.v1", "attempt.failed.v1"),
            "standing.reported.v1",
            *_REPORTS,
            *_PROVIDERS,
            *_FRAMES,
        ),
    ),
    Channel(
        "router_inbox",
        "_INBOX.router.{instance}.{token}",
        "What a router hears of an admission and of an attempt.",
        (
            *("admission.admitted.v1", "admission.denied.v1", "admission.held.v1"),
            *("attempt.started.v1", "attempt.busy.v1", "attempt.failed.v1"),
            "attempt.committed.v1",
        ),
    ),
    Channel(
        "caller_inbox",
        "_INBOX.caller.{instance}.{token}",
        "A large body, which the caller pulls from the door that holds it.",
        _FRAMES,
    ),
    Channel(
        "discovery",
        f"{discovery.ROOT}.{{verb}}",
        "An operator asks who runs (an empty message); also below, by name and by instance.",
        (),
        ("operator_inbox",),
    ),
    Channel(
        "operator_inbox",
        "_INBOX.operator.{token}",
        "Who runs, as NATS tools read it (ADR-32); where a key stands; reports; how targets fare.",
        (
            *("discovery.pong", "discovery.info", "discovery.stats", "standing.reported.v1"),
            *_REPORTS,
            *_PROVIDERS,
        ),
    ),
)
