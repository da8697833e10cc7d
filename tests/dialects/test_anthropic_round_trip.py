"""There and back a conversation says the same, whichever dialect it began in.

What counts as the same (`said`): white space only and empty turns say nothing; turns of one role in
a row are one; in an assistant's turn thinking comes before text before calls, in a user's turn
results come before the rest; pictures that a tool answered with are the user's; system messages
are one text, unless a part of them ends a cached prefix; a last assistant's turn ends without white
space; call arguments are what their JSON says.
"""

import copy
import json
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from droveway.dialects.anthropic.chat_turns import STRIPPED
from droveway.dialects.anthropic.checks import check
from droveway.dialects.anthropic.from_chat import from_chat
from droveway.dialects.anthropic.to_chat import to_chat
from droveway.dialects.untranslatable import Translated, Untranslatable

Json = dict[str, Any]
ORDER = {"thinking": 0, "redacted_thinking": 0, "result": 0, "text": 1, "image": 1, "call": 2}

WORDS = st.text(st.characters(codec="utf-8"), max_size=6)
VISIBLE = st.sampled_from(["yes", " no ", "ü\n", "{", "…"])
OBJECTS = st.dictionaries(WORDS, st.integers(-9, 9) | WORDS | st.lists(st.booleans()), max_size=3)
IMAGES = st.sampled_from(["data:image/png;base64,QQ==", "https://a.example/b.png"])
MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
TOOLS = {
    "find": {"type": "object", "properties": {"q": {"type": "string"}}},
    "list": {"type": "object", "properties": {}},
}
FORMAT = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
THOUGHTS = st.lists(
    st.builds(
        lambda thought, seal: {"type": "thinking", "thinking": thought, "signature": seal},
        WORDS,
        WORDS,
    )
    | st.builds(lambda data: {"type": "redacted_thinking", "data": data}, WORDS),
    max_size=2,
)


def back_to_anthropic(chat: Json) -> Json:
    made = from_chat(chat, max_output_tokens=99, sampling=True, version_2026=False)
    assert set(made.warnings) <= {STRIPPED}
    check(made.body)
    messages = made.body["messages"]
    assert all(one["role"] != following["role"] for one, following in pairwise(messages))
    for message in messages:
        kinds = [
            block["type"] == "tool_result"
            for block in message["content"]
            if isinstance(block, dict)
        ]
        assert kinds == sorted(kinds, reverse=True)
    return made.body


def over_to_chat(native: Json) -> Translated:
    made = to_chat(native)
    messages = made.body["messages"]
    for place, message in enumerate(messages):
        answered = len(message.get("tool_calls", ()))
        following = [m.get("role") for m in messages[place + 1 :][: answered + 1]]
        if answered:
            assert following[:answered] == ["tool"] * answered
            assert following[answered:] != ["tool"]
    return made


# What was said


def said(request: Json) -> tuple[Any, list[list[Any]]]:
    """System and turns, in words that neither dialect has."""
    chat = isinstance(request["messages"], list) and "max_completion_tokens" in request
    messages = request["messages"]
    system = [m["content"] for m in messages if m["role"] == "system"] or [request.get("system")]
    spoken = (message for message in messages if message["role"] != "system")
    events = [event for message in spoken for event in (_chat if chat else _native)(message)]
    turns = [
        [event[1:] for event in sorted(turn, key=lambda event: ORDER[event[1]])]
        for _, turn in groupby(events, key=lambda event: event[0])
    ]
    if events and events[-1][0] == "assistant" and turns[-1][-1][0] == "text":
        turns[-1][-1] = ("text", turns[-1][-1][1].rstrip(), *turns[-1][-1][2:])
    return _system(system), turns


def _system(contents: list[Any]) -> Any:
    texts = [text for content in contents for text in _texts(content)]
    return texts if any(mark for _, _, mark in texts) else "\n".join(text for _, text, _ in texts)


def _texts(content: Any) -> Iterator[tuple[Any, ...]]:
    text = [{"type": "text", "text": content}]
    blocks: list[Json] = text if isinstance(content, str) else content or []
    for block in blocks:
        mark = "cache_control" in block
        if block["type"] == "text" and block["text"].strip():
            yield "text", block["text"], mark
        elif block["type"] == "image_url":
            yield "image", block["image_url"]["url"], mark
        elif block["type"] == "image":
            source = block["source"]
            inline = f"data:{source.get('media_type')};base64,{source.get('data')}"
            yield "image", source.get("url", inline), mark


