"""Each error before the first byte as the SDK's own class, with all that a caller looks at."""

from typing import Any

import openai
import pytest

from tests.sdks.openai.client import Client, opened
from tests.sdks.openai.failures import (
    BAD,
    Failure,
    broken,
    check,
    invalid,
    late,
    limited,
    missing,
    too_large,
)
from tests.sdks.server import Droveway

pytestmark = pytest.mark.sdks

CASES = {
    "no-messages": ({"messages": []}, invalid("invalid_request", "messages")),
    "temperature": ({"temperature": 9}, invalid("invalid_request", "temperature")),
    "provider-400": ({"model": "fault-400"}, invalid("provider_rejected")),
    "provider-404": ({"model": "missing-model"}, missing("model_not_found", "model")),
    "provider-413": ({"model": "fault-413"}, too_large("provider_rejected")),
    # 401 and 403 are about the operator's credential, so they mustn't blame the client's.
    "provider-401": ({"model": "fault-401"}, broken(502, "provider_auth_error")),
    "provider-403": ({"model": "fault-403"}, broken(502, "provider_auth_error")),
    "provider-429": ({"model": "fault-429"}, limited("provider_rate_limited")),
    "provider-500": ({"model": "fault-500"}, broken(503, "provider_unavailable")),
    "provider-529": ({"model": "fault-529"}, broken(503, "provider_unavailable")),
    "unreachable": ({"model": "unreachable"}, broken(503, "provider_unavailable")),
    "html": ({"model": "fault-html"}, broken(502, "bad_upstream")),
    "reset": ({"model": "fault-reset-before-headers"}, broken(502, "provider_no_response")),
    "silent": ({"model": "silent"}, late("provider_timeout")),
    "all-failed": ({"model": "both-fail"}, broken(503, "all_targets_failed")),
}


@pytest.mark.parametrize(("fields", "failure"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_request_fails_as_the_sdks_own_class(
    sdk: Client, fields: dict[str, Any], failure: Failure, stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await (sdk.stream if stream else sdk.chat)(**fields)
    check(caught.value, failure)


@pytest.mark.parametrize(
    ("key", "code"),
    [("sk-unknown", "invalid_api_key"), ("disabled", "key_disabled")],
    ids=["unknown", "disabled"],
)
async def test_a_key_that_does_not_open_is_an_authentication_error(
    server: Droveway, flavour: str, key: str, code: str
) -> None:
    failure = Failure(openai.AuthenticationError, 401, code, BAD)
    async with opened(flavour, server, api_key=server.keys.get(key, key)) as client:
        for ask in (client.chat, client.stream, client.models):
            with pytest.raises(openai.APIStatusError) as caught:
                await ask()
            check(caught.value, failure)


async def test_a_model_that_the_key_may_not_use_is_not_found(
    server: Droveway, flavour: str
) -> None:
    async with opened(flavour, server, api_key=server.keys["narrow"]) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat()
        check(caught.value, missing("model_not_found", "model"))
        with pytest.raises(openai.APIStatusError) as caught:
            await client.call(client.raw.models.retrieve, "numbered-5")
        check(caught.value, missing("model_not_found", "model"))
        assert [model.id for model in await client.models()] == ["sim-small"]


async def test_an_endpoint_that_is_not_there_is_not_found(sdk: Client) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.call(sdk.raw.moderations.create, input="x")
    check(caught.value, missing("unknown_url"))


async def test_a_body_beyond_the_limit_is_told_so(sdk: Client, server: Droveway) -> None:
    large = "x" * (server.max_body_bytes + 1)
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat(messages=[{"role": "user", "content": large}])
    check(caught.value, too_large("request_too_large"))
