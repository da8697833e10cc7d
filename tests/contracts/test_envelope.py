"""No client's word becomes part of a subject, and only inboxes of ours are answered."""

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts import admission, dispatch, envelope, inference, relay, usage
from droveway.contracts.envelope import Id, SubjectError, is_inbox_of, subject

NOT_TOKENS = {
    "empty": "",
    "blank": "a b",
    "leading blank": " a",
    "tab": "a\tb",
    "line end": "a\n",
    "carriage return": "a\r",
    "CRLF and a command": "a\r\nPUB x 0",
    "NUL": "a\x00",
    "dot": "a.b",
    "leading dot": ".a",
    "double dot": "..",
    "star": "*",
    "star inside": "a*b",
    "greater": ">",
    "upper case": "Tenant",
    "dollar": "$JS",
    "slash": "a/b",
    "percent": "a%2eb",
    "umlaut": "tenänt",
    "full-width": "\uff41",
    "other digits": "\u0661",
    "zero width": "a\u200b",
    "lone surrogate": "\ud800",
    "65 characters": "a" * 65,
    "10 kB": "a" * 10_000,
}
MAX_SUBJECT_BYTES = 256
GATEWAY = "_INBOX.gateway.gateway-0123456789ab"
INBOXES = {
    f"{GATEWAY}.0a1b": True,
    "_INBOX.caller.caller-01234567.0": True,
    f"{GATEWAY}.{'a' * 40}": True,
    f"{GATEWAY}.{'a' * 41}": False,
    "": False,
    "_INBOX": False,
    "_INBOX.>": False,
    GATEWAY: False,
    f"{GATEWAY}.": False,
    f"{GATEWAY}.*": False,
    f"{GATEWAY}.>": False,
    f"{GATEWAY}.0a1b.more": False,
    f"{GATEWAY}.0a1b\n": False,
    f" {GATEWAY}.0a1b": False,
    f"{GATEWAY}.0A1B": False,
    f"{GATEWAY}.0a1b\ufffd": False,
    "_INBOX.gateway.caller-0123456789ab.0a1b": False,
    "_INBOX.gateway.gateway-short.0a1b": False,
    "_INBOX.gateway.gateway.0a1b": False,
    "_INBOX.router.router-0123456789ab.0a1b": False,
    "_INBOX.t.k1.0a1b": False,
    "_inbox.gateway.gateway-0123456789ab.0a1b": False,
    "droveway.v1.usage.acme": False,
    "$JS.API.STREAM.PURGE.USAGE": False,
}


@pytest.mark.parametrize("text", NOT_TOKENS.values(), ids=NOT_TOKENS)
def test_a_subject_refuses_whatever_is_no_id_of_ours(text: str) -> None:
    with pytest.raises(SubjectError, match="can't be in a subject"):
        subject("usage", text)


@pytest.mark.parametrize("text", NOT_TOKENS.values(), ids=NOT_TOKENS)
def test_a_message_with_such_an_id_is_refused(text: str) -> None:
    with pytest.raises((msgspec.ValidationError, UnicodeEncodeError)):
        msgspec.convert(text, Id)


@pytest.mark.parametrize("text", NOT_TOKENS.values(), ids=NOT_TOKENS)
def test_every_subject_function_refuses_it(text: str) -> None:
    for build in (
        inference.inference_subject, dispatch.dispatch_subject, usage.usage_subject,
        relay.control_subject,
    ):  # fmt: skip
        with pytest.raises(SubjectError):
            build(text)


@given(st.text(max_size=80))
def test_a_subject_is_ascii_without_wildcards_or_refused(text: str) -> None:
    try:
        built = subject("usage", text)
    except SubjectError:
        return
    assert built == f"droveway.v1.usage.{text}"
    assert built.isascii()
    assert len(built) <= MAX_SUBJECT_BYTES
    assert not set(built) & set(" *>\r\n\t\x00")
    assert built.count(".") == 3


def test_subjects_are_those_of_the_table() -> None:
    assert inference.inference_subject(inference.INTERACTIVE) == "droveway.v1.inference.interactive"
    assert admission.admission_subject(0) == "droveway.v1.admission.0"
    assert dispatch.dispatch_subject("default") == "droveway.v1.dispatch.default"
    assert usage.usage_subject("acme") == "droveway.v1.usage.acme"
    assert relay.control_subject("caller-0a") == "droveway.v1.control.caller.caller-0a"


@pytest.mark.parametrize(("reply", "answered"), INBOXES.items(), ids=repr)
def test_only_inboxes_of_the_expected_services_are_answered(reply: str, answered: bool) -> None:
    assert is_inbox_of(reply, frozenset({"gateway", "caller"})) is answered


@pytest.mark.parametrize("service", ["gateway", "router", "limiter", "caller"])
def test_an_inbox_of_ours_is_recognised(service: str) -> None:
    instance = envelope.new_instance(service)
    reply = envelope.inbox(service, instance, envelope.token())
    assert is_inbox_of(reply, frozenset({service}))
    assert not is_inbox_of(reply, frozenset({"metrics"}))
    assert envelope.service_of(instance) == service
    assert relay.control_subject(instance)


def test_request_ids_sort_by_time() -> None:
    earlier = envelope.new_request_id()
    time.sleep(0.002)
    assert earlier < envelope.new_request_id()


def test_a_request_id_tells_its_time() -> None:
    before_ms = time.time_ns() // 1_000_000
    request_id = envelope.new_request_id()
    assert before_ms <= envelope.request_time_ms(request_id) <= time.time_ns() // 1_000_000
    assert msgspec.convert(request_id, Id) == request_id
    assert subject("usage", request_id)


@pytest.mark.parametrize(
    "text", ["", "req_", "req_short", "req_" + "u" * 26, "req_" + "0" * 27, "req_" + "A" * 26]
)
def test_what_is_no_request_id_has_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no request id"):
        envelope.request_time_ms(text)


def test_ids_are_random() -> None:
    for make in (envelope.new_request_id, envelope.new_attempt_id, envelope.token):
        assert len({make() for _ in range(1_000)}) == 1_000


def test_attempt_ids_sort_by_time_and_fill_16_bytes() -> None:
    attempt_id = envelope.new_attempt_id()
    assert len(attempt_id) == 16
    assert abs(int.from_bytes(attempt_id[:6], "big") - time.time_ns() // 1_000_000) < 1_000
