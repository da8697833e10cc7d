"""Legacy completion requests, checked and made chat completions."""

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.dialects.chat import checks as chat_checks
from droveway.dialects.completions.request import check, to_chat
from droveway.dialects.untranslatable import Untranslatable

NAMES = [
    "model", "prompt", "suffix", "echo", "best_of", "logprobs", "n", "stop", "stream", "max_tokens",
    "stream_options", "temperature", "logit_bias", "user", "messages", "tools", "anything",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=8,
)


def request(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": "Say hi", **fields}


def each(param: str, *values: Any) -> list[tuple[str, dict[str, Any]]]:
    """The parameter with each of some wrong values."""
    return [(param, {param: value}) for value in values]


@pytest.mark.parametrize("prompt", ["Say hi", ["Say hi"]])
def test_one_prompt_is_one_user_message(prompt: Any) -> None:
    assert to_chat(request(prompt=prompt)) == (
        {"model": "m", "messages": [{"role": "user", "content": "Say hi"}]},
        (),
    )


def test_what_chats_know_too_is_kept_in_its_order() -> None:
    kept = {
        "max_tokens": 5, "temperature": 0, "top_p": 1, "n": 2, "stop": ["x"], "stream": True,
        "stream_options": {"include_usage": True}, "presence_penalty": 1, "frequency_penalty": -1,
        "seed": 5, "user": "u", "logit_bias": {"1": 2}, "model": "m", "min_p": 0.1,
    }  # fmt: skip
    asked = {"temperature": 0, "prompt": "x", **kept}
    check(asked)
    before = copy.deepcopy(asked)
    body, warnings = to_chat(asked)
    assert asked == before
    assert list(body) == ["temperature", "messages", *list(kept)[:1], *list(kept)[2:]]
    assert {name: body[name] for name in kept} == kept
    assert warnings == ()
    chat_checks.check(body)


@pytest.mark.parametrize(
    "fields",
    [{"suffix": None}, {"suffix": ""}, {"echo": False}, {"echo": None}, {"best_of": 1},
     {"best_of": None}, {"logprobs": None}],
)  # fmt: skip
def test_what_says_nothing_is_left_out_without_a_word(fields: dict[str, Any]) -> None:
    check(request(**fields))
    assert to_chat(request(**fields)) == to_chat(request())


@pytest.mark.parametrize("value", [0, 5])
def test_logprobs_are_dropped_with_a_warning(value: int) -> None:
    check(request(logprobs=value))
    body, (warning,) = to_chat(request(logprobs=value))
    assert "logprobs" not in body
    assert warning.startswith("logprobs ")


@pytest.mark.parametrize("name", ["messages", "tools", "tool_choice", "functions"])
def test_what_a_text_completion_has_no_place_for_is_dropped_with_a_warning(name: str) -> None:
    body, (warning,) = to_chat(request(**{name: []}))
    assert body == to_chat(request()).body
    assert warning.startswith(f"{name} ")
    assert to_chat(request(**{name: None})) == to_chat(request())


@pytest.mark.parametrize(
    ("param", "fields", "says"),
    [
        ("prompt", {"prompt": ["a", "b"]}, "send 2 requests"),
        ("prompt", {"prompt": [1, 2]}, "no tokens"),
        ("prompt", {"prompt": [5]}, "no tokens"),
        ("prompt", {"prompt": [[1, 2]]}, "no tokens"),
        ("prompt", {"prompt": [[1], [2]]}, "no tokens"),
        ("prompt", {"prompt": ""}, "not empty"),
        ("prompt", {"prompt": [""]}, "not empty"),
        ("suffix", {"suffix": "x"}, "absent or empty"),
        ("echo", {"echo": True}, "false or absent"),
        ("best_of", {"best_of": 2}, "1 or absent"),
    ],
)
def test_what_no_chat_can_do_is_refused_by_name(
    param: str, fields: dict[str, Any], says: str
) -> None:
    check(request(**fields))
    with pytest.raises(Untranslatable, match=says) as refused:
        to_chat(request(**fields))
    assert refused.value.param == param
    assert refused.value.message.startswith(f"`{param}` must be ")


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("model", {"model": ""}),
        *each("prompt", None, [], 5, {}, ["x"] * 2049, [1, "x"]),
        ("prompt[1]", {"prompt": ["x", 5]}),
        ("prompt[0]", {"prompt": [["x"]]}),
        ("suffix", {"suffix": 5}),
        ("echo", {"echo": 1}),
        ("best_of", {"best_of": 0}),
        ("best_of", {"best_of": True}),
        ("logprobs", {"logprobs": True}),
        ("logprobs", {"logprobs": 6}),
        ("n", {"n": 0}),
        ("max_tokens", {"max_tokens": "5"}),
        ("stop[0]", {"stop": [5]}),
        ("stream", {"stream": "true"}),
        ("stream_options", {"stream_options": {}}),
        ("logit_bias", {"logit_bias": {"1": 101}}),
    ],
)
def test_wrong_field_is_named(param: str, fields: dict[str, Any]) -> None:
    with pytest.raises(Untranslatable) as refused:
        check(request(**fields))
    assert refused.value.param == param
    assert refused.value.message.startswith(f"`{param}`")


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_arbitrary_json_becomes_a_chat_or_is_refused(fields: dict[str, Any]) -> None:
    became = []
    for asked in (fields, request(**fields), {**fields, "model": "m", "prompt": "x"}):
        with contextlib.suppress(Untranslatable):
            check(asked)
            body, warnings = to_chat(asked)
            became.append(body)
            assert all(warning.isascii() for warning in warnings)
    for body in became:
        chat_checks.check(body)
