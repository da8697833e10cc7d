"""Streams that break off and are gone on with elsewhere: one answer, each token once, one end."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.access import Limit
from droveway.contracts.config import Config, Model, Retry, Route
from droveway.contracts.relay import Usage
from tests.support.flows import (
    Got,
    ask,
    each_once,
    entries,
    numbered,
    route,
    rows_of,
    with_timeouts,
)
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body, events, message_body, said_in_blocks
from tests.support.stack import UNSPARED, Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

LENGTH = 8
BREAKS = ("cut-after-3", "fin-after-3", "end-after-3", "stall-after-3", "error-after-3")
PAIRS = {"oo": (0, 1), "oa": (0, 2), "ao": (2, 0), "aa": (2, 3)}
"""Which provider breaks off and which goes on: two speak OpenAI's dialect, two Anthropic's."""
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
GOING_ON = pytest.mark.parametrize("pair", PAIRS)


def _continued(model: str, *targets: tuple[int, str]) -> Route:
    one = route(model, *((f"upstream-{index + 1}", name) for index, name in targets))
    return msgspec.structs.replace(one, midstream="continue")


def _within(model: str, attempts: int, *targets: tuple[int, str]) -> Route:
    policy = Retry(attempts=attempts, same_target=0)
    return msgspec.structs.replace(_continued(model, *targets), retry=policy)


def _configure(config: Config) -> Config:
    providers = tuple(
        msgspec.structs.replace(one, dialect="anthropic", kind="anthropic") if index > 1 else one
        for index, one in enumerate(config.providers)
    )
    fault, good = f"fault-numbered-{LENGTH}+{{}}", f"numbered-{LENGTH}"
    routes = [
        _continued(f"{name}/{spec}", (first, fault.format(spec)), (second, good))
        for name, (first, second) in PAIRS.items()
        for spec in BREAKS
    ]
    cut = fault.format("cut-after-3")
    routes += [
        _continued("twice", (0, cut), (2, fault.format("fin-after-2")), (1, good)),
        _continued("thrice", (0, cut), (1, fault.format("cut-after-2")), (2, cut)),
        _continued("both", (0, cut), (1, fault.format("cut-after-2"))),
        _continued("refused", (0, cut), (2, "quirk-no-prefill")),
        _continued("down", (0, cut), (1, "fault-500")),
        _continued("answers", (0, cut), (1, "answers-anew")),
        _continued("detour", (0, cut), (1, "fault-500"), (2, good)),
        _continued("thinks", (0, f"fault-reasoning-4+numbered-{LENGTH}+cut-after-2"), (1, good)),
        _continued("thought", (0, f"fault-reasoning-4+numbered-{LENGTH}+cut-after-6"), (1, good)),
        _continued("tools", (0, "fault-cut-after-2"), (1, "sim")),
        _continued("prose", (0, "fault-cut-after-4"), (1, "sim")),
        _within("one-attempt", 1, (0, cut), (1, good)),
        _within("two-attempts", 2, (0, cut), (2, fault.format("fin-after-2")), (1, good)),
        _within("four-attempts", 4, (0, cut), (1, "fault-500"), (1, "fault-503"), (2, good)),
        route("error", ("upstream-1", cut), ("upstream-2", good)),
    ]
    config = msgspec.structs.replace(
        config,
        providers=providers,
        routes=tuple(routes),
        models=(Model(name="answers-anew", continues=False),),
        default_limits=(Limit(requests=100_000, tokens=100_000_000),),
    )
    return each_once(with_timeouts(config, first_token_s=2.0, idle_s=0.3))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("continuations")
    async with running_stack(
        nats,
        folder,
        simulators=4,
        configure=_configure,
        environment=UNSPARED,
        keep_bodies=True,
    ) as world:
        yield world


async def _chat(stack: Stack, model: str, **fields: Any) -> Got:
    for simulator in stack.simulators:
        simulator.book.clear()
    async with stack.client() as client:
        return await ask(client, chat_body(model, stream=True, **fields))


async def _message(stack: Stack, model: str, **fields: Any) -> httpx.Response:
    for simulator in stack.simulators:
        simulator.book.clear()
    async with stack.client() as client:
        return await client.post("/v1/messages", json=message_body(model, stream=True, **fields))


def _asked(stack: Stack) -> list[dict[str, Any]]:
    """The requests that providers got, in the order of the providers."""
    books = [simulator.book for simulator in stack.simulators]
    return [json.loads(book.body(one.id) or b"") for book in books for one in book.entries]


@pytest.mark.parametrize("spec", BREAKS)
@GOING_ON
async def test_a_chat_client_has_each_token_once_and_one_end(
    stack: Stack, pair: str, spec: str
) -> None:
    got = await _chat(stack, f"{pair}/{spec}", stream_options={"include_usage": True})
    assert got.said == numbered(LENGTH), got.text
    assert got.whole
    assert got.text.count("[DONE]") == 1
    choices = [choice for chunk in got.chunks for choice in chunk["choices"]]
    assert [one["delta"].get("role") for one in choices].count("assistant") == 1
    assert [one["finish_reason"] for one in choices if one["finish_reason"]] == ["stop"]
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in got.chunks}) == 1
    assert got.chunks[-1]["usage"]["completion_tokens"] >= LENGTH


@pytest.mark.parametrize("spec", BREAKS)
@GOING_ON
async def test_an_anthropic_client_has_one_message_whose_text_stays_in_its_block(
    stack: Stack, pair: str, spec: str
) -> None:
    answer = await _message(stack, f"{pair}/{spec}")
    assert said_in_blocks(answer.text) == [{"type": "text", "text": numbered(LENGTH)}]
    names = [name for name, _ in events(answer.text)]
    for once in ("message_start", "content_block_start", "content_block_stop", "message_delta"):
        assert names.count(once) == 1, names
    assert names[-1] == "message_stop"


@GOING_ON
async def test_rows_tell_of_each_attempt_and_the_requests_has_their_sum(
    nats: NatsServer, stack: Stack, pair: str
) -> None:
    got = await _chat(stack, f"{pair}/cut-after-3", stream_options={"include_usage": True})
    trail = await rows_of(nats, got.headers["x-request-id"], attempts=2)
    assert trail.request is not None
    first, second = sorted(trail.attempts, key=lambda row: row.attempt)
    assert (first.attempt, first.outcome, second.attempt) == (1, "interrupted", 2)
    assert second.outcome == trail.request.outcome == "completed"
    assert trail.request.attempts == 2
    assert trail.request.attempt_id == second.attempt_id
    assert _sum(first.usage, second.usage) == _sum(trail.request.usage)
    told = got.chunks[-1]["usage"]
    assert (told["prompt_tokens"], told["completion_tokens"]) == _sum(trail.request.usage)


async def test_anthropics_last_count_is_that_of_all_answers(nats: NatsServer, stack: Stack) -> None:
    answer = await _message(stack, "aa/cut-after-3")
    trail = await rows_of(nats, answer.headers["request-id"], attempts=2)
    assert trail.request is not None
    told = next(event["usage"] for name, event in events(answer.text) if name == "message_delta")
    assert (told["input_tokens"], told["output_tokens"]) == _sum(trail.request.usage)


async def test_the_next_target_gets_the_beginning_as_the_last_turn(stack: Stack) -> None:
    await _chat(stack, "oo/cut-after-3", max_tokens=50, reasoning_effort="low")
    first, second = _asked(stack)
    assert second["messages"][:-1] == first["messages"]
    assert second["messages"][-1] == {"role": "assistant", "content": "t0 t1 t2"}
    assert second["max_tokens"] < first["max_tokens"] == 50
    assert "reasoning_effort" not in second


async def test_a_beginning_of_the_clients_own_is_lengthened(stack: Stack) -> None:
    question = {"role": "user", "content": "hello"}
    begun = {"role": "assistant", "content": "t0 t1"}
    got = await _chat(stack, "oo/cut-after-3", messages=[question, begun])
    assert "t0 t1" + got.said == numbered(LENGTH)
    assert _asked(stack)[1]["messages"] == [
        question,
        {"role": "assistant", "content": "t0 t1 t2 t3"},
    ]


async def test_it_may_break_off_twice(stack: Stack, nats: NatsServer) -> None:
    got = await _chat(stack, "twice")
    assert got.said == numbered(LENGTH)
    assert got.done
    trail = await rows_of(nats, got.headers["x-request-id"], attempts=3)
    assert sorted(row.attempt for row in trail.attempts) == [1, 2, 3]


async def test_a_third_break_is_told(stack: Stack) -> None:
    got = await _chat(stack, "thrice")
    assert numbered(LENGTH).startswith(got.said)
    assert got.error["code"] == "stream_interrupted"
    assert not got.whole


async def test_a_target_that_fails_before_it_goes_on_is_followed_by_the_next(stack: Stack) -> None:
    got = await _chat(stack, "detour")
    assert got.said == numbered(LENGTH)
    assert got.done


@pytest.mark.parametrize("model", ["refused", "down", "answers"])
async def test_when_nobody_can_go_on_the_client_hears_why_it_broke_off(
    stack: Stack, model: str
) -> None:
    got = await _chat(stack, model)
    assert got.said == numbered(3)
    assert got.error["code"] == "stream_interrupted"
    assert "[DONE]" not in got.text
    assert not got.whole


async def test_no_target_is_asked_to_go_on_with_what_it_broke_off(stack: Stack) -> None:
    got = await _chat(stack, "both")
    assert got.said == numbered(4)
    assert got.error["code"] == "stream_interrupted"
    assert len(entries(stack)) == 2


async def test_the_clients_limits_count_it_once(stack: Stack) -> None:
    left = []
    for model in ("oo/cut-after-3", "oo/cut-after-3", "twice", "error"):
        got = await _chat(stack, model)
        left.append(int(got.headers["x-ratelimit-remaining-requests"]))
    assert [left[0] - one for one in left] == [0, 1, 2, 3]


async def test_the_log_says_that_it_was_gone_on_with(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        await _chat(stack, "twice")
    lines = {record.msg: vars(record).get("fields", {}) for record in caplog.records}
    assert lines["request"]["continuations"] == 2
    assert lines["request"]["attempts"] == 3
    assert lines["answer_continued"]["code"] == "stream_interrupted"


async def test_a_model_that_answers_anew_is_not_asked(stack: Stack) -> None:
    await _chat(stack, "answers")
    assert len(entries(stack)) == 1


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("error", {}),
        ("oo/cut-after-3", {"n": 2}),
        ("oo/cut-after-3", {"response_format": SCHEMA}),
        ("oo/cut-after-3", {"response_format": {"type": "json_object"}}),
        ("tools", {"tools": [TOOL]}),
        ("thinks", {}),
        ("one-attempt", {}),
    ],
    ids=["by-default", "choices", "schema", "json", "calls", "only-thoughts", "no-attempt-left"],
)
async def test_what_nobody_can_go_on_with_is_an_error_at_once(
    stack: Stack, model: str, fields: dict[str, Any]
) -> None:
    got = await _chat(stack, model, **fields)
    assert got.error["code"] == "stream_interrupted"
    assert not got.whole
    assert len(entries(stack)) == 1


@pytest.mark.parametrize(("model", "said"), [("two-attempts", 4), ("four-attempts", LENGTH)])
async def test_the_routes_policy_holds_for_all_parts_of_an_answer(
    stack: Stack, model: str, said: int
) -> None:
    got = await _chat(stack, model)
    assert got.said == numbered(said)
    assert got.whole is (said == LENGTH)
    assert len(entries(stack)) == (4 if got.whole else 2)


async def test_a_text_after_thoughts_is_gone_on_with(stack: Stack) -> None:
    got = await _chat(stack, "thought")
    assert got.said == numbered(LENGTH)
    assert got.done
    answer = await _message(stack, "thought")
    assert said_in_blocks(answer.text)[-1]["text"] == numbered(LENGTH)


async def test_tools_that_were_not_called_yet_are_no_hindrance(stack: Stack) -> None:
    got = await _chat(stack, "oo/cut-after-3", tools=[TOOL])
    assert got.said == numbered(LENGTH)


async def test_prose_is_the_same_as_if_nothing_had_broken(stack: Stack) -> None:
    cut = await _chat(stack, "prose")
    assert cut.done
    async with stack.client() as client:
        plain = await ask(client, chat_body("prose", stream=False))
    assert cut.said == plain.said


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses"])
async def test_operations_that_are_asked_as_chats_go_on_too(stack: Stack, path: str) -> None:
    model = "oa/cut-after-3"
    body = {"model": model, "stream": True, "prompt": "hello"}
    if path == "/v1/responses":
        body = {"model": model, "stream": True, "input": "hello"}
    async with stack.client() as client:
        answer = await client.post(path, json=body)
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines()]
    told = [json.loads(line) for line in lines if line.startswith("{")]
    if path == "/v1/responses":
        said = "".join(one["delta"] for one in told if one["type"] == "response.output_text.delta")
        assert told[-1]["type"] == "response.completed"
    else:
        said = "".join(choice["text"] for one in told for choice in one["choices"])
        assert lines[-2:] == ["[DONE]", ""]
    assert said == numbered(LENGTH)


def _sum(*parts: Usage) -> tuple[int, int]:
    return sum(one.input_tokens for one in parts), sum(one.output_tokens for one in parts)
