"""Legacy completions, which are asked as chat completions."""

from typing import Any

import openai
import pytest

from tests.sdks.openai.client import Client

pytestmark = pytest.mark.sdks


async def complete(sdk: Client, **fields: Any) -> Any:
    """A completion of a prompt."""
    asked = {"model": "numbered-5", "prompt": "hello", **fields}
    asked["model"] = sdk.named(asked["model"])
    return await sdk.call(sdk.raw.completions.create, **asked)


async def streamed(sdk: Client, **fields: Any) -> list[Any]:
    """Its chunks."""
    stream = await complete(sdk, stream=True, **fields)
    if sdk.is_async:
        return [chunk async for chunk in stream]
    return list(stream)


async def test_a_whole_completion_has_all_that_the_sdk_types(sdk: Client) -> None:
    answer = await complete(sdk)
    [choice] = answer.choices
    assert (choice.text, choice.index, choice.finish_reason) == ("t0 t1 t2 t3 t4 ", 0, "stop")
    assert (answer.object, answer.model) == ("text_completion", "numbered-5")
    assert answer.id.startswith("cmpl-")
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


async def test_a_completion_is_cut_at_the_callers_limit(sdk: Client) -> None:
    [choice] = (await complete(sdk, max_tokens=2)).choices
    assert (choice.text, choice.finish_reason) == ("t0 t1 ", "length")


@pytest.mark.parametrize("include_usage", [False, True])
async def test_a_streamed_completion_says_the_same(sdk: Client, include_usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    chunks = await streamed(sdk, **options)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.text for choice in choices) == "t0 t1 t2 t3 t4 "
    assert [one.finish_reason for one in choices if one.finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    if include_usage:
        assert chunks[-1].usage.completion_tokens == 5


async def test_an_error_amid_a_streamed_completion_is_raised(sdk: Client) -> None:
    with pytest.raises(openai.APIError):
        await streamed(sdk, model="fault-cut-after-3")


async def test_what_cannot_be_asked_of_a_chat_model_is_refused_by_name(sdk: Client) -> None:
    for name, value in (("prompt", ["one", "two"]), ("echo", True), ("suffix", "end")):
        with pytest.raises(openai.BadRequestError) as caught:
            await complete(sdk, **{name: value})
        assert caught.value.param == name
