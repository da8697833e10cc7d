"""The AsyncAPI document is whole: references lead somewhere, nothing of the bus is left out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import asyncapi_document
from asyncapi_channels import CHANNELS, Channel
from asyncapi_document import covers, patterns_of
from droveway.contracts.permissions import USERS, tenant_user
from tests.contracts.samples import SHORT

FOLDER = Path(__file__).parents[2] / "contracts"
FILE = FOLDER / "asyncapi.json"
DOCUMENT = json.loads(FILE.read_text(encoding="utf-8"))
OF_NATS = ("$JS.", "$KV.")
"""What NATS itself serves: no message of ours."""

UNSAID = ("_INBOX.setup.>", "_INBOX.limiter.>", "_INBOX.metrics.>")
"""Inboxes that only get NATS's own answers."""


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def resolved(reference: str, document: Any = DOCUMENT) -> Any:
    file, _, pointer = reference.partition("#")
    found = json.loads((FOLDER / file).read_text(encoding="utf-8")) if file else document
    for token in pointer.split("/")[1:]:
        found = found[token.replace("~1", "/").replace("~0", "~")]
    return found


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 50
    assert [one for one in found if not resolved(one)] == []


def test_it_has_the_form_of_the_version() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"].keys() >= {"title", "version"}
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].startswith("#/channels/")
    for message in DOCUMENT["components"]["messages"].values():
        payload = message["payload"]
        schema = resolved(payload["$ref"]) if "$ref" in payload else payload
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_message_has_a_channel() -> None:
    named = {name for channel in CHANNELS for name in channel.messages}
    titles = {
        DOCUMENT["components"]["messages"][name]["title"] for name in named - {"client.request"}
    }
    assert {type(sample).__name__ for sample in SHORT} <= titles
    schemas = {path.stem for path in (FOLDER / "schemas").glob("*.json")} - {"config"}
    assert schemas <= named


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_a_channel_has_somebody_who_sends_and_somebody_who_hears(channel: Channel) -> None:
    here = [name for name in DOCUMENT["operations"] if name.endswith(f"_{channel.name}")]
    assert {name.split("_")[1] for name in here} == {"sends", "receives"}


@pytest.mark.parametrize("user", [*USERS, tenant_user("*")], ids=lambda user: user.name)
def test_whatever_a_user_may_say_or_hear_has_a_channel(user: Any) -> None:
    allowed = [*user.publish, *(one.partition(" ")[0] for one in user.subscribe)]
    ours = [one for one in allowed if not one.startswith(OF_NATS)]
    known = [subject for channel in CHANNELS for subject in patterns_of(channel)]
    missing = [one for one in ours if not any(covers(one, subject) for subject in known)]
    assert [one for one in missing if one not in UNSAID and not one.startswith("$SRV.")] == []


def test_work_that_replicas_share_is_heard_in_their_group() -> None:
    groups = {
        name: operation["bindings"]["nats"]["queue"]
        for name, operation in DOCUMENT["operations"].items()
        if "bindings" in operation
    }
    assert groups == {
        "gateway_receives_request": "gateway",
        "router_receives_inference": "router",
        "caller_receives_dispatch": "caller",
        "metrics_receives_report": "metrics",
    }


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a.*.c", True),
        ("a.b.c", "a.*.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.*", "a.b.c", False),
        ("a.b.c", "a.b", False),
    ],
)
def test_a_pattern_covers_what_it_allows(pattern: str, subject: str, expected: bool) -> None:
    assert covers(pattern, subject) is expected


def test_a_parameter_that_nobody_described_fails_the_generator() -> None:
    described = asyncapi_document._PARAMETERS
    used = {
        name for one in CHANNELS for name in DOCUMENT["channels"][one.name].get("parameters", ())
    }
    assert used == set(described)
