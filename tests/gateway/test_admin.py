"""The administration over HTTP: who may, what is changed, and that each change is recorded."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from droveway.contracts.access import Admin, Role, Tenant
from droveway.contracts.admission import (
    LimitStanding,
    StandingReported,
    standing_decoder,
    standing_subject,
)
from droveway.contracts.config import Config
from droveway.contracts.envelope import encode
from droveway.gateway.admin.endpoints import ENDPOINTS, Endpoint
from droveway.runtime.api_key import hash_key, make_key, parse_key
from tests.support.access import delete_stream, fill_trail, make_streams
from tests.support.nats import NatsServer, droveway_config, nats, serving  # noqa: F401
from tests.support.running_gateway import RunningGateway, running_gateway

ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
KEYS = {role: make_key("admin") for role in ROLES}
CLIENT = make_key("test")
CLIENT_ID = parse_key(CLIENT).id
LIVE_WITHIN_S = 1.0


def config(*, admins: bool = True) -> Config:
    base = droveway_config("http://127.0.0.1:9/v1", key=CLIENT)
    made = tuple(Admin(id=f"the-{role}", sha256=hash_key(KEYS[role]), role=role) for role in ROLES)
    return msgspec.structs.replace(
        base, admins=made if admins else (), tenants=(Tenant(id="filed"),)
    )


class Api:
    """Asks as one admin; clients are asked for with their keys."""

    def __init__(self, gateway: RunningGateway, client: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self._client = client

    async def __call__(
        self, method: str, path: str, body: Any = None, status: int = 200, match: str | None = None
    ) -> Any:
        """What is answered with that status."""
        answer = await self.raw(method, path, body, match)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def raw(
        self, method: str, path: str, body: Any = None, match: str | None = None
    ) -> httpx.Response:
        headers = {} if match is None else {"if-match": match}
        options: dict[str, Any] = {} if body is None else {"json": body}
        url = f"/admin/v1/{path}"
        return await self._client.request(method, url, headers=headers, **options)

    async def etag(self, path: str) -> str:
        return (await self.raw("GET", path)).headers["etag"]

    async def code(self, secret: str, **headers: str) -> str:
        """How a client's key fares: `ok`, or the error's code."""
        async with self.gateway.client(secret) as client:
            answer = await client.get("/v1/models", headers=headers)
        return "ok" if answer.is_success else answer.json()["error"]["code"]

    async def until(self, secret: str, code: str) -> float:
        """Waits until the key fares so; the seconds that it took."""
        began_s = time.monotonic()
        while await self.code(secret) != code:
            assert time.monotonic() - began_s < 5
        return time.monotonic() - began_s


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with serving(tmp_path_factory.mktemp("nats")) as server:
        asyncio.run(make_streams(server))
        yield server


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[NatsServer]:
    with serving(tmp_path / "nats") as server:
        asyncio.run(make_streams(server))
        yield server


@asynccontextmanager
async def served(
    broker: NatsServer, folder: Path, role: Role = "admin", **settings: str
) -> AsyncIterator[Api]:
    async with (
        running_gateway(broker, folder, config(), **settings) as gateway,
        gateway.client(KEYS[role]) as client,
    ):
        yield Api(gateway, client)


@pytest.fixture
async def api(broker: NatsServer, tmp_path: Path) -> AsyncIterator[Api]:
    async with served(broker, tmp_path) as api:
        yield api


def path_of(endpoint: Endpoint, entry_id: str = "nobody") -> str:
    return endpoint.path.format(id=entry_id)


async def test_without_an_admin_there_is_no_administration(
    broker: NatsServer, tmp_path: Path
) -> None:
    async with running_gateway(broker, tmp_path, config(admins=False)) as gateway:
        for key in (KEYS["admin"], CLIENT, ""):
            async with gateway.client(key) as client:
                for endpoint in ENDPOINTS:
                    answer = await client.request(endpoint.method, f"/admin/v1/{path_of(endpoint)}")
                    assert answer.status_code == 404
                    assert answer.json()["error"]["code"] == "unknown_url"


async def test_each_role_may_do_its_own_and_what_lower_ones_may(api: Api) -> None:
    for own in ROLES:
        async with api.gateway.client(KEYS[own]) as client:
            for endpoint in ENDPOINTS:
                answer = await client.request(endpoint.method, f"/admin/v1/{path_of(endpoint)}")
                told = answer.json().get("error", {}).get("code")
                may = ROLES.index(own) >= ROLES.index(endpoint.role)
                assert (told == "insufficient_role") is not may, (own, endpoint.name)
                assert answer.status_code != 403 or not may


async def test_who_pays_is_changed_by_an_admin_only(api: Api) -> None:
    made = await api("POST", "keys", {}, 201)
    path = f"/admin/v1/keys/{made['id']}"
    async with api.gateway.client(KEYS["operator"]) as client:
        for body, status in (
            ({"budgets": []}, 403), ({"tenant": "other"}, 403), ({"nats_user": ""}, 403),
            ({"models": ["gpt-*"]}, 200),
        ):  # fmt: skip
            answer = await client.patch(path, json=body, headers={"if-match": "*"})
            assert answer.status_code == status, body


async def test_an_operators_key_gets_round_no_budget(api: Api) -> None:
    await api("POST", "tenants", {"id": "stored"}, 201)
    while len((await api("GET", "tenants"))["data"]) < 2:
        pass
    user = "U" + "A" * 55
    async with api.gateway.client(KEYS["operator"]) as client:
        for body, param in (
            ({"tenant": "nobody"}, "tenant"), ({"budgets": [{"usd": 1}]}, "budgets"),
            ({"nats_user": user}, "nats_user"),
        ):  # fmt: skip
            error = (await client.post("/admin/v1/keys", json=body)).json()["error"]
            assert (error["code"], error["param"]) == ("insufficient_role", param)
            assert "the role admin" in error["message"]
        for tenant in ("default", "filed", "stored"):
            answer = await client.post("/admin/v1/keys", json={"tenant": tenant})
            assert answer.status_code == 201, answer.text
    await api("POST", "keys", {"tenant": "nobody", "budgets": [{"usd": 1}]}, 201)


async def test_a_tenant_has_its_own_rate_until_it_is_taken_back(api: Api) -> None:
    made = await api("POST", "tenants", {"id": "chinese", "usd_cny": 7.1}, 201)
    assert made["usd_cny"] == 7.1
    changed = await api("PATCH", "tenants/chinese", {"usd_cny": None}, match="*")
    assert changed["usd_cny"] is None
    refused = await api("PATCH", "tenants/chinese", {"usd_cny": 0}, status=400, match="*")
    assert refused["error"]["param"] == "usd_cny"


async def test_a_tenant_that_keys_name_is_not_deleted(api: Api) -> None:
    await api("POST", "tenants", {"id": "used"}, 201)
    made = await api("POST", "keys", {"tenant": "used"}, 201)
    await api.until(made["key"], "ok")
    await api("PATCH", "tenants/used", {"state": "disabled"}, match="*")
    error = (await api("DELETE", "tenants/used", status=409, match="*"))["error"]
    assert error["code"] == "tenant_in_use"
    assert made["id"] in error["message"]
    assert await api.until(made["key"], "tenant_disabled") < LIVE_WITHIN_S
    await api("DELETE", f"keys/{made['id']}", match="*")
    await api.until(made["key"], "invalid_api_key")
    await api("DELETE", "tenants/used", match="*")


async def test_one_admin_cannot_flood_the_trail(broker: NatsServer, tmp_path: Path) -> None:
    async with served(broker, tmp_path, admin_changes_per_s="1") as api:
        answers = [await api.raw("PATCH", "keys/nobody", {}, match="*") for _ in range(6)]
        assert [one.status_code for one in answers] == [404] * 5 + [429]
        assert answers[-1].json()["error"]["code"] == "rate_limit_exceeded"
        assert "1 changes a second, 5 at once" in answers[-1].json()["error"]["message"]
        assert answers[-1].headers["retry-after"] == "1"
        await api("GET", "keys")
        async with api.gateway.client(KEYS["operator"]) as client:
            assert (await client.post("/admin/v1/keys", json={})).status_code == 201


async def test_a_large_entry_is_refused_with_the_bound(api: Api) -> None:
    models = [f"{number:0200}" for number in range(100)]
    error = (await api("POST", "keys", {"models": models}, 400))["error"]
    assert error["code"] == "invalid_request"
    assert "at most 16384 are kept" in error["message"]
    error = (await api("POST", "keys", {"models": models * 2}, 413))["error"]
    assert "may have 32768 bytes" in error["message"]


@pytest.mark.parametrize(
    "key", ["", CLIENT, make_key("admin"), "short"], ids=["none", "client", "unknown", "short"]
)
async def test_only_admins_keys_open_it(api: Api, key: str) -> None:
    async with api.gateway.client(key) as client:
        answer = await client.get("/admin/v1/keys")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"]["message"] == "Incorrect API key provided"


async def test_an_admins_key_is_no_clients(api: Api) -> None:
    assert await api.code(KEYS["admin"]) == "invalid_api_key"


async def test_guessing_is_slowed(broker: NatsServer, tmp_path: Path) -> None:
    async with (
        served(broker, tmp_path, failed_logins_per_s="1") as api,
        api.gateway.client("guess") as client,
    ):
        codes = {(await client.get("/admin/v1/keys")).status_code for _ in range(7)}
    assert codes == {401, 429}


async def test_a_key_lives_from_its_making_to_its_end(api: Api) -> None:
    made = await api("POST", "keys", {"tenant": "acme", "limits": [{"requests": 5}]}, 201)
    secret, path = made["key"], f"keys/{made['id']}"
    assert parse_key(secret).id == made["id"]
    assert await api.until(secret, "ok") < LIVE_WITHIN_S
    shown = await api("GET", path)
    assert "key" not in shown
    assert hash_key(secret) not in str(shown)
    assert (shown["tenant"], shown["source"], shown["limits"]) == (
        "acme", "store", [{"requests": 5}],
    )  # fmt: skip
    changed = await api("PATCH", path, {"state": "disabled"}, match=await api.etag(path))
    assert changed["state"] == "disabled"
    assert changed["limits"] == [{"requests": 5}]
    assert await api.until(secret, "key_disabled") < LIVE_WITHIN_S
    await api("PATCH", path, {"state": "active"}, match="*")
    await api.until(secret, "ok")
    await api("DELETE", path, match="*")
    assert await api.until(secret, "invalid_api_key") < LIVE_WITHIN_S
    await api("GET", path, status=404)


async def test_a_rotated_keys_former_secret_is_good_for_the_overlap(api: Api) -> None:
    made = await api("POST", "keys", {}, 201)
    path = f"keys/{made['id']}"
    rotated = await api("POST", f"{path}/rotate", {"overlap_s": 60}, match="*")
    await api.until(rotated["key"], "ok")
    assert parse_key(rotated["key"]).id == made["id"]
    assert await api.code(made["key"]) == "ok"
    last = await api("POST", f"{path}/rotate", {"overlap_s": 0}, match="*")
    await api.until(last["key"], "ok")
    assert await api.code(made["key"]) == "invalid_api_key"
    assert await api.code(rotated["key"]) == "invalid_api_key"
    assert (await api("GET", path))["previous_until"] == ""


async def test_of_two_admins_one_does_not_overwrite_the_other(api: Api) -> None:
    made = await api("POST", "keys", {}, 201)
    path = f"keys/{made['id']}"
    etag = await api.etag(path)
    answers = await asyncio.gather(
        *(api.raw("PATCH", path, {"tenant": f"t{n}"}, match=etag) for n in range(4))
    )
    assert sorted(one.status_code for one in answers) == [200, 412, 412, 412]
    assert {one.json()["error"]["code"] for one in answers if one.status_code == 412} == {
        "revision_changed"
    }
    for match, status in ((None, 428), ("17", 412), ('"0"', 412)):
        await api("PATCH", path, {"state": "disabled"}, status, match=match)
        await api("DELETE", path, status=status, match=match)
        await api("PUT", f"{path}/limits", {"limits": []}, status, match=match)
        await api("POST", f"{path}/credit", {"usd": 1}, status, match=match)
        await api("POST", f"{path}/rotate", {}, status, match=match)
    assert (await api("GET", path))["state"] == "active"


async def test_what_stands_in_the_file_is_seen_and_not_changed(api: Api) -> None:
    for path, noun in ((f"keys/{CLIENT_ID}", "key"), ("tenants/filed", "tenant")):
        answer = await api.raw("GET", path)
        assert answer.json()["source"] == "file"
        assert "etag" not in answer.headers
        await api("PATCH", path, {"state": "disabled"}, 409, match="*")
        await api("DELETE", path, status=409, match="*")
        told = await api("PUT", f"{path}/budgets", {"budgets": []}, 409, match="*")
        assert told["error"]["code"] == "read_only_entry", noun
    await api("POST", "keys", {"id": CLIENT_ID}, 409)
    await api("POST", "keys", {"sha256": hash_key(CLIENT)}, 409)
    await api("POST", "tenants", {"id": "filed"}, 409)


async def test_a_key_that_a_client_has_already_is_taken_by_its_hash(api: Api) -> None:
    foreign = "sk-holysheep-0123456789abcdef"
    made = await api("POST", "keys", {"id": "foreign", "sha256": hash_key(foreign)}, 201)
    assert made["key"] is None
    assert await api.until(foreign, "ok") < LIVE_WITHIN_S
    await api("POST", "keys", {"sha256": hash_key(foreign)}, 409)
    await api("DELETE", "keys/foreign", match="*")


async def test_limits_budgets_and_credit_are_set_and_read(api: Api) -> None:
    await api("POST", "tenants", {"id": "acme", "name": "Acme"}, 201)
    made = await api("POST", "keys", {}, 201)
    for path in ("tenants/acme", f"keys/{made['id']}"):
        limits = [{"requests": 5, "window_s": 1.5}, {"tokens": 100, "model": "gpt-*"}]
        await api("PUT", f"{path}/limits", {"limits": limits}, match="*")
        assert (await api("GET", f"{path}/limits"))["limits"] == limits
        await api("PUT", f"{path}/budgets", {"budgets": [{"usd": 5, "period": "day"}]}, match="*")
        await api("POST", f"{path}/credit", {"usd": 10}, match="*")
        await api("POST", f"{path}/credit", {"usd": 0.5}, match="*")
        expected = [{"usd": 5.0, "period": "day"}, {"usd": 10.5, "period": "total"}]
        assert (await api("GET", f"{path}/budgets"))["budgets"] == expected
    await api("DELETE", "tenants/acme", match="*")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"limits": [{"requests": 0}]}, "limits[0].requests"),
        ({"limits": [{}]}, "limits[0]"),
        ({"limits": [{"requests": 5}, {"requests": 6}]}, "limits[1].requests"),
        ({"limits": [{"requests": 5, "burst": 6}]}, "limits[0].burst"),
        ({"limits": [{"requests": 5, "window_s": 0}]}, "limits[0].window_s"),
        ({"limits": [{"requests": 5, "speed": 1}]}, "limits[0]"),
        ({"budgets": [{"usd": 0}]}, "budgets[0].usd"),
        ({"budgets": [{"usd": 1}, {"usd": 2}]}, "budgets[1].period"),
        ({"budgets": [{"usd": 1, "period": "year"}]}, "budgets[0].period"),
        ({"budgets": [{"usd": 1, "soft": [1]}]}, "budgets[0].soft[0]"),
        ({"expires": "tomorrow"}, "expires"),
        ({"addresses": ["10.0.0.1/8"]}, "addresses[0]"),
        ({"models": ["x*y"]}, "models[0]"),
        ({"state": "revoked"}, "state"),
        ({"id": "Big Corp"}, "id"),
        ({"sha256": "abc"}, "sha256"),
        ({"key": "dw_live"}, None),
        ({"environment": "Live"}, "environment"),
    ],
    ids=str,
)
async def test_what_cannot_be_is_refused_by_its_field(
    api: Api, body: dict[str, Any], param: str | None
) -> None:
    error = (await api("POST", "keys", body, 400))["error"]
    assert error["code"] == "invalid_request"
    assert error["param"] == param, error


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/json", 400), (b"[]", "application/json", 400),
        (b"{", "application/json", 400), (b'{"usd":NaN}', "application/json", 400),
        (b"[" * 5_000, "application/json", 400), (b"{}", "text/plain", 415),
        (b'{"id":"' + b"x" * 200_000 + b'"}', "application/json", 413),
    ],
    ids=lambda value: f"{value!r:.20}",
)  # fmt: skip
async def test_a_body_that_is_none_is_refused(
    api: Api, content: bytes, kind: str, status: int
) -> None:
    async with api.gateway.client(KEYS["admin"]) as client:
        answer = await client.post(
            "/admin/v1/keys", content=content, headers={"content-type": kind}
        )
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("path", ["", "key", "keys/x/y", "keys/x/limits/y", "audit/1"])
async def test_other_paths_are_unknown(api: Api, path: str) -> None:
    answer = await api.raw("POST", path, {})
    assert answer.status_code == 404


@pytest.mark.parametrize("entry_id", ["nobody", "Big%20Corp", "x" * 65, "%2e%2e", "*", ">"])
async def test_an_entry_that_is_not_there_is_404(api: Api, entry_id: str) -> None:
    for method, path, body in (
        ("GET", f"keys/{entry_id}", None),
        ("PATCH", f"tenants/{entry_id}", {}),
        ("GET", f"keys/{entry_id}/standing", None),
        ("POST", f"keys/{entry_id}/rotate", {}),
    ):
        await api(method, path, body, 404, match="*")


async def test_keys_are_listed_in_pages(api: Api) -> None:
    ids = sorted(f"page-{number}" for number in range(5))
    for one in ids:
        await api("POST", "keys", {"id": one, "tenant": "pages"}, 201)
    while len((await api("GET", "keys?tenant=pages"))["data"]) < 5:
        pass
    first = await api("GET", "keys?tenant=pages&limit=3")
    assert [one["id"] for one in first["data"]] == ids[:3]
    assert first["has_more"]
    rest = await api("GET", "keys?tenant=pages&limit=3&after=page-2")
    assert [one["id"] for one in rest["data"]] == ids[3:]
    assert not rest["has_more"]
    for query in ("limit=0", "limit=x", "limit=1001", "limit=1&limit=2", "page=2"):
        await api("GET", f"keys?{query}", status=400)


async def test_the_trail_says_who_changed_what_and_no_hash(api: Api) -> None:
    made = await api("POST", "keys", {}, 201)
    path = f"keys/{made['id']}"
    async with api.gateway.client(KEYS["operator"]) as client:
        answer = await client.patch(
            f"/admin/v1/{path}", json={"state": "disabled"}, headers={"if-match": "*"}
        )
    newest, before = (await api("GET", "audit?limit=2"))["data"]
    event = newest["event"]
    assert event["by"] == {
        "via": "gateway", "id": "the-operator", "role": "operator", "address": "127.0.0.1",
        "request_id": answer.headers["x-request-id"],
    }  # fmt: skip
    assert (event["action"], event["target"]) == ("key.updated", f"key.{made['id']}")
    assert event["before"].get("state", "active") == "active"
    assert event["after"]["state"] == "disabled"
    assert before["event"]["action"] == "key.created"
    assert before["number"] == newest["number"] - 1
    (one,) = (await api("GET", f"audit?limit=1&before={newest['number']}"))["data"]
    assert one == before
    everything = msgspec.json.encode(await api("GET", "audit?limit=1000")).decode()
    assert made["key"] not in everything
    assert hash_key(made["key"]) not in everything


async def test_what_cannot_be_recorded_is_not_done(own_broker: NatsServer, tmp_path: Path) -> None:
    async with served(own_broker, tmp_path) as api:
        made = await api("POST", "keys", {}, 201)
        path = f"keys/{made['id']}"
        await delete_stream(own_broker)
        for method, below, body in (
            ("PATCH", "", {"state": "disabled"}),
            ("DELETE", "", None),
            ("POST", "/credit", {"usd": 1}),
        ):
            told = await api(method, path + below, body, 503, match="*")
            assert told["error"]["code"] == "audit_unavailable"
        shown = await api("GET", path)
        assert (shown["state"], shown["budgets"]) == ("active", [])
        await api("GET", "audit", status=503)


async def test_a_full_trail_stops_no_revocation(own_broker: NatsServer, tmp_path: Path) -> None:
    async with served(own_broker, tmp_path) as api:
        made = await api("POST", "keys", {}, 201)
        path = f"keys/{made['id']}"
        await api.until(made["key"], "ok")
        await fill_trail(own_broker)
        for body in ({"models": ["gpt-*"]}, {"state": "disabled", "models": ["gpt-*"]}):
            told = await api("PATCH", path, body, 503, match="*")
            assert told["error"]["code"] == "audit_unavailable"
        await api("PATCH", path, {"state": "disabled"}, match="*")
        assert await api.until(made["key"], "key_disabled") < LIVE_WITHIN_S
        await api("PATCH", path, {"state": "active"}, 503, match="*")
        await api("DELETE", path, match="*")


async def test_standing_is_what_the_limiter_says(broker: NatsServer, api: Api) -> None:
    path = f"keys/{CLIENT_ID}/standing"
    assert (await api("GET", path, status=503))["error"]["code"] == "limiter_unavailable"

    def on_question(payload: bytes, reply: str) -> None:
        asked = standing_decoder.decode(payload)
        limit = LimitStanding(scope="key", kind="requests", limit=9, used=4, window_ms=60_000)
        report = StandingReported(key_id=asked.key_id, owner="limiter-1", limits=(limit,))
        limiter.publish(reply, encode(report))

    async with broker.bus("limiter") as limiter:
        await limiter.subscribe(standing_subject(0), on_question)
        told = await api("GET", path)
    assert (told["key_id"], told["limits"][0]["used"]) == (CLIENT_ID, 4)


async def test_a_disabled_tenants_keys_are_refused_within_a_second(api: Api) -> None:
    await api("POST", "tenants", {"id": "closing"}, 201)
    made = await api("POST", "keys", {"tenant": "closing"}, 201)
    await api.until(made["key"], "ok")
    await api("PATCH", "tenants/closing", {"state": "disabled"}, match="*")
    assert await api.until(made["key"], "tenant_disabled") < LIVE_WITHIN_S


async def test_a_revocation_is_live_within_a_second_each_time(api: Api) -> None:
    made = await api("POST", "keys", {}, 201)
    await api.until(made["key"], "ok")
    took_s = []
    for state, code in (("disabled", "key_disabled"), ("active", "ok")) * 15:
        await api("PATCH", f"keys/{made['id']}", {"state": state}, match="*")
        took_s.append(await api.until(made["key"], code))
    assert max(took_s) < LIVE_WITHIN_S


async def test_a_key_with_addresses_is_told_from_where_it_came(
    broker: NatsServer, tmp_path: Path
) -> None:
    async with served(broker, tmp_path, trusted_proxies="127.0.0.1") as api:
        made = await api("POST", "keys", {"addresses": ["192.0.2.0/24"]}, 201)
        await api.until(made["key"], "address_not_allowed")
        assert await api.code(made["key"], **{"x-forwarded-for": "192.0.2.7"}) == "ok"
        async with api.gateway.client(made["key"]) as client:
            headers = {"x-forwarded-for": "192.0.2.7, 198.51.100.9"}
            refused = await client.get("/v1/models", headers=headers)
    assert refused.status_code == 403
    assert "198.51.100.9" in refused.json()["error"]["message"]
