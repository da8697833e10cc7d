"""A prompt to be counted goes to Anthropic's endpoint as it takes it, and the count comes back."""

import json
from typing import Any

import msgspec
import pytest

from droveway.caller.answers import answer_for
from droveway.caller.outgoing import outgoing
from droveway.contracts.relay import Usage
from droveway.dialects import dialect
from droveway.dialects.anthropic.passing import NOT_COUNTED
from droveway.dialects.events import InBandError
from droveway.dialects.models import ModelFacts
from droveway.dialects.untranslatable import Untranslatable
from tests.bench.translation import call_of, upstream_of

FACTS = ModelFacts(name="m")
UPSTREAM = upstream_of("anthropic")
ASKED: dict[str, Any] = {
    "model": "asked",
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "hello"}],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "disabled"},
    "context_management": {"edits": []},
    "new_one": 1,
}


def _call(body: bytes = b"{}", **fields: Any) -> Any:
    call = call_of(body, dialect.COUNT_TOKENS, stream=False)
    return msgspec.structs.replace(call, **fields)


def test_what_bears_on_the_count_goes_out_and_nothing_else() -> None:
    body = json.dumps({**ASKED, **dict.fromkeys(NOT_COUNTED, 1), "api_base": "x"}).encode()
    sent = outgoing(_call(body), body, UPSTREAM, FACTS)
    assert sent.path == "/messages/count_tokens"
    assert json.loads(sent.body) == {**ASKED, "model": "m"}
    assert list(json.loads(sent.body)) == list(ASKED)
    assert sent.warnings == ()


def test_the_clients_version_and_features_are_handed_on() -> None:
    body = json.dumps(ASKED).encode()
    call = _call(body, api_version="2026-10-21", api_features="some-beta")
    headers = dict(outgoing(call, body, UPSTREAM, FACTS).headers)
    assert headers[b"anthropic-version"] == b"2026-10-21"
    assert headers[b"anthropic-beta"] == b"some-beta"
    assert headers[b"accept"] == b"application/json"


def test_a_provider_of_another_dialect_is_never_asked() -> None:
    with pytest.raises(Untranslatable):
        outgoing(_call(), b"{}", upstream_of("openai"), FACTS)


@pytest.mark.parametrize(
    "body", [b'{"input_tokens":0}', b'{ "input_tokens" : 2095,"context_management":{"x":1.0}}']
)
def test_a_count_passes_byte_for_byte_and_costs_nothing(body: bytes) -> None:
    answer = answer_for(_call(), UPSTREAM.provider, b"{}")
    assert answer.whole(body, 1_000) == body
    assert answer.facts.finished
    assert answer.facts.settle(1_000) == Usage(estimated=True)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"5", b"{}", b"<html>", b'{"input_tokens":-1}', b"\xff",
        b'{"input_tokens":1.5}', b'{"input_tokens":"5"}', b'{"input_tokens":true}',
        b'{"input_tokens":null}', b'{"type":"error","error":{"type":"api_error","message":"x"}}',
    ],
)  # fmt: skip
def test_what_is_no_count_is_refused(body: bytes) -> None:
    answer = answer_for(_call(), UPSTREAM.provider, b"{}")
    with pytest.raises(InBandError) as refused:
        answer.whole(body, 1_000)
    assert refused.value.failure.code == "bad_upstream"
    assert answer.facts.settle(1_000) == Usage(estimated=True)


def test_a_stream_is_no_count() -> None:
    answer = answer_for(_call(), UPSTREAM.provider, b"{}")
    with pytest.raises(InBandError):
        answer.take(b'{"input_tokens":1}', [])
    assert answer.close(Usage()) == []
