"""Clients on the bus: their subjects and inboxes, and what their user may do with them."""

import msgspec
import pytest

from droveway.contracts import client
from droveway.contracts.envelope import SubjectError, encode, new_instance
from droveway.contracts.permissions import USERS, tenant_user
from tests.contracts.test_permissions import may

GATEWAY = new_instance("gateway")
BY_NAME = {user.name: user for user in USERS}
INBOXES = ("_INBOX.t.k1.a", "_INBOX.t.k1.NUID22chars_-.Zz9", "_INBOX.t.k1.a.b.c")
ELSEWHERE = (
    "", "_INBOX.t.k1", "_INBOX.t.k1.", "_INBOX.t.k1.a.b.c.d", "_INBOX.t.k1.a b", "_INBOX.t.k1.*",
    "_INBOX.t.k1.>", "_INBOX.t.k1.a\n", "_INBOX.t.k1." + "a" * 65, "_INBOX.t.k2.a", "_INBOX.a",
    "_INBOX.gateway.gateway-0123456789ab.x", "_INBOX.t.k1.ä", "x_INBOX.t.k1.a", "_inbox.t.k1.a",
    "$JS.API.STREAM.PURGE.USAGE", "droveway.v1.usage.default",
)  # fmt: skip


@pytest.mark.parametrize("reply", INBOXES)
def test_an_inbox_of_the_key_is_answered(reply: str) -> None:
    assert client.is_inbox_of(reply, "k1")
    assert not client.is_inbox_of(reply, "k2")
    assert may(tenant_user("k1").subscribe, reply)
    assert may(BY_NAME["gateway"].publish, reply)


@pytest.mark.parametrize("reply", ELSEWHERE)
def test_nothing_else_is(reply: str) -> None:
    assert not client.is_inbox_of(reply, "k1")


def test_a_user_asks_and_steers_under_its_own_key_only() -> None:
    user = tenant_user("k1")
    for key_id, allowed in (("k1", True), ("k2", False)):
        assert may(user.publish, client.request_subject(key_id, "chat-completions")) is allowed
        assert may(user.publish, client.control_subject(key_id, GATEWAY)) is allowed
    assert not may(user.publish, "_INBOX.t.k1.a"), "answers come from gateways"


def test_gateways_and_nobody_else_hear_it() -> None:
    request = client.request_subject("k1", "chat-completions")
    control = client.control_subject("k1", GATEWAY)
    for subject in (request, control):
        assert [user.name for user in USERS if may(user.subscribe, subject)] == ["gateway"]
        assert [user.name for user in USERS if may(user.publish, subject)] == []
    assert may((client.ANY_REQUEST,), request)
    assert may((client.controls_of(GATEWAY),), control)
    assert not may((client.controls_of(new_instance("gateway")),), control)


@pytest.mark.parametrize("word", ["", "A", "a.b", "*", ">", "a b", "x" * 65])
def test_no_clients_word_gets_into_a_subject(word: str) -> None:
    for build in (client.request_subject, client.control_subject):
        with pytest.raises(SubjectError):
            build(word, "chat-completions")


@pytest.mark.parametrize(
    "message",
    [client.Probe(), client.Cancel(relay_id="0" * 32), client.Heartbeat(next_seq=1, blocked=True)],
)
def test_the_form_is_told_by_the_first_byte(message: msgspec.Struct) -> None:
    assert client.is_msgpack(encode(message))
    assert not client.is_msgpack(msgspec.json.encode(message))


@pytest.mark.parametrize("data", [b"", b"{", b"[", b" {", b"\x90", b"\xc0", b"\xdd", b"\xff"])
def test_all_but_maps_is_taken_for_json(data: bytes) -> None:
    assert not client.is_msgpack(data)


@pytest.mark.parametrize(
    "name", ["", "0" * 31, "0" * 33, "G" * 32, "0" * 31 + "A", "0" * 32 + "\n"]
)
def test_a_relay_is_named_by_32_hex_digits(name: str) -> None:
    data = msgspec.json.encode({"t": "cancel", "relay_id": name})
    with pytest.raises(msgspec.ValidationError):
        client.json_control_decoder.decode(data)
