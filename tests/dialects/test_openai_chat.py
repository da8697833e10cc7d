"""OpenAI chat completions: bodies on their way up, events and answers on their way down."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.envelope import encode
from droveway.contracts.relay import Completed, Usage
from droveway.dialects.chat import chunk as openai_chunk
from droveway.dialects.chat import passing as openai_chat
from droveway.dialects.chat.facts import ChatFacts
from droveway.dialects.chat.passing import upstream_fields, without_usage
from droveway.dialects.chat.stream import ChatStream
from droveway.dialects.events import Context, InBandError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
OURS = {"model", "stream_options", "metadata", *openai_chat.NEVER_FORWARDED}


# Upwards


def test_keys_keep_their_order_and_values_their_bytes() -> None:
    body = b'{"b": [1.50,  2e3, "\\u00e9"], "model":"mine", "a" :{"z":1,"y": 2}}'
    sent = upstream_body(body, "theirs", stream=False)
    assert sent == b'{"b":[1.50,  2e3, "\\u00e9"],"model":"theirs","a":{"z":1,"y": 2}}'


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    body = b'{"model":"a","max_tokens":1,"model":"b","max_tokens":2}'
    assert json.loads(upstream_body(body, "c", stream=False)) == {"model": "c", "max_tokens": 2}


@pytest.mark.parametrize("name", sorted(openai_chat.NEVER_FORWARDED))
def test_fields_that_could_send_a_key_elsewhere_are_dropped(name: str) -> None:
    body = json.dumps({"model": "a", name: "http://evil.test", "n": 1}).encode()
    assert json.loads(upstream_body(body, "a", stream=False)) == {"model": "a", "n": 1}


def test_a_model_name_with_quotes_stays_a_string() -> None:
    assert json.loads(upstream_body(b'{"model":"a"}', 'a","x":"', stream=False)) == {
        "model": 'a","x":"'
    }


@pytest.mark.parametrize(
    ("given_options", "sent_options"),
    [
        (None, {"include_usage": True}),
        ({}, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        (
            {"include_obfuscation": False, "include_usage": True},
            {"include_obfuscation": False, "include_usage": True},
        ),
    ],
)
def test_a_stream_is_always_asked_for_usage(given_options: Any, sent_options: Any) -> None:
    body = json.dumps({"model": "a", "stream": True, "stream_options": given_options}).encode()
    assert json.loads(upstream_body(body, "a", stream=True))["stream_options"] == sent_options


def test_a_whole_answer_gets_no_stream_options() -> None:
    assert upstream_body(b'{"model":"a"}', "a", stream=False) == b'{"model":"a"}'


def test_our_tenant_label_stays_here() -> None:
    body = b'{"model":"a","metadata":{"tenant":"acme","k":"v"}}'
    assert json.loads(upstream_body(body, "a", stream=False))["metadata"] == {"k": "v"}
    kept = b'{"model":"a","metadata":{"k": "v"}}'
    assert upstream_body(kept, "a", stream=False) == kept


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=6))
def test_all_other_fields_arrive_as_they_were(fields: dict[str, Any]) -> None:
    others = {name: value for name, value in fields.items() if name not in OURS}
    body = json.dumps({"model": "a", **others}).encode()
    assert json.loads(upstream_body(body, "b", stream=False)) == {"model": "b", **others}


# Downwards: events


def _read(facts: ChatFacts, event: bytes) -> bool:
    return facts.read(openai_chunk.decode(event))


def upstream_body(body: bytes, model: str, *, stream: bool) -> bytes:
    return msgspec.json.encode(upstream_fields(body, model, stream=stream))


def _stream(*, include_usage: bool = False) -> ChatStream:
    context = Context(response_id="0" * 32, created_s=7, model="asked")
    return ChatStream(context._replace(include_usage=include_usage))


def _chunk(*choices: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"id": "c1", "model": "m1", "choices": list(choices), **fields}).encode()


def _choice(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


CONTENT: list[tuple[bytes, bool]] = [
    (_chunk(_choice(role="assistant", content="")), False),
    (_chunk(_choice(role="assistant", content=None)), False),
    (_chunk(_choice()), False),
    (_chunk(), False),
    (_chunk(_choice(tool_calls=[])), False),
    (_chunk(_choice(content="a")), True),
    (_chunk(_choice(content=" ")), True),
    (_chunk(_choice(refusal="no")), True),
    (_chunk(_choice(reasoning_content="hm")), True),
    (_chunk(_choice(reasoning="hm")), True),
    (_chunk(_choice(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ""}}])), True),
    (_chunk(_choice(function_call={"name": "f"})), True),
    (_chunk(_choice(audio={"data": "AAAA"})), True),
    (_chunk(_choice(finish="stop")), True),
    (b'{"choices":null}', False),
    (b"{}", False),
    (b'{"choices":[{"finish_reason":"stop"}]}', True),
    (b'{"choices":[{"index":null,"delta":{"content":"x"}}]}', True),
    (b'{"choices":[{"delta":null}]}', False),
    (b'{"choices":[{"delta":{"content":["parts"]}}],"created":1.5,"id":null}', True),
    (b'{"error":null,"choices":[{"delta":{"content":"x"}}]}', True),
]


@pytest.mark.parametrize(("event", "has_content"), CONTENT)
def test_an_event_bears_content_or_not(event: bytes, has_content: bool) -> None:
    assert _read(ChatFacts(), event) is has_content


@pytest.mark.parametrize(
    "event", [b"[]", b"1", b'"x"', b"", b"{", b'{"choices":{}}', b'{"choices":[1]}', b"\xff"]
)
def test_what_is_no_chunk_is_malformed(event: bytes) -> None:
    with pytest.raises((ValueError, UnicodeDecodeError)):
        _read(ChatFacts(), event)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (b'{"error":{"message":"boom","code":"server_error"}}', "boom"),
        (b'{"error":"boom"}', "boom"),
        (b'{"error":{"message":null}}', "The upstream"),
        (b'{"error":{"message":"boom","code":500,"param":null},"choices":[]}', "boom"),
    ],
)
def test_an_error_in_band_is_a_failure(event: bytes, words: str) -> None:
    with pytest.raises(InBandError) as told:
        _stream().take(event, [])
    found = told.value.failure
    assert found.code == "provider_unavailable"
    assert words in found.message or "reported" not in found.message


def test_all_choices_must_finish() -> None:
    facts = ChatFacts()
    assert not facts.finished
    _read(facts, _chunk(_choice(0, content="a"), _choice(1, content="b")))
    _read(facts, _chunk(_choice(0, "stop")))
    assert not facts.finished
    _read(facts, _chunk(_choice(1, "length")))
    assert facts.finished
    assert (facts.finish_reason, facts.finish_reasons) == ("stop", ["stop", "length"])


def test_fewer_choices_than_asked_for_are_not_the_whole_answer() -> None:
    facts = ChatFacts()
    facts.expected_choices = openai_chat.choices_asked(b'{"n": 2}')
    _read(facts, _chunk(_choice(0, "stop", content="a")))
    assert facts.finished
    assert not facts.whole
    _read(facts, _chunk(_choice(1, "stop", content="b")))
    assert facts.whole


def test_a_number_of_tokens_beyond_the_wire_is_bounded() -> None:
    facts = ChatFacts()
    _read(facts, _chunk(usage={"prompt_tokens": 10**23, "completion_tokens": -1}))
    assert facts.usage == Usage(2**53, 0)
    assert encode(Completed(0, facts.usage))


def test_a_choice_that_begins_after_another_has_finished_is_waited_for() -> None:
    facts = ChatFacts()
    _read(facts, _chunk(_choice(0, "stop")))
    _read(facts, _chunk(_choice(1, content="b")))
    assert not facts.finished


def test_names_of_the_answer_are_noted() -> None:
    facts = ChatFacts()
    _read(facts, _chunk(_choice(content="a")))
    _read(facts, b'{"choices":[],"model":"","id":""}')
    assert (facts.model, facts.response_id) == ("m1", "c1")


# Downwards: usage


@pytest.mark.parametrize(
    ("event", "seen"),
    [
        (b'{"a":1,"usage":null}', b'{"a":1}'),
        (b'{"a":1,"usage":null,"b":2}', b'{"a":1,"b":2}'),
        (b'{"a": 1, "usage": null, "b": {"x":  1.50}}', b'{"a":1,"b":{"x":  1.50}}'),
        (b'{"usage":null,"a":1}', b'{"a":1}'),
        (b'{"a":1,"usage":{"prompt_tokens":1}}', b'{"a":1}'),
        (b'{"a":1}', b'{"a":1}'),
        (b'{"a": {"usage":null}}', b'{"a": {"usage":null}}'),
        (b'{"a":[{"b":1,"usage":null}], "c":1}', b'{"a":[{"b":1,"usage":null}], "c":1}'),
        (b'{"a":",\\"usage\\":null}"}', b'{"a":",\\"usage\\":null}"}'),
        (b'{"a":{"b":1,"usage":null},"usage":null}', b'{"a":{"b":1,"usage":null}}'),
    ],
)
def test_usage_is_taken_out_where_it_stands_and_nowhere_else(event: bytes, seen: bytes) -> None:
    assert without_usage(event) == seen


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 4}, Usage(10, 4)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(100, 20, 60, 30, 7),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 5},
            Usage(9, 1, 5),
        ),
        ({"prompt_tokens": None, "completion_tokens": -3}, Usage(0, 0)),
        (
            {"prompt_tokens": 1, "prompt_tokens_details": None, "completion_tokens_details": {}},
            Usage(1, 0),
        ),
    ],
)
def test_usage_is_read_in_all_its_spellings(usage: dict[str, Any], expected: Usage) -> None:
    facts = ChatFacts()
    _read(facts, _chunk(usage=usage))
    assert facts.settle(1_000) == expected


def test_usage_that_stands_in_the_last_choice_is_read() -> None:
    facts = ChatFacts()
    usage = b'{"prompt_tokens":9,"completion_tokens":1}'
    _read(facts, b'{"choices":[{"index":0,"finish_reason":"stop","usage":' + usage + b"}]}")
    assert facts.settle(1_000) == Usage(9, 1)


def test_tokens_are_estimated_only_where_nothing_was_told() -> None:
    silent = ChatFacts()
    assert silent.settle(50) == Usage(estimated=True)
    cut = ChatFacts()
    _read(cut, _chunk(_choice(content="twelve chars")))
    assert cut.settle(50) == Usage(50, 3, estimated=True)


# Downwards: whole answers


def _body(**fields: Any) -> bytes:
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", **fields}
    return json.dumps({"id": "c1", "model": "m1", "choices": [choice]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        _body(),
        _body(message={"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}),
        _body(message={"content": ""}),
        b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"error":null}',
    ],
)
def test_whole_answers_are_taken(body: bytes) -> None:
    assert ChatFacts().read_body(body) is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<html>", "bad_upstream"),
        (b"", "bad_upstream"),
        (b"[]", "bad_upstream"),
        (b"{}", "bad_upstream"),
        (b'{"choices":[]}', "bad_upstream"),
        (_body(finish_reason=None), "bad_upstream"),
        (_body() + _body(), "bad_upstream"),
        (_body()[:-4], "bad_upstream"),
        (b"\xff\xfe", "bad_upstream"),
        (b'{"error":{"message":"boom"}}', "provider_unavailable"),
        (b'{"error":"boom","choices":[]}', "provider_unavailable"),
    ],
)
def test_what_is_no_whole_answer_is_refused(body: bytes, code: str) -> None:
    found = ChatFacts().read_body(body)
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (
            b'{"error":{"message":"m","type":"t","code":"c","param":"p"}}',
            ("m", "t", "c", "p"),
        ),
        (b'{"error":{"message":"m","code":400}}', ("m", "", "400", None)),
        (b'{"error":"m"}', ("m", "", "", None)),
        (b'{"message":"m"}', ("m", "", "", None)),
        (b'[{"error":{"message":"m","code":400,"status":"s"}}]', ("m", "", "400", None)),
        (b"[]", ("", "", "", None)),
        (b'{"code":20012,"message":"m","data":null}', ("m", "", "20012", None)),
        (
            b'{"object":"error","message":"m","type":"t","param":null,"code":400}',
            ("m", "t", "400", None),
        ),
        (b'"Invalid token"', ("Invalid token", "", "", None)),
        (b'{"detail":"m"}', ("", "", "", None)),
        (b"<html>", ("", "", "", None)),
        (b"\xff", ("", "", "", None)),
    ],
)
def test_error_bodies_are_read_in_all_their_spellings(body: bytes, parts: tuple[Any, ...]) -> None:
    assert openai_chat.error_parts(body) == parts


def test_a_providers_words_are_bounded() -> None:
    body = json.dumps({"error": {"message": "x" * 1_000_000}}).encode()
    assert len(openai_chat.error_parts(body)[0]) == 2_000
