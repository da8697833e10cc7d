"""Every way to ask, at providers of either dialect: the same answer in the client's own words."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.config import Config
from tests.support.flows import entries, numbered, route, rows_of
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body, message_body
from tests.support.stack import UNSPARED, Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
PROVIDERS = pytest.mark.parametrize("provider", ["openai", "anthropic"])
MODELS = ("numbered-5", "fault-500", "fault-429-2", "fault-cut-after-3", "fault-400", "fault-401")


def _two_dialects(config: Config) -> Config:
    """The second provider speaks Anthropic's dialect; `a/<model>` goes there, `o/<model>` not."""
    first, second = config.providers
    second = msgspec.structs.replace(second, dialect="anthropic", kind="anthropic")
    routes = [
        route(f"{prefix}/{model}", (provider.id, model))
        for prefix, provider in (("openai", first), ("anthropic", second))
        for model in MODELS
    ]
    routes += [
        route("embed", (first.id, "embed-floats-8"), (second.id, "embed-8")),
        route("anthropic-first", (second.id, "numbered-5"), (first.id, "numbered-5")),
        route("openai-first", (first.id, "numbered-5"), (second.id, "numbered-5")),
        route("anthropic-often", *[(second.id, "numbered-5")] * 4, (first.id, "numbered-5")),
        route("anthropic-then-down", (second.id, "numbered-5"), (first.id, "fault-500")),
    ]
    return msgspec.structs.replace(config, providers=(first, second), routes=tuple(routes))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("dialects")
    async with running_stack(
        nats,
        folder,
        simulators=2,
        configure=_two_dialects,
        environment=UNSPARED,
        keep_bodies=True,
    ) as world:
        yield world


async def _post(
    stack: Stack, path: str, body: dict[str, Any], **headers: str
) -> tuple[httpx.Response, list[tuple[str, Any]]]:
    """The answer, and its events by name if it is a stream."""
    async with stack.client() as client:
        answer = await client.post(path, json=body, headers=headers)
    events: list[tuple[str, Any]] = []
    name = ""
    for line in answer.text.splitlines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: ") and line != "data: [DONE]":
            events.append((name, json.loads(line.removeprefix("data: "))))
    return answer, events


