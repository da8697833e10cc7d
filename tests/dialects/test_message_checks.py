"""Messages of chat completion requests: roles, parts, calls, and what they point to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.dialects.chat.caps import ChatCaps
from droveway.dialects.chat.message_checks import check_messages
from droveway.dialects.untranslatable import Untranslatable

CAPS = ChatCaps()
MESSAGES = [{"role": "user", "content": "hi"}]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SECRET = "xxsecretxx"


def message(**fields: Any) -> list[Any]:
    return [*MESSAGES, {"role": "user", **fields}]


def parts(*content: Any) -> list[Any]:
    return message(content=list(content))


def image(url: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **fields}}


def refusal(messages: object, caps: ChatCaps = CAPS) -> Untranslatable:
    with pytest.raises(Untranslatable) as refused:
        check_messages(messages, caps)
    return refused.value


PASSES: dict[str, list[Any]] = {
    "10k messages": MESSAGES * 10_000,
    "calls without content": message(role="assistant", content=None, tool_calls=[CALL]),
    "a call of another type": message(role="assistant", tool_calls=[{"id": "c", "type": "custom"}]),
    "a call's arguments left out": message(tool_calls=[{"function": {"name": "f"}}]),
    "a result": message(role="tool", tool_call_id="c", content="r", is_error=True),
    "no content": [{"role": "tool", "tool_call_id": "c"}, {"role": "developer"}],
    "a named message": message(name="n", content="x", weight=1),
    "a refusal": message(role="assistant", refusal="no"),
    "thinking": message(
        role="assistant",
        content="x",
        reasoning_content="r",
        thinking_blocks=[{"type": "thinking", "thinking": "t", "signature": "s"}],
    ),
    "an old audio answer": message(role="assistant", audio={"id": "a"}),
    "an old function call": message(function_call={"name": "f", "arguments": "{}"}),
    "1000 parts": parts(*[{"type": "text", "text": "x"}] * 1000),
    "a marked part": parts({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}),
    "a breakpoint": parts(
        {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}
    ),
    "a marker between parts": parts({"type": "cache_control", "index": 0}),
    "an image's address": parts(image("https://a.example/i.png", detail="low")),
    "an address in capitals": parts(image("HTTPS://A.EXAMPLE/I.PNG")),
    "an embedded image": parts(image("data:image/svg+xml;base64,AAAA")),
    "a recording": parts({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}),
    "a file": parts({"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}),
    "a file by its id": parts({"type": "file", "file": {"file_id": "file-1"}}),
    "a declining part": parts({"type": "refusal", "refusal": "no"}),
    "a document": parts({"type": "document", "source": {"type": "base64", "data": "AA"}}),
    "a document's address": parts({"type": "document", "source": {"url": "https://a.example/"}}),
    "a video": parts({"type": "video_url", "video_url": {"url": "https://a.example/v.mp4"}}),
}  # fmt: skip


@pytest.mark.parametrize("messages", PASSES.values(), ids=PASSES)
def test_valid_messages_pass(messages: list[Any]) -> None:
    check_messages(messages, CAPS)


REFUSED: list[tuple[str, Any]] = [
    ("messages", None),
    ("messages", []),
    ("messages", "hi"),
    ("messages", MESSAGES * 10_001),
    ("messages[0]", ["hi"]),
    ("messages[0].role", [{"content": "x"}]),
    *(("messages[1].role", message(role=role)) for role in ("root", SECRET, 5, ["user"], None)),
    ("messages[1].content", message(content=5)),
    ("messages[1].content", message(content={})),
    ("messages[1].content", message(content=True)),
    ("messages[1].content", parts(*[{"type": "text"}] * 1001)),
    ("messages[1].content[0]", parts(SECRET)),
    ("messages[1].content[0].type", parts({})),
    ("messages[1].content[1].type", parts({"type": "text", "text": "x"}, {"type": SECRET})),
    ("messages[1].content[0].text", parts({"type": "text"})),
    ("messages[1].content[0].text", parts({"type": "text", "text": 5, "cache_control": {}})),
    ("messages[1].content[0].cache_control", parts(
        {"type": "text", "text": "x", "cache_control": "ephemeral"})),
    ("messages[1].content[0].refusal", parts({"type": "refusal", "refusal": []})),
    ("messages[1].tool_calls", message(tool_calls={})),
    ("messages[1].tool_calls", message(tool_calls=[CALL] * 129)),
    ("messages[1].tool_calls[0]", message(tool_calls=[1])),
    ("messages[1].tool_calls[0].id", message(tool_calls=[CALL | {"id": 5}])),
    ("messages[1].tool_calls[0].type", message(tool_calls=[CALL | {"type": ["function"]}])),
    ("messages[1].tool_calls[1].function", message(tool_calls=[CALL, {"id": "d"}])),
    ("messages[1].tool_calls[0].function.name", message(tool_calls=[{"function": {}}])),
    ("messages[1].tool_calls[0].function.arguments", message(
        tool_calls=[{"function": {"name": "f", "arguments": {"a": SECRET}}}])),
    ("messages[1].function_call.name", message(function_call={"name": ""})),
    ("messages[1].tool_call_id", message(role="tool", content="x")),
    ("messages[1].tool_call_id", message(role="tool", content="x", tool_call_id=None)),
    ("messages[1].tool_call_id", message(tool_call_id=5)),
    ("messages[1].name", message(name=5)),
    ("messages[1].refusal", message(refusal=5)),
    ("messages[1].reasoning_content", message(reasoning_content=[])),
    ("messages[1].thinking_blocks[0]", message(thinking_blocks=["x"])),
    ("messages[1].is_error", message(is_error="true")),
]  # fmt: skip


@pytest.mark.parametrize(("param", "messages"), REFUSED)
def test_wrong_message_is_named_and_its_content_is_not(param: str, messages: Any) -> None:
    refused = refusal(messages)
    assert refused.param == param
    assert f"`{param}`" in refused.message
    assert "xx" not in refused.message
    assert len(refused.message) < 220


# What a message points to


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "http://169.254.169.254/", "http://a.example/i.png", "ftp://a/", "",
        "https://", "//a.example/i.png", " https://a.example/", "gs://b/i.png", 5, None,
        "data:text/html;base64,AAAA", "data:image/png,AAAA", "data:video/mp4;base64,AAAA",
        "data:;base64,AAAA", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_an_image_is_at_a_safe_address_or_embedded(url: Any) -> None:
    refused = refusal(parts({"type": "text", "text": "x"}, image(url)))
    assert refused.param == "messages[1].content[1].image_url.url"
    assert "https://" in refused.message
    assert "data:image/...;base64,..." in refused.message


@pytest.mark.parametrize("value", ["https://a.example/i.png", None, []])
def test_an_image_is_an_object_with_an_address(value: Any) -> None:
    refused = refusal(parts({"type": "image_url", "image_url": value}))
    assert refused.param == "messages[1].content[0].image_url"


@pytest.mark.parametrize(
    ("start", "longest"), [("https://a.example/", 8_192), ("data:image/png;base64,", 14_000_000)]
)
def test_an_image_is_capped_by_its_kind(start: str, longest: int) -> None:
    check_messages(parts(image(start.ljust(longest, "A"))), CAPS)
    refused = refusal(parts(image(start.ljust(longest + 1, "A"))))
    assert f"at most {longest} characters" in refused.message


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"type": "input_audio", "input_audio": {"data": "A" * 9}}, "input_audio.data"),
        ({"type": "input_audio", "input_audio": "A"}, "input_audio"),
        ({"type": "file", "file": {"file_data": "A" * 9}}, "file.file_data"),
        ({"type": "file", "file": {"file_id": 5}}, "file.file_id"),
        ({"type": "file"}, "file"),
        ({"type": "document", "source": {"data": "A" * 9}}, "source.data"),
        ({"type": "document", "source": {"url": "file:///etc/passwd"}}, "source.url"),
        ({"type": "document"}, "source"),
        ({"type": "video_url", "video_url": {"url": "data:image/png;base64,"}}, "video_url.url"),
    ],
)
def test_other_media_are_shaped_and_capped(part: dict[str, Any], path: str) -> None:
    refused = refusal(parts(part), ChatCaps(max_data_chars=8))
    assert refused.param == f"messages[1].content[0].{path}"


def test_an_unknown_part_is_told_which_are_known() -> None:
    refused = refusal(parts({"type": "hologram", "hologram": {}}))
    assert refused.param == "messages[1].content[0].type"
    assert refused.message == (
        "`messages[1].content[0].type` must be one of text, image_url, input_audio, file, refusal, "
        "document, video_url, cache_control; it is a string of length 8."
    )


# Whatever comes

FIELDS = ["content", "tool_calls", "name", "function_call", "audio", "tool_call_id", "role"]
KNOWN = [
    *FIELDS, "type", "text", "function", "image_url", "url", "source", "file", "input_audio",
    "arguments", "cache_control", "data",
]  # fmt: skip
WORDS = ["user", "tool", "text", "image_url", "function", "file", "document", "video_url"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KNOWN), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.sampled_from(FIELDS), JSON)
def test_an_arbitrary_field_passes_or_is_refused_by_name(name: str, value: Any) -> None:
    try:
        check_messages(message(**{name: value}), CAPS)
    except Untranslatable as refused:
        found = refused.param
    else:
        return
    assert found.startswith((f"messages[1].{name}", "messages[1].tool_call_id"))
