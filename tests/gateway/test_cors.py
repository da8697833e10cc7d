import pytest

from droveway.runtime.api_key import make_key
from tests.support.gateway_app import config_of, gateway_client
from tests.support.nats import NatsServer, nats  # noqa: F401

KEY = make_key("test")
PAGE = "https://app.example.com"
ASKS = {"origin": PAGE, "access-control-request-method": "GET"}
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("origins", [(), ("https://other.example.com",)], ids=["none", "other"])
async def test_a_page_that_is_not_listed_gets_nothing(
    nats: NatsServer,  # noqa: F811
    origins: tuple[str, ...],
) -> None:
    async with gateway_client(nats, config_of(KEY, origins=origins)) as client:
        answer = await client.get("/v1/models", headers={"origin": PAGE})
        preflight = await client.options(CHAT, headers=ASKS)
    assert preflight.status_code == 405
    assert preflight.headers["allow"] == "POST"
    for headers in (answer.headers, preflight.headers):
        assert not [name for name in headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("origins", "told"), [((PAGE,), PAGE), (("*",), "*")], ids=["listed", "star"]
)
async def test_a_listed_page_may_ask_and_read(
    nats: NatsServer,  # noqa: F811
    origins: tuple[str, ...],
    told: str,
) -> None:
    async with gateway_client(nats, config_of(KEY, origins=origins)) as client:
        preflight = await client.options(CHAT, headers=ASKS)
        answer = await client.get(
            "/v1/models", headers={"origin": PAGE, "authorization": f"Bearer {KEY}"}
        )
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == told
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert preflight.headers["access-control-max-age"] == "77"
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == told
    assert answer.headers["vary"] == "origin"
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "retry-after-ms", "x-ratelimit-remaining-requests"} <= set(exposed)


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/models", 401), ("/v1/nothing", 404), (CHAT, 405)]
)
async def test_a_listed_page_may_read_errors_too(
    nats: NatsServer,  # noqa: F811
    path: str,
    status: int,
) -> None:
    async with gateway_client(nats, config_of(KEY, origins=(PAGE,))) as client:
        answer = await client.get(path, headers={"origin": PAGE})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE


async def test_options_without_a_requested_method_is_no_preflight(
    nats: NatsServer,  # noqa: F811
) -> None:
    async with gateway_client(nats, config_of(KEY, origins=(PAGE,))) as client:
        answer = await client.options(CHAT, headers={"origin": PAGE})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
