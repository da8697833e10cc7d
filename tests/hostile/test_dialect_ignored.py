"""What a body may not decide, on any path and to any provider: it goes no further than us."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.hostile.dialect_cases import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    HONEST,
    MESSAGES,
    RESPONSES,
    image,
    post,
)
from tests.hostile.world import World
from tests.support.raw_http import RawAnswer
from tests.support.upstream import ScriptedUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ELSEWHERE: dict[str, Any] = {
    "api_base": "http://169.254.169.254/", "base_url": "http://localhost:4222",
    "api_key": "sk-mine-11111", "extra_headers": {"authorization": "Bearer mine"},
    "headers": {"host": "x"}, "proxy": "http://localhost:1", "extra_body": {"a": 1},
    "custom_llm_provider": "x", "timeout": 1,
}  # fmt: skip
TRANSLATED = "translated"
"""A model whose provider speaks Anthropic's dialect."""
BOTH_WAYS = [
    (path, model)
    for path in HONEST
    for model in (HONEST[path]["model"], TRANSLATED)
    if (path, model) != (EMBEDDINGS, TRANSLATED)  # Anthropic has none
]

PASSED = BOTH_WAYS
AT_THE_EDGE = MESSAGES


@pytest_asyncio.fixture(loop_scope="module")
async def canary() -> AsyncIterator[ScriptedUpstream]:
    """A server that nobody may call."""
    async with ScriptedUpstream() as upstream:
        yield upstream
        assert upstream.peers == []


async def served(world: World, path: str, fields: dict[str, Any]) -> RawAnswer:
    answer = await world.ask(post(path, fields))
    assert answer.status == 200, answer.body
    assert (await world.log.line_of(answer.headers["x-request-id"])).status == 200
    told = "\n".join(world.log.texts)
    assert [secret for secret in world.secrets() if secret in told] == []
    return answer


def keys(value: Any) -> set[str]:
    """Every member's name, however deep."""
    if isinstance(value, list):
        return {name for one in value for name in keys(one)}
    if isinstance(value, dict):
        return value.keys() | keys(list(value.values()))
    return set()


@pytest.mark.parametrize(("path", "model"), PASSED)
async def test_c26_fields_that_lead_elsewhere_go_to_no_provider(
    world: World, path: str, model: str
) -> None:
    spoofed = {"tenant": "other", "user_id" if path == MESSAGES else "run": "7"}
    metadata = {} if path == EMBEDDINGS else {"metadata": spoofed}  # which OpenAI's have not
    answer = await served(world, path, {**ELSEWHERE, **metadata, "model": model})
    body = world.upstream_body()
    assert body["model"] != TRANSLATED
    assert keys(body) & {*ELSEWHERE, "tenant"} == set()
    sent = set(world.stack.simulator.book.entries[-1].header_names)
    assert sent & {"host", "x-api-key", "authorization"} == sent & {
        "host", "x-api-key" if model == TRANSLATED else "authorization"
    }  # fmt: skip
    line = await world.log.line_of(answer.headers["x-request-id"])
    assert line.fields["tenant"] == "default"


async def test_c27_embeddings_have_no_stream_to_ask_for(world: World) -> None:
    vectors = b'{"object":"list","data":[{"index":0,"embedding":[0.5]}],"model":"m"}'
    world.scripted.says(vectors, stream=False)
    answer = await world.ask(post(EMBEDDINGS, {"stream": True, "model": "scripted"}))
    assert answer.status in (200, 400), answer.body


@pytest.mark.parametrize("model", ["numbered-3", TRANSLATED])
@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_c28_an_image_is_never_fetched_here(
    world: World, canary: ScriptedUpstream, path: str, model: str
) -> None:
    address = f"https://127.0.0.1:{canary.port}/x.png"
    await served(world, path, {**image(path, address), "model": model})
    plain = await world.ask(post(path, {**image(path, canary.url), "model": model}))
    assert plain.status in ((200, 400) if (path, model) == (MESSAGES, TRANSLATED) else (400,))


@pytest.mark.parametrize("path", [CHAT, AT_THE_EDGE, RESPONSES])
async def test_c28_an_image_larger_than_a_body_may_be_is_refused(world: World, path: str) -> None:
    answer = await world.ask(post(path, image(path, "data:image/png;base64," + "A" * 1_000_000)))
    assert answer.status == 413
    error = answer.json()["error"]
    told = error["details"]["error_code"] if path == MESSAGES else error["code"]
    assert told == "request_too_large"


@pytest.mark.parametrize(("path", "fields"), [
    (CHAT, {"max_tokens": None, "n": None, "stop": None, "stream": None, "stream_options": None}),
    (MESSAGES, {"stream": None, "stop_sequences": None, "tools": None, "system": None}),
    (RESPONSES, {"max_output_tokens": None, "stream": None, "stream_options": None}),
    (COMPLETIONS, {"max_tokens": None, "n": None, "stop": None, "stream": None}),
    (EMBEDDINGS, {"dimensions": None, "encoding_format": None, "user": None}),
])  # fmt: skip
async def test_c24_null_says_nothing(world: World, path: str, fields: dict[str, Any]) -> None:
    await served(world, path, fields)
