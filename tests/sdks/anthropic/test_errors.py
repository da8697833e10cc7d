"""Each error as the SDK's own class, with all that a caller looks at, before and amid a stream."""

from typing import Any

import anthropic
import pytest

from tests.sdks.anthropic.client import Client, opened
from tests.sdks.anthropic.failures import (
    Failure,
    broken,
    check,
    invalid,
    late,
    limited,
    missing,
    overloaded,
    too_large,
    unauthorized,
)
from tests.sdks.server import Book, Droveway

pytestmark = pytest.mark.sdks

CASES = {
    "no-messages": ({"messages": []}, invalid("invalid_request")),
    "negative-limit": ({"max_tokens": -1}, invalid("invalid_request")),
    "provider-404": ({"model": "missing-model"}, missing("model_not_found")),
    "provider-401": ({"model": "fault-401"}, broken("provider_auth_error")),
    "provider-403": ({"model": "fault-403"}, broken("provider_auth_error")),
    "provider-500": ({"model": "fault-500"}, overloaded("provider_unavailable")),
    "provider-529": ({"model": "fault-529"}, overloaded("provider_unavailable")),
    "unreachable": ({"model": "unreachable"}, overloaded("provider_unavailable")),
    "html": ({"model": "fault-html"}, broken("bad_upstream")),
    "reset": ({"model": "fault-reset-before-headers"}, broken("provider_no_response")),
    "silent": ({"model": "silent"}, late("provider_timeout")),
    "all-failed": ({"model": "both-fail"}, overloaded("all_targets_failed")),
}
PASSED_ON = {
    "provider-400": ("fault-400", anthropic.BadRequestError, "invalid_request_error"),
    "provider-413": ("fault-413", anthropic.RequestTooLargeError, "request_too_large"),
    "provider-429": ("fault-429", anthropic.RateLimitError, "rate_limit_error"),
}
"""The provider's own refusals, which keep its words and its code."""
MIDSTREAM = {
    "reset": ("fault-cut-after-3", "api_error", "stream_interrupted"),
    "cut": ("fault-fin-after-3", "api_error", "stream_interrupted"),
    "clean-end": ("fault-end-after-3", "api_error", "stream_interrupted"),
    "stalled": ("stalls", "timeout_error", "stream_stalled"),
}


@pytest.mark.parametrize(("fields", "failure"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_request_fails_as_the_sdks_own_class(
    sdk: Client, fields: dict[str, Any], failure: Failure, stream: bool
) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await (sdk.stream if stream else sdk.message)(**fields)
    check(caught.value, failure)


@pytest.mark.parametrize(("model", "error", "kind"), PASSED_ON.values(), ids=PASSED_ON)
async def test_a_providers_refusal_is_passed_on(
    sdk: Client, model: str, error: type[anthropic.APIStatusError], kind: str
) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await sdk.message(model=model)
    assert (type(caught.value), caught.value.type) == (error, kind)
    assert caught.value.body["error"]["message"]
    assert caught.value.request_id.startswith("req_")


@pytest.mark.parametrize(
    ("key", "code"),
    [("sk-unknown", "invalid_api_key"), ("disabled", "key_disabled")],
    ids=["unknown", "disabled"],
)
async def test_a_key_that_does_not_open_is_an_authentication_error(
    server: Droveway, flavour: str, key: str, code: str
) -> None:
    async with opened(flavour, server, api_key=server.keys.get(key, key)) as client:
        for ask in (client.message, client.stream, client.count, client.models):
            with pytest.raises(anthropic.APIStatusError) as caught:
                await ask()
            check(caught.value, unauthorized(code))


async def test_a_model_that_the_key_may_not_use_is_not_found(
    server: Droveway, flavour: str
) -> None:
    async with opened(flavour, server, api_key=server.keys["narrow"]) as client:
        for ask in (client.message, client.count):
            with pytest.raises(anthropic.APIStatusError) as caught:
                await ask()
            check(caught.value, missing("model_not_found"))
        assert [model.id for model in await client.models()] == ["sim-small"]


async def test_a_rate_limited_client_waits_as_told_and_passes(
    server: Droveway, flavour: str
) -> None:
    key = server.keys[f"limited-{flavour}"]
    async with opened(flavour, server, api_key=key) as client:
        raw, _ = await client.raw_message()
        assert raw.headers["anthropic-ratelimit-requests-remaining"] == "0"
        with pytest.raises(anthropic.RateLimitError) as caught:
            await client.message()
    headers = check(caught.value, limited("rate_limit_exceeded"))
    assert 500 < int(headers["retry-after-ms"]) <= 1_100
    assert int(headers["retry-after"]) in (1, 2)
    # The SDK's own first wait is half a second at most: one retry passes only by the header.
    async with opened(flavour, server, api_key=key, max_retries=1) as client:
        raw, message = await client.raw_message()
    assert raw.retries_taken == 1
    assert message.stop_reason == "end_turn"


async def test_a_body_beyond_the_limit_is_told_so(sdk: Client, server: Droveway) -> None:
    large = "x" * (server.max_body_bytes + 1)
    with pytest.raises(anthropic.APIStatusError) as caught:
        await sdk.message(messages=[{"role": "user", "content": large}])
    check(caught.value, too_large("request_too_large"))


@pytest.mark.parametrize(("model", "kind", "code"), MIDSTREAM.values(), ids=MIDSTREAM)
async def test_an_error_amid_a_stream_is_raised_after_what_was_said(
    sdk: Client, model: str, kind: str, code: str
) -> None:
    whole = (await sdk.message(model="sim-small")).content[0].text
    streamed = await sdk.stream(model=model)
    assert len(streamed.deltas("text_delta")) == 3
    assert whole.startswith(streamed.text())
    assert streamed.of("message_stop") == []
    assert streamed.error is not None
    assert (streamed.error.status_code, streamed.error.type) == (200, kind)
    assert streamed.error.body["error"]["details"]["error_code"] == code
    assert streamed.error.body["request_id"] == streamed.request_id


async def test_a_providers_error_amid_a_stream_is_raised(sdk: Client) -> None:
    streamed = await sdk.stream(model="fault-error-after-3")
    assert len(streamed.deltas("text_delta")) == 3
    assert streamed.error is not None
    assert streamed.error.body["error"]["message"]
    with pytest.raises(anthropic.APIStatusError):
        await sdk.helper(model="fault-error-after-3")


async def test_a_providers_passing_error_is_tried_again_by_the_sdk(
    server: Droveway, flavour: str, upstream: str, book: Book
) -> None:
    async with opened(flavour, server, upstream, max_retries=1) as client:
        raw, _ = await client.raw_message(model="fault-503+times-1")
    assert raw.retries_taken == 1
    assert [entry["status"] for entry in book.entries()] == [503, 200]


@pytest.mark.parametrize("model", ["rescued", "rescued-elsewhere"])
async def test_a_second_target_serves_without_the_sdk_noticing(
    sdk: Client, book: Book, model: str
) -> None:
    raw, message = await sdk.raw_message(model=model)
    assert raw.headers["x-droveway-attempts"] == "2"
    assert message.content[0].text == "t0 t1 t2 t3 t4 "
    assert (await sdk.stream(model=model)).text() == "t0 t1 t2 t3 t4 "
    assert [entry["model"] for entry in book.entries()] == ["fault-500", "numbered-5"] * 2


async def test_a_server_that_is_not_there_is_a_connection_error(
    server: Droveway, flavour: str
) -> None:
    async with opened(flavour, server, base_url="http://127.0.0.1:9") as client:
        with pytest.raises(anthropic.APIConnectionError):
            await client.message()
