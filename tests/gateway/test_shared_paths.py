"""Paths that several APIs have: who is answered in which API's words."""

from typing import Any

import httpx
import pytest

from droveway.runtime.api_key import make_key
from tests.support.gateway_app import config_of, gateway_client
from tests.support.nats import NatsServer, nats  # noqa: F401

KEY = make_key("test")
OPENAI = {"authorization": f"Bearer {KEY}"}
ANTHROPIC_1 = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
ANTHROPIC_2 = {"authorization": f"Bearer {KEY}", "anthropic-version": "2026-10-21"}
NOBODY = {"anthropic-version": "2026-10-21"}
BOTH_MAJORS = pytest.mark.parametrize("headers", [ANTHROPIC_1, ANTHROPIC_2], ids=["1", "2"])


async def _ask(
    server: NatsServer, method: str, path: str, headers: dict[str, str]
) -> httpx.Response:
    async with gateway_client(server, config_of(KEY, "gpt-5")) as client:
        return await client.request(method, path, headers=headers)


def _is_anthropics(answer: httpx.Response) -> bool:
    """By its headers; and by its body, if it is an error."""
    named: bool = answer.headers.get("request-id") == answer.headers["x-request-id"]
    assert named != ("openai-version" in answer.headers)
    told = answer.json()
    if "error" in told:
        assert (told.get("type") == "error" and "request_id" in told) == named
        assert ("param" in told["error"]) != named
    return named


@BOTH_MAJORS
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-5"])
async def test_models_are_told_to_whoever_asks_in_its_own_words(
    nats: NatsServer,  # noqa: F811
    path: str,
    headers: dict[str, str],
) -> None:
    for_openai = await _ask(nats, "GET", path, OPENAI)
    for_anthropic = await _ask(nats, "GET", path, headers)
    assert (for_openai.status_code, for_anthropic.status_code) == (200, 200)
    assert not _is_anthropics(for_openai)
    assert _is_anthropics(for_anthropic)
    assert for_openai.json() == for_anthropic.json(), "the keys of both"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "kind"),
    [
        ("GET", "/v1/models/none", ANTHROPIC_2, 404, "not_found_error"),
        ("GET", "/v1/models", NOBODY, 401, "authentication_error"),
        ("POST", "/v1/models", ANTHROPIC_1, 405, "invalid_request_error"),
        ("GET", "/v1/files", ANTHROPIC_2, 404, "not_found_error"),
        ("GET", "/v1/messages", ANTHROPIC_2, 405, "invalid_request_error"),
        ("GET", "/v1/messages", OPENAI, 405, "invalid_request_error"),
        ("GET", "/v1/messages?conversation_id=1&user=a", OPENAI, 405, "invalid_request_error"),
        ("GET", "/v1/messages/count_tokens", OPENAI, 405, "invalid_request_error"),
        ("POST", "/v1/messages/batches", OPENAI, 404, "not_found_error"),
        ("POST", "/v1/messages", OPENAI, 415, "invalid_request_error"),
    ],
)
async def test_an_error_is_anthropics_by_its_path_or_by_the_version_that_is_asked_for(
    nats: NatsServer,  # noqa: F811
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    kind: str,
) -> None:
    answer = await _ask(nats, method, path, headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert _is_anthropics(answer)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("GET", "/v1/models/none", OPENAI, 404, "model_not_found"),
        ("GET", "/v1/models", {}, 401, "invalid_api_key"),
        ("GET", "/v1/files", OPENAI, 404, "unknown_url"),
        ("POST", "/v1/files/upload", OPENAI, 404, "unknown_url"),
        ("GET", "/v1/conversations", OPENAI, 404, "unknown_url"),
        ("POST", "/v1/chat-messages", OPENAI, 404, "unknown_url"),
        ("GET", "/v1/chat/completions", ANTHROPIC_2, 405, "method_not_allowed"),
        ("GET", "/v1/responses", ANTHROPIC_2, 405, "method_not_allowed"),
    ],
)
async def test_every_other_error_is_openais(
    nats: NatsServer,  # noqa: F811
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    answer = await _ask(nats, method, path, headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert not _is_anthropics(answer)


async def test_a_wrong_method_is_told_with_the_right_one(
    nats: NatsServer,  # noqa: F811
) -> None:
    answer = await _ask(nats, "GET", "/v1/messages", ANTHROPIC_2)
    told: dict[str, Any] = answer.json()["error"]
    assert answer.headers["allow"] == "POST"
    assert told["message"] == "GET is not allowed for /v1/messages, but POST."
    assert told["details"] == {"error_code": "method_not_allowed"}
