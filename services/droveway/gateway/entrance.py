"""How a request came in: what its row, its root span and its log line say of the way."""

from typing import Literal, NamedTuple

from droveway.contracts.client import GATEWAYS
from droveway.contracts.envelope import PREFIX
from droveway.otel import names
from droveway.otel.context import Attributes, SpanKind

Protocol = Literal["http", "nats"]


class Entrance(NamedTuple):
    """One way in; all of its words are ours, never a client's."""

    protocol: Protocol
    operation: str
    """As rows name it, whichever the way: `chat.completions`."""
    route: str
    """As log lines name it: `POST /v1/chat/completions`, `NATS chat-completions`."""
    span_name: str
    span_kind: SpanKind
    attributes: Attributes


def by_http(operation: str, method: str, path: str) -> Entrance:
    """An HTTP request; `path` is a route's template."""
    route = names.SPAN_SERVER.format(method=method, route=path)
    attributes = {
        names.DROVEWAY_DOOR: "http",
        names.HTTP_REQUEST_METHOD: method,
        names.HTTP_ROUTE: path,
    }
    return Entrance("http", operation, route, route, "server", attributes)


def by_nats(operation: str, name: str) -> Entrance:
    """A request over the bus; `name` is the operation as its subject has it."""
    attributes = {
        names.DROVEWAY_DOOR: "nats",
        names.MESSAGING_SYSTEM: "nats",
        names.MESSAGING_OPERATION_NAME: "process",
        names.MESSAGING_OPERATION_TYPE: "process",
        names.MESSAGING_DESTINATION_TEMPLATE: f"{PREFIX}.request.{{key}}.{name}",
        names.MESSAGING_CONSUMER_GROUP_NAME: GATEWAYS,
    }
    return Entrance(
        "nats", operation, f"NATS {name}", names.SPAN_REQUEST.format(operation=name), "consumer",
        attributes,
    )  # fmt: skip