def _chat(message: Json) -> Iterator[tuple[Any, ...]]:
    role = "user" if message["role"] == "tool" else message["role"]
    if message["role"] == "tool":
        texts = [text for _, text, _ in _texts(message["content"])]
        yield role, "result", message["tool_call_id"], texts, "is_error" in message
        return
    for block in message.get("thinking_blocks", ()):
        yield role, block["type"], block
    for event in _texts(message["content"]):
        yield role, *event
    for call in message.get("tool_calls") or ():
        function = call["function"]
        yield role, "call", call["id"], function["name"], json.loads(function["arguments"] or "{}")


def _native(message: Json) -> Iterator[tuple[Any, ...]]:
    role, content = message["role"], message["content"]
    for block in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        match block["type"]:
            case "tool_use":
                yield role, "call", block["id"], block["name"], block["input"]
            case "tool_result":
                inner = list(_texts(block.get("content")))
                texts = [event[1] for event in inner if event[0] == "text"]
                yield role, "result", block["tool_use_id"], texts, "is_error" in block
                for event in inner:
                    if event[0] == "image":
                        yield role, *event
            case "thinking" | "redacted_thinking":
                yield role, block["type"], block
            case _:
                for event in _texts([block]):
                    yield role, *event


# Conversations


@st.composite
def chats(draw: st.DrawFn) -> Json:
    """A chat request with everything that both dialects can say, untidy as clients are."""
    part = st.builds(lambda text: {"type": "text", "text": text}, WORDS | VISIBLE) | st.builds(
        lambda url: {"type": "image_url", "image_url": {"url": url}}, IMAGES
    )
    user = st.builds(
        lambda content: {"role": "user", "content": content}, WORDS | st.lists(part, max_size=3)
    )
    system = st.builds(lambda text: {"role": "system", "content": text}, WORDS)
    messages: list[Json] = [*draw(st.lists(system, max_size=2)), {"role": "user", "content": "Hi"}]
    for turn in range(draw(st.integers(0, 3))):
        ids = [f"call_{turn}-{place}" for place in range(draw(st.integers(0, 3)))]
        message: Json = {"role": "assistant", "content": draw(st.none() | WORDS | VISIBLE)}
        if thoughts := draw(THOUGHTS):
            message["thinking_blocks"] = thoughts
        if ids:
            message["tool_calls"] = [
                {
                    "id": call_id,
                    "type": "function",
                    "function": {
                        "name": draw(st.sampled_from(sorted(TOOLS))),
                        "arguments": draw(st.just("") | OBJECTS.map(json.dumps)),
                    },
                }
                for call_id in ids
            ]
        messages.append(message)
        for call_id in draw(st.permutations(ids)):
            messages += draw(st.lists(user, max_size=1))
            result: Json = {"role": "tool", "tool_call_id": call_id, "content": draw(WORDS)}
            messages.append(result | draw(st.sampled_from([{}, {"is_error": True}])))
        messages += draw(st.lists(user | system, max_size=2))
    request: Json = {"model": "m", "max_completion_tokens": 7, "messages": messages}
    functions = [
        {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}
        for name, schema in TOOLS.items()
    ]
    choice = st.sampled_from(
        ["auto", "none", "required", {"type": "function", "function": {"name": "find"}}]
    )
    wanted = {"name": "answer", "schema": FORMAT, "strict": True}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "tools": st.just(functions),
        "tool_choice": choice,
        "stop": st.lists(VISIBLE, min_size=1),
        "temperature": st.floats(0, 1),
        "top_p": st.floats(0, 0.9),
        "top_k": st.integers(1, 9),
        "reasoning_effort": st.sampled_from(["none", "low", "high", "xhigh", "max"]),
        "response_format": st.just({"type": "json_schema", "json_schema": wanted}),
        "user": st.just("u1"),
        "service_tier": st.sampled_from(["auto", "default"]),
        "stream": st.booleans(),
    }
    request |= draw(st.fixed_dictionaries({}, optional=optional))
    if "tools" not in request:
        request.pop("tool_choice", None)
    return request


