import logging
from typing import Any

import pytest

from droveway.gateway.app import clean_path
from droveway.runtime.api_key import make_key
from tests.support.gateway_app import config_of, gateway_client
from tests.support.nats import NatsServer, nats  # noqa: F401

KEY = make_key("test")
BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("/v1/models?limit=1", "/v1/models"),
        ("/v1//models", "/v1/models"),
        ("/v1/v1/models", "/v1/models"),
        ("/v1/v1//models", "/v1/models"),
        ("/v1/%6dodels", "/v1/models"),
        ("/v1/models/org%2Fname", "/v1/models/org/name"),
        ("/v1/models/%25252e", "/v1/models/%252e"),
        ("/v1/models/a%20b", "/v1/models/a b"),
        ("*", "*"),
        ("/", "/"),
        ("//v1/models", "/"),
        ("/v1/models//x", "/"),
        ("/v1/models//", "/"),
        ("/v1/./models", "/"),
        ("/v1/models/../chat", "/"),
        ("/v1/models/%2e%2e/chat", "/"),
        ("/v1/models/..", "/"),
        ("/v1/models/a%00b", "/"),
        ("/v1/models/a%0d%0ab", "/"),
        ("/v1/models/a%e2%80%ae", "/"),
        ("/admin/v1/keys", "/admin/v1/keys"),
        ("/admin/v1/keys?after=%20", "/admin/v1/keys"),
        ("/%61dmin/v1/keys", "/"),
        ("/admin%2fv1/keys", "/"),
        ("/admin/v1/keys/k1%2flimits", "/"),
        ("/v1/" + "a" * 1_021, "/"),
    ],
)
def test_a_path_has_one_reading(raw: str, path: str) -> None:
    assert clean_path({"raw_path": raw.encode(), "path": raw}) == path


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/models", 200, None),
        ("GET", "/v1/models/org/name", 200, None),
        ("GET", "/v1/v1/models/", 200, None),
        ("HEAD", "/v1/models", 405, "GET"),
        ("POST", "/v1/models/x", 405, "GET"),
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("OPTIONS", "/v1/nothing", 404, None),
        ("GET", "/v1/batches/*", 404, None),
        ("GET", "/", 404, None),
    ],
)
async def test_a_path_and_its_method_are_answered_and_logged_once(
    nats: NatsServer,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    status: int,
    allow: str | None,
) -> None:
    caplog.set_level(logging.INFO, "droveway")
    async with gateway_client(nats, config_of(KEY)) as client:
        answer = await client.request(method, path, headers=BEARER)
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
    (line,) = request_lines(caplog)
    assert (line["request_id"], line["status"]) == (answer.headers["x-request-id"], status)


async def test_an_unknown_path_is_told_without_its_query(
    nats: NatsServer,  # noqa: F811
) -> None:
    async with gateway_client(nats, config_of(KEY)) as client:
        answer = await client.get("/v1/edits?key=canary", headers=BEARER)
    assert answer.json()["error"] == {
        "message": "Unknown request URL: GET /v1/edits",
        "type": "invalid_request_error",
        "param": None,
        "code": "unknown_url",
    }


async def test_without_a_router_a_request_is_answered_503_in_openai_s_shape(
    nats: NatsServer,  # noqa: F811
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    async with gateway_client(nats, config_of(KEY)) as client:
        answer = await client.post("/v1/chat/completions", headers=BEARER, json=body)
    assert answer.status_code == 503
    assert answer.json()["error"] == {
        "message": "The server is currently unavailable",
        "type": "server_error",
        "param": None,
        "code": "service_unavailable",
    }
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("1", "1000")


async def test_a_request_that_the_http_edge_ends_has_one_line_with_its_status(
    nats: NatsServer,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "droveway")
    headers = {**BEARER, "content-type": "application/json"}
    async with gateway_client(nats, config_of(KEY)) as client:
        answer = await client.post("/v1/chat/completions", headers=headers, content=too_much())
    assert answer.status_code == 413
    (line,) = request_lines(caplog)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["status"], line["code"]) == (413, "request_too_large")


async def too_much() -> Any:
    """21 MiB in chunks, one more than fits."""
    for _ in range(21):
        yield b" " * 1_048_576


def request_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        record.__dict__["fields"]
        for record in caplog.records
        if record.getMessage() in ("request", "http_refused")
    ]
