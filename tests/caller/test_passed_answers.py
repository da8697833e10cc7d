"""What only one provider says comes to clients of its own dialect as it came."""

import json
from typing import Any

import pytest

from droveway.caller.answers import answer_for
from droveway.caller.outgoing import outgoing
from droveway.dialects import dialect
from droveway.dialects.models import ModelFacts
from tests.bench.translation import call_of, upstream_of

UPSTREAM = upstream_of("openai")
SIGNED = b'{"google": {"thought_signature":"CsQB\\u003d\\/+="}}'
CALL = (
    b'{"extra_content":' + SIGNED + b',"function":{"name":"f","arguments":"{ \\"a\\":1.50}"},'
    b'"id":"call_1","index":0,"type":"function"}'
)
CITED = b'[{"type":"url_citation", "url_citation":{"url":"https:\\/\\/a.test","start_index":0}}]'
DELTAS = {
    "a signed call": b'{"tool_calls":[' + CALL + b"]}",
    "annotations": b'{"content":"", "annotations":' + CITED + b"}",
    "annotated text": b'{"content":"a","annotations":' + CITED + b"}",
    "unknown": b'{"content":null,"reasoning_details":[ {"text":"hm","index":0} ],"x":1e0}',
}
ROLE = b'{"role":"assistant","content":""}'
MESSAGE = (
    b'{"role":"assistant", "content":"a\\u00e9","annotations":' + CITED + b',"tool_calls":[' + CALL
    + b'],"audio":null,"x":1.0}'
)  # fmt: skip


def event(delta: bytes, finish: bytes = b"null", more: bytes = b"") -> bytes:
    return (
        b'{"id":"c1","object":"chat.completion.chunk","created":5,"model":"m","choices":[{"index":0,'
        b'"delta":' + delta + b',"logprobs":null,"finish_reason":' + finish + b"}]" + more + b"}"
    )


def passed(*events: bytes, client: str = dialect.CHAT) -> list[bytes]:
    answer = answer_for(call_of(b"{}", client, stream=True), UPSTREAM.provider, b"{}")
    shown: list[bytes] = []
    for one in events:
        answer.take(one, shown)
    return shown


@pytest.mark.parametrize("delta", DELTAS.values(), ids=DELTAS)
def test_a_streams_events_pass_byte_for_byte(delta: bytes) -> None:
    cited = b',"citations":["https:\\/\\/a.test"], "provider" : "p"'
    events = [
        event(ROLE, more=cited),
        event(b'{"content":"a"}'),
        event(delta, more=cited),
        event(b'{"content":"b"}'),
        event(b"{}", b'"stop"', cited),
    ]
    assert passed(*events) == events


@pytest.mark.parametrize("delta", DELTAS.values(), ids=DELTAS)
def test_nothing_is_lost_of_a_first_event_that_also_says_the_role(delta: bytes) -> None:
    first = b'{"role":"assistant",' + delta[1:]
    shown = passed(event(first), event(b"{}", b'"stop"'))
    deltas = [json.loads(one)["choices"][0]["delta"] for one in shown]
    assert deltas[0].items() >= json.loads(ROLE).items()
    assert deltas[0] | deltas[1] == json.loads(ROLE) | json.loads(delta)
    assert sum("role" in one for one in deltas) == 1
    kept = b"".join(shown)
    assert SIGNED in kept or CITED in kept or b'[ {"text":"hm","index":0} ]' in kept


def test_a_whole_answer_passes_byte_for_byte() -> None:
    body = (
        b'{"id":"c1", "choices":[{"index":0,"message":' + MESSAGE + b',"finish_reason":"stop"}],'
        b' "citations":[1.0],"usage":{"prompt_tokens":1,"completion_tokens":1},"x":"\\u00e9"}'
    )
    answer = answer_for(call_of(b"{}", dialect.CHAT, stream=False), UPSTREAM.provider, b"{}")
    assert answer.whole(body, 1) == body


def test_a_call_that_is_sent_back_keeps_its_signature_byte_for_byte() -> None:
    messages = (
        b'[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[' + CALL
        + b']},{"role":"tool","tool_call_id":"call_1","content":"b"}]'
    )  # fmt: skip
    body = b'{"messages":' + messages + b',"model":"asked","x": {"a":1.0}}'
    sent = outgoing(call_of(body, dialect.CHAT, stream=False), body, UPSTREAM, ModelFacts(name="m"))
    assert b'"messages":' + messages in sent.body
    assert b'"x":{"a":1.0}' in sent.body
    assert sent.warnings == ()


def test_a_client_of_the_other_dialect_gets_what_both_have_words_for() -> None:
    events = [event(ROLE), *map(event, DELTAS.values()), event(b"{}", b'"tool_calls"')]
    shown: list[dict[str, Any]] = [
        json.loads(one) for one in passed(*events, client=dialect.MESSAGES)
    ]
    blocks = [one["content_block"] for one in shown if one["type"] == "content_block_start"]
    assert [block["type"] for block in blocks] == ["tool_use", "text"]
    assert "thought_signature" not in str(shown)