@st.composite
def natives(draw: st.DrawFn) -> Json:
    """An Anthropic request with everything that both dialects can say."""
    marks = st.sampled_from([{}, {}, {}, MARK])
    text = st.builds(lambda words: {"type": "text", "text": words}, WORDS | VISIBLE)
    image = st.builds(
        lambda source: {"type": "image", "source": source},
        st.sampled_from(
            [
                {"type": "base64", "media_type": "image/png", "data": "QQ=="},
                {"type": "url", "url": "https://a.example/b.png"},
            ]
        ),
    )
    marked = draw(marks)
    hello = {"type": "text", "text": "Hi", **marked}
    messages: list[Json] = [{"role": "user", "content": [hello]}]
    for turn in range(draw(st.integers(0, 3))):
        ids = [f"toolu_{turn}_{place}" for place in range(draw(st.integers(0, 3)))]
        calls = [
            {
                "type": "tool_use",
                "id": call_id,
                "name": draw(st.sampled_from(sorted(TOOLS))),
                "input": draw(OBJECTS),
            }
            for call_id in ids
        ]
        content = [*draw(THOUGHTS), *draw(st.lists(text, max_size=2)), *calls]
        messages.append({"role": "assistant", "content": content})
        answers = [
            {
                "type": "tool_result",
                "tool_use_id": call_id,
                "content": draw(WORDS | st.lists(text | image, max_size=2)),
                **draw(st.sampled_from([{}, {"is_error": True}])),
            }
            for call_id in draw(st.permutations(ids))
        ]
        answers += draw(st.lists(text | image, max_size=2))
        if answers:
            messages.append({"role": "user", "content": answers})
    request: Json = {"model": "m", "max_tokens": 7, "messages": messages}
    choice = st.sampled_from(
        [
            {"type": "auto"},
            {"type": "any", "disable_parallel_tool_use": True},
            {"type": "tool", "name": "find"},
            {"type": "none"},
        ]
    )
    budget = {"type": "enabled", "budget_tokens": 9_000}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "system": WORDS | st.lists(text, max_size=2) | st.just([hello]),
        "tools": st.just([{"name": n, "input_schema": s, **marked} for n, s in TOOLS.items()][:1]),
        "tool_choice": choice,
        "stop_sequences": st.lists(VISIBLE, min_size=1),
        "temperature": st.floats(0, 1),
        "thinking": st.sampled_from([{"type": "disabled"}, {"type": "adaptive"}, budget]),
        "output_config": st.just({"format": {"type": "json_schema", "schema": FORMAT}}),
        "metadata": st.just({"user_id": "u1"}),
        "service_tier": st.sampled_from(["auto", "standard_only"]),
        "stream": st.booleans(),
    }
    request |= draw(st.fixed_dictionaries({}, optional=optional))
    if "tools" not in request:
        request.pop("tool_choice", None)
    return request


def rest(request: Json) -> Json:
    return {name: request[name] for name in request if name not in ("messages", "system")}


@settings(max_examples=60)
@given(chats())
def test_chat_to_anthropic_and_back_says_the_same(request: Json) -> None:
    before = copy.deepcopy(request)
    native = back_to_anthropic(request)
    made = over_to_chat(native)
    assert said(native) == said(request) == said(made.body)
    told = rest(made.body)
    if told.get("reasoning_effort") == "none":
        assert told.pop("thinking") == {"type": "disabled"}
    assert told == rest(request)
    assert made.warnings == ()
    assert request == before


@settings(max_examples=60)
@given(natives())
def test_anthropic_to_chat_and_back_says_the_same(request: Json) -> None:
    before = copy.deepcopy(request)
    check(request)
    made = over_to_chat(request)
    native = back_to_anthropic(made.body)
    assert said(request) == said(made.body) == said(native)
    assert rest(native) == rest(request)
    assert made.warnings == ()
    assert request == before


# Requests that are none

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats(allow_nan=False) | WORDS | VISIBLE,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "id"]), inner)
    ),
    max_leaves=4,
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in range(len(value)) if isinstance(value, list) else list(value):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


@settings(max_examples=60)
@given(chats() | natives(), st.data())
def test_whatever_a_client_sends_is_translated_or_refused(
    request: Json, data: st.DataObject
) -> None:
    request = copy.deepcopy(request)
    for _ in range(data.draw(st.integers(1, 2))):
        container, key = data.draw(st.sampled_from(list(_places(request))))
        container[key] = data.draw(JUNK)
    for translate in (check, to_chat, back_to_anthropic_untidy):
        refusal = _refusal(translate, request)
        assert refusal is None or (refusal.message and refusal.param)


def _refusal(translate: Callable[[Json], Any], request: Json) -> Untranslatable | None:
    try:
        translate(request)
    except Untranslatable as refusal:
        return refusal
    return None


def back_to_anthropic_untidy(chat: Json) -> None:
    for version_2026 in (False, True):
        from_chat(chat, max_output_tokens=99, sampling=True, version_2026=version_2026)