@BOTH
@PROVIDERS
async def test_chat(stack: Stack, provider: str, stream: bool) -> None:
    body = chat_body(f"{provider}/numbered-5", stream=stream)
    answer, events = await _post(stack, "/v1/chat/completions", body)
    assert answer.status_code == 200, answer.text
    if not stream:
        choice = answer.json()["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == (numbered(5), "stop")
        assert answer.json()["usage"]["completion_tokens"] == 5
        return
    assert answer.text.endswith("data: [DONE]\n\n")
    assert len({one["id"] for _, one in events}) == 1
    deltas = [one["choices"][0]["delta"] for _, one in events]
    assert (deltas[0]["role"], deltas[0]["content"]) == ("assistant", "")
    assert "".join(delta.get("content") or "" for delta in deltas) == numbered(5)
    assert events[-1][1]["choices"][0]["finish_reason"] == "stop"


@BOTH
@PROVIDERS
async def test_messages(stack: Stack, provider: str, stream: bool) -> None:
    body = message_body(f"{provider}/numbered-5", stream=stream)
    version = {"anthropic-version": "2023-06-01"}
    answer, events = await _post(stack, "/v1/messages", body, **version)
    assert answer.status_code == 200, answer.text
    assert answer.headers["request-id"]
    if not stream:
        message = answer.json()
        assert message["content"] == [{"type": "text", "text": numbered(5)}]
        assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("end_turn", 5)
        return
    names = [name for name, _ in events if name != "ping"]
    assert names[:2] == ["message_start", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert all(name == one["type"] for name, one in events)
    said = [one["delta"]["text"] for name, one in events if name == "content_block_delta"]
    assert "".join(said) == numbered(5)
    assert "[DONE]" not in answer.text


@BOTH
@PROVIDERS
async def test_responses(stack: Stack, provider: str, stream: bool) -> None:
    body = {"model": f"{provider}/numbered-5", "input": "hello", "stream": stream}
    answer, events = await _post(stack, "/v1/responses", body)
    assert answer.status_code == 200, answer.text
    if not stream:
        response = answer.json()
    else:
        assert [one["sequence_number"] for _, one in events] == list(range(len(events)))
        assert events[0][0] == "response.created"
        assert events[-1][0] == "response.completed"
        response = events[-1][1]["response"]
    assert response["output"][0]["content"][0]["text"] == numbered(5)
    assert response["usage"]["output_tokens"] == 5
    async with stack.client() as client:
        again = await client.get(f"/v1/responses/{response['id']}")
        assert again.json() == response
        gone = await client.delete(f"/v1/responses/{response['id']}")
        assert gone.json()["deleted"] is True
        assert (await client.get(f"/v1/responses/{response['id']}")).status_code == 404


@PROVIDERS
async def test_a_response_goes_on_from_another(stack: Stack, provider: str) -> None:
    model = f"{provider}/numbered-5"
    first, _ = await _post(stack, "/v1/responses", {"model": model, "input": "one"})
    second, _ = await _post(
        stack,
        "/v1/responses",
        {"model": model, "input": "two", "previous_response_id": first.json()["id"]},
    )
    assert second.status_code == 200, second.text
    book = stack.simulators[int(provider == "anthropic")].book
    sent = book.body(book.entries[-1].id)
    assert sent is not None
    said = [message["content"] for message in json.loads(sent)["messages"]]
    assert [one if isinstance(one, str) else one[0]["text"] for one in said] == [
        "one",
        numbered(5),
        "two",
    ]
    missing = {"model": model, "input": "x", "previous_response_id": "resp_" + "0" * 32}
    answer, _ = await _post(stack, "/v1/responses", missing)
    assert (answer.status_code, answer.json()["error"]["code"]) == (
        400,
        "previous_response_not_found",
    )


@BOTH
@PROVIDERS
async def test_completions(stack: Stack, provider: str, stream: bool) -> None:
    body = {"model": f"{provider}/numbered-5", "prompt": "hello", "stream": stream}
    answer, events = await _post(stack, "/v1/completions", body)
    assert answer.status_code == 200, answer.text
    shown = [one for _, one in events] if stream else [answer.json()]
    assert "".join(one["choices"][0]["text"] for one in shown) == numbered(5)
    assert {one["object"] for one in shown} == {"text_completion"}


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
async def test_embeddings(stack: Stack, encoding: str | None) -> None:
    body: dict[str, Any] = {"model": "embed", "input": ["a", "b"]}
    if encoding is not None:
        body["encoding_format"] = encoding
    answer, _ = await _post(stack, "/v1/embeddings", body)
    assert answer.status_code == 200, answer.text
    vectors = [one["embedding"] for one in answer.json()["data"]]
    assert all(isinstance(one, str if encoding == "base64" else list) for one in vectors)
    assert answer.json()["usage"]["prompt_tokens"] > 0


@PROVIDERS
@pytest.mark.parametrize(
    ("model", "status", "kind"),
    [
        ("fault-429-2", 429, "rate_limit_error"),
        ("fault-500", 529, "overloaded_error"),
        ("fault-401", 502, "api_error"),
    ],
)
async def test_an_anthropic_client_gets_anthropics_errors(
    stack: Stack, provider: str, model: str, status: int, kind: str
) -> None:
    answer, _ = await _post(stack, "/v1/messages", message_body(f"{provider}/{model}"))
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind), answer.text
    assert answer.json()["type"] == "error"
    assert answer.json()["request_id"] == answer.headers["request-id"]


@PROVIDERS
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/v1/chat/completions"])
async def test_a_cut_is_told_in_the_clients_words(stack: Stack, provider: str, path: str) -> None:
    model = f"{provider}/fault-cut-after-3"
    bodies = {
        "/v1/messages": message_body(model, stream=True),
        "/v1/responses": {"model": model, "input": "x", "stream": True},
        "/v1/chat/completions": chat_body(model, stream=True),
    }
    pieces: list[bytes] = []
    async with stack.client() as client, client.stream("POST", path, json=bodies[path]) as answer:
        with contextlib.suppress(httpx.RemoteProtocolError):
            async for piece in answer.aiter_raw():
                pieces.append(piece)  # noqa: PERF401  those before the cut count
    text = b"".join(pieces).decode()
    last = json.loads(text.strip().rpartition("data: ")[2])
    if path == "/v1/messages":
        assert "event: error\n" in text
        assert last["type"] == "error"
    elif path == "/v1/responses":
        assert last["type"] == "response.failed"
    else:
        assert last["error"]["code"] == "stream_interrupted"


VIDEO = {"type": "video_url", "video_url": {"url": "https://media.test/a.mp4"}}
OPENAIS_OWN: dict[str, tuple[dict[str, Any], str]] = {
    "logprobs": ({"logprobs": True}, "logprobs"),
    "search": ({"web_search_options": {}}, "web_search_options"),
    "choices": ({"n": 2}, "n"),
    "part": ({"messages": [{"role": "user", "content": [VIDEO]}]}, "messages[0].content[0].type"),
    "file": (
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        "messages[0].content[0].file.file_id",
    ),
}
"""Requests for what Anthropic has no words for, and the parameter that says so."""
FOUND = {
    "type": "search_result",
    "source": "s",
    "title": "t",
    "content": [{"type": "text", "text": "x"}],
}
ANTHROPICS_OWN: dict[str, tuple[dict[str, Any], str]] = {
    "container": ({"container": "c1"}, "container"),
    "block": (
        {"messages": [{"role": "user", "content": [FOUND]}]},
        "messages[0].content[0].type",
    ),
}
ASKED = pytest.mark.parametrize(
    ("path", "own", "dialects"),
    [
        *(("/v1/chat/completions", row, ("anthropic", "openai")) for row in OPENAIS_OWN.values()),
        *(("/v1/messages", row, ("openai", "anthropic")) for row in ANTHROPICS_OWN.values()),
    ],
    ids=[*OPENAIS_OWN, *ANTHROPICS_OWN],
)


def _asking(path: str, model: str, fields: dict[str, Any]) -> dict[str, Any]:
    body = message_body(model) if path == "/v1/messages" else chat_body(model)
    return body | fields


@BOTH
@ASKED
async def test_a_target_that_has_no_words_for_a_request_is_passed_over(
    stack: Stack,
    path: str,
    own: tuple[dict[str, Any], str],
    dialects: tuple[str, str],
    stream: bool,
) -> None:
    unfit, fit = (stack.simulators[int(one == "anthropic")].book for one in dialects)
    before = len(unfit.entries), len(fit.entries)
    body = _asking(path, f"{dialects[0]}-first", own[0] | {"stream": stream})
    answer, _ = await _post(stack, path, body)
    assert answer.status_code == 200, answer.text
    assert (len(unfit.entries), len(fit.entries)) == (before[0], before[1] + 1)


@ASKED
async def test_a_request_that_no_target_has_words_for_is_a_400_that_names_the_parameter(
    stack: Stack, path: str, own: tuple[dict[str, Any], str], dialects: tuple[str, str]
) -> None:
    before = len(entries(stack))
    answer, _ = await _post(stack, path, _asking(path, f"{dialects[0]}/numbered-5", own[0]))
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error"), answer.text
    assert own[1] in error["message"]
    assert path == "/v1/messages" or error["param"] == own[1]
    assert len(entries(stack)) == before


async def test_targets_without_words_for_a_request_use_up_no_attempts(stack: Stack) -> None:
    body = chat_body("anthropic-often", web_search_options={})
    answer, _ = await _post(stack, "/v1/chat/completions", body)
    assert answer.status_code == 200, answer.text


async def test_when_the_only_fit_target_is_down_the_client_is_told_that(stack: Stack) -> None:
    body = chat_body("anthropic-then-down", web_search_options={})
    answer, _ = await _post(stack, "/v1/chat/completions", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_unavailable")


async def test_an_attempt_without_words_costs_nothing(stack: Stack, nats: NatsServer) -> None:
    body = chat_body("anthropic-first", web_search_options={})
    answer, _ = await _post(stack, "/v1/chat/completions", body)
    trail = await rows_of(nats, answer.headers["x-request-id"])
    unfit, fit = sorted(trail.attempts, key=lambda row: row.attempt)
    assert (unfit.code, unfit.status, unfit.request_sent) == ("invalid_request", 0, False)
    assert (unfit.usage.input_tokens, unfit.usage.output_tokens) == (0, 0)
    assert fit.outcome == "completed"
