"""The AsyncAPI 3.0 document of the bus: channels, messages, and who may send and receive what.

Source: AsyncAPI Specification 3.0.0; NATS bindings 0.1.0.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from asyncapi_channels import CHANNELS, REQUEST_BODY, ROWS, Channel
from droveway.contracts import discovery, events
from droveway.contracts.jetstream import (
    AUDIT,
    USAGE,
    audit_stream,
    usage_stream,
)
from droveway.contracts.permissions import USERS, User, tenant_user
from droveway.contracts.usage import MAX_ROWS, AttemptRecorded, RequestRecorded

Messages = Mapping[str, type[msgspec.Struct]]

_ABOUT = """\
How the services of Droveway talk, and clients that ask over NATS instead of HTTP. Operations say
what each user's permissions allow; replicas that share work are heard in their queue group only.
Services' messages are msgpack; bytes are base64 in the schemas, and plain bytes on the bus.
`contracts/README.md` tells it in order.
"""
_KEPT = (
    (usage_stream(0, 1), (f"$JS.API.DIRECT.GET.{USAGE}",)),
    (audit_stream(0, 1), (f"$JS.API.DIRECT.GET.{AUDIT}",)),
)
"""Streams, and how what they keep is read."""
_ROWS = [str(kind.__struct_config__.tag) for kind in (AttemptRecorded, RequestRecorded)]
_IN_JSON: Messages = {
    "discovery.pong": discovery.Pong,
    "discovery.info": discovery.Info,
    "discovery.stats": discovery.Stats,
    **{events.name_of(one): one for kinds in events.OF_SERVICES.values() for one in kinds},
}
"""Messages that are no msgpack on the bus; their schemas stand in the document."""


def text(messages: Messages) -> str:
    """contracts/asyncapi.json; `messages` by the names of their schemas."""
    return json.dumps(document(messages), indent=1, ensure_ascii=False) + "\n"


def document(messages: Messages) -> dict[str, Any]:
    """The document."""
    _, schemas = msgspec.json.schema_components(
        list(_IN_JSON.values()), ref_template="#/components/schemas/{name}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Droveway's bus",
            "version": version("droveway"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/msgpack",
        "servers": {"nats": {"host": "127.0.0.1:4222", "protocol": "nats"}},
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": dict(_operations()),
        "components": {
            "messages": _messages(messages),
            "schemas": json.loads(msgspec.json.encode(schemas)),
        },
    }


def covers(pattern: str, subject: str) -> bool:
    """Whether a permission's pattern allows all subjects of another pattern."""
    allowed, wanted = pattern.split("."), subject.split(".")
    for index, word in enumerate(allowed):
        if word == ">":
            return len(wanted) > index
        if index >= len(wanted) or word not in ("*", wanted[index]):
            return False
    return len(allowed) == len(wanted)


def patterns_of(channel: Channel) -> tuple[str, ...]:
    """Its address with `*` for each parameter, and one address for each word of a known few."""
    addresses = [channel.address.replace("{verb}", verb) for verb in discovery.VERBS]
    return tuple(dict.fromkeys(re.sub(r"\{\w+\}", "*", one) for one in addresses))


def _messages(messages: Messages) -> dict[str, Any]:
    made: dict[str, Any] = {
        REQUEST_BODY: {
            "name": REQUEST_BODY,
            "contentType": "application/json",
            "summary": "What one would POST (docs/openapi.json): JSON, or the same in msgpack.",
            "payload": {"type": "object"},
        },
        ROWS: {
            "name": ROWS,
            "title": "Rows",
            "summary": "Rows of one tenant that share a message.",
            "payload": {
                "type": "array",
                "maxItems": MAX_ROWS,
                "items": {"oneOf": [{"$ref": f"./schemas/{name}.json"} for name in _ROWS]},
            },
        },
    }
    used = dict.fromkeys(name for channel in CHANNELS for name in channel.messages)
    for name in used:
        if name in _IN_JSON:
            kind = _IN_JSON[name]
            payload = {"$ref": f"#/components/schemas/{kind.__name__}"}
            made[name] = _message(name, kind, payload) | {"contentType": "application/json"}
        elif name not in made:
            made[name] = _message(name, messages[name], {"$ref": f"./schemas/{name}.json"})
        if name.startswith("client."):
            made[name]["contentType"] = "application/json"
    return made


def _message(name: str, kind: type[msgspec.Struct], payload: dict[str, Any]) -> dict[str, Any]:
    summary = (kind.__doc__ or "").partition("\n")[0]
    return {"name": name, "title": kind.__name__, "summary": summary, "payload": payload}


def _channel(channel: Channel) -> dict[str, Any]:
    made: dict[str, Any] = {
        "address": channel.address,
        "description": channel.about,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in channel.messages},
    }
    if parameters := re.findall(r"\{(\w+)\}", channel.address):
        made["parameters"] = {name: _PARAMETERS[name] for name in parameters}
    return made


_PARAMETERS: dict[str, dict[str, Any]] = {
    "key": {"description": "The id of a client key."},
    "operation": {"description": "What is asked for.", "examples": ["chat-completions"]},
    "gateway": {"description": "The instance that `Opened` names."},
    "router": {"description": "The instance that was heard."},
    "class": {"description": "The class of service.", "examples": ["default"]},
    "partition": {"description": "Of the limiter."},
    "pool": {"description": "The callers that may make the attempt."},
    "instance": {"description": "One process: its service, a dash, 12 characters."},
    "token": {"description": "Random; of a client one to three tokens."},
    "tenant": {"description": "Whose row it is."},
    "verb": {"enum": list(discovery.VERBS)},
}


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for channel in CHANNELS:
        for user in (msgspec.structs.replace(tenant_user("*"), name="client"), *USERS):
            group = _heard_in(user, channel)
            if group is not None:
                made = _operation("receive", channel)
                if group:
                    made["bindings"] = {"nats": {"queue": group, "bindingVersion": "0.1.0"}}
                yield f"{user.name}_receives_{channel.name}", made
            if _allowed(user.publish, channel):
                yield f"{user.name}_sends_{channel.name}", _operation("send", channel)


def _allowed(patterns: Iterable[str], channel: Channel) -> bool:
    return all(any(covers(one, subject) for one in patterns) for subject in patterns_of(channel))


def _heard_in(user: User, channel: Channel) -> str | None:
    """The queue group in which a user hears a channel, empty for none; None: it doesn't hear it.

    Besides subscriptions there are streams, out of which rows and audit events are read.
    """
    for one in user.subscribe:
        pattern, _, group = one.partition(" ")
        if _allowed([pattern], channel):
            return group
    if _allowed([one.partition(" ")[0] for one in user.subscribe], channel):
        return ""
    for kept, ways in _KEPT:
        if set(ways).intersection(user.publish) and _allowed(kept["subjects"], channel):
            return ""
    return None


def _operation(action: str, channel: Channel) -> dict[str, Any]:
    made: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
    }
    if channel.replies:
        made["reply"] = {"channel": {"$ref": f"#/channels/{channel.replies[0]}"}}
    return made
