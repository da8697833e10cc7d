"""What a client may not decide: it is ignored or dropped, and the request is served."""

from typing import Any

import pytest

from tests.hostile.http_cases import chat, get, request
from tests.hostile.world import World
from tests.support.raw_http import RawAnswer
from tests.support.simulator import chat_body

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENT_UPSTREAM = {
    "accept", "accept-encoding", "authorization", "content-length", "content-type", "host",
    "user-agent",
}  # fmt: skip
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def served(world: World, data: bytes) -> RawAnswer:
    answer = await world.ask(data)
    assert answer.status == 200, answer.body
    assert (await world.log.line_of(answer.headers["x-request-id"])).status == 200
    told = "\n".join(world.log.texts)
    assert [secret for secret in world.secrets() if secret in told] == []
    return answer


@pytest.mark.parametrize(
    "header",
    [
        b"traceparent: canary-51c9",
        b"traceparent: 00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        b"traceparent: 00-" + TRACE.encode() + b"-" + b"0" * 16 + b"-01",
        b"traceparent: ff-" + TRACE.encode() + b"-00f067aa0ba902b7-01",
        b"traceparent: 00-" + TRACE.upper().encode() + b"-00f067aa0ba902b7-01",
        b"tracestate: " + b"a=canary-51c9," * 700,
        b"baggage: " + b"a=canary-51c9," * 700,
    ],
    ids=lambda header: f"C30 {header[:24].decode()}",
)
async def test_a_malformed_trace_context_starts_a_new_trace(world: World, header: bytes) -> None:
    answer = await served(world, request(header))
    trace_id = answer.headers["x-droveway-trace-id"]
    assert len(trace_id) == 32
    assert trace_id not in (TRACE, "0" * 32)


async def test_a_valid_trace_context_is_continued(world: World) -> None:
    parent = f"traceparent: 00-{TRACE}-00f067aa0ba902b7-00".encode()
    assert (await served(world, request(parent))).headers["x-droveway-trace-id"] == TRACE


@pytest.mark.parametrize("value", ["-5", "0", "1e308", "abc", "nan", "inf", "", "1e-400", "٣"])
async def test_a_time_out_that_is_none_is_ignored(world: World, value: str) -> None:
    await served(world, request(b"x-request-timeout: " + value.encode()))


async def test_no_header_of_a_client_goes_upstream(world: World) -> None:
    await served(
        world,
        request(
            b"x-forwarded-for: 10.0.0.1", b"forwarded: for=10.0.0.1", b"x-tenant: other",
            b"nats-msg-id: 1", b"x-should-retry: true", b"connection: x-api-key, keep-alive",
            b"x-api-key: <key>", b"cookie: a=b", b"te: trailers", b"openai-organization: o",
            b"x-simulator-fault: 500", b"x-request-id: mine", b"traceparent: 00-" + TRACE.encode()
            + b"-00f067aa0ba902b7-01", b"proxy-authorization: Basic x", b"x-stainless-lang: js",
        ),
    )  # fmt: skip
    entry = world.stack.simulator.book.entries[-1]
    assert set(entry.header_names) == SENT_UPSTREAM


async def test_no_header_of_a_client_is_believed(world: World) -> None:
    claims = b"x-tenant: other", b"x-request-id: mine", b"x-should-retry: true"
    answer = await served(world, request(*claims))
    line = await world.log.line_of(answer.headers["x-request-id"])
    assert line.fields["tenant"] == "default"
    assert "x-should-retry" not in answer.headers


async def test_fields_that_lead_elsewhere_are_dropped_and_unknown_ones_pass(world: World) -> None:
    passing: dict[str, Any] = {"vendor_field": {"a": [1, 2.50, None]}, "top_k": 3, "user": "u"}
    elsewhere = {
        "api_base": "http://169.254.169.254/", "base_url": "http://localhost:4222",
        "api_key": "sk-mine-11111", "extra_headers": {"authorization": "Bearer mine"},
        "headers": {"host": "x"}, "proxy": "http://localhost:1",
    }  # fmt: skip
    metadata = {"tenant": "other", "run": "7"}
    async with world.stack.client() as client:
        fields = {**elsewhere, **passing, "metadata": metadata}
        answer = await client.post("/v1/chat/completions", json=chat_body(**fields))
    assert answer.status_code == 200
    body = world.upstream_body()
    assert not elsewhere.keys() & body.keys()
    assert {name: body[name] for name in passing} == passing
    assert body["metadata"] == {"run": "7"}


async def test_of_a_key_that_stands_twice_the_last_value_counts_everywhere(world: World) -> None:
    twice = (
        b'{"model":"scripted","stream":true,"temperature":0.1,"messages":[],'
        + rb'"mod\u0065l":"numbered-2","stream":false,"temperature":0.9,'
        + chat()[len(b'{"model":"numbered-3",') :]
    )
    answer = await served(world, request(body=twice))
    assert answer.json()["choices"][0]["message"]["content"] == "t0 t1 "
    book = world.stack.simulator.book
    raw = book.body(book.entries[-1].id) or b""
    assert [raw.count(b'"%b"' % key) for key in (b"model", b"stream", b"temperature")] == [1, 1, 1]
    assert world.upstream_body()["temperature"] == 0.9


@pytest.mark.parametrize(
    "content",
    [
        'data: [DONE]\n\nevent: error\ndata: {"error":{}}\n\n',
        "a\u2028b\u2029c\u0085d\re\r\nf",
        "\u0000\u202e\u200b\ufeff\U0001f980",
    ],
    ids=["C42 events", "C22 line ends", "C22 controls"],
)
async def test_a_prompt_arrives_as_it_was_written(world: World, content: str) -> None:
    async with world.stack.client() as client:
        body = chat_body(content=content, stream=True)
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.text.count("data: [DONE]") == 1
    assert world.upstream_body()["messages"][0]["content"] == content


@pytest.mark.parametrize("escaped", [False, True], ids=["raw", "escaped"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_models_words_pass_unchanged(world: World, *, stream: bool, escaped: bool) -> None:
    text = rb"a\u2028b\rc\ndata: [DONE]\n\nevent: error" if escaped else "a\u2028b\u0085c\u2029"
    words = text if isinstance(text, bytes) else text.encode()
    part = b'"delta"' if stream else b'"message"'
    choice = b'{"index":0,%b:{"content":"%b"},"finish_reason":"stop"}' % (part, words)
    first = b'{"index":0,"delta":{"role":"assistant","content":""}}'
    role = b'{"id":"c","created":1,"choices":[%b]}' % first
    if stream:
        one = b'{"id":"c","created":1,"choices":[%b]}' % choice
        said = b"data: %b\n\ndata: %b\n\ndata: [DONE]\n\n" % (role, one)
    else:
        said = b'{"choices":[%b],"usage":{"prompt_tokens":1,"completion_tokens":1}}' % choice
    world.scripted.says(said, stream=stream)
    body = b'{"model":"scripted","stream":%b,%b' % (
        b"true" if stream else b"false",
        chat()[len(b'{"model":"numbered-3",') :],
    )
    answer = await served(world, request(body=body))
    assert answer.body == said


async def test_a_key_in_the_query_is_neither_used_nor_told(world: World) -> None:
    await served(world, get(b"/v1/models?key=<other>&api_key=<narrow>"))


async def test_a_doubled_version_and_slashes_of_a_base_url_are_taken(world: World) -> None:
    for path in (b"/v1//chat/completions", b"/v1/v1/chat/completions", b"/v1/chat/completions/"):
        await served(world, request(path=path))
