"""What a key has used, over HTTP: its own to a client, all to an admin, and nobody else's."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from droveway.contracts.access import Admin
from droveway.contracts.config import Config
from droveway.gateway.doors.kept_answers import KeptAnswers
from droveway.gateway.openapi.document import document
from droveway.metrics.ledger.database import Database
from droveway.metrics.reports.desk import ReportDesk
from droveway.metrics.reports.rates import LiveRates
from droveway.metrics.streams import StreamWatch
from droveway.runtime.api_key import hash_key, make_key, parse_key
from droveway.runtime.consumer import Consumer
from droveway.runtime.reports import ReportUnavailable, month_of
from tests.support.access import make_streams
from tests.support.ledger_tables import attempt, fill, new_database, request
from tests.support.nats import NatsServer, droveway_config, nats, serving  # noqa: F401
from tests.support.running_gateway import RunningGateway, running_gateway

CLIENT, ADMIN, NOBODY = make_key("test"), make_key("admin"), make_key("test")
CLIENT_ID = parse_key(CLIENT).id
PATHS = ("/api/cost", "/api/stats")


def config(*, admins: bool = True) -> Config:
    made = (Admin(id="vera", sha256=hash_key(ADMIN), role="viewer"),) if admins else ()
    base = droveway_config("http://127.0.0.1:9/v1", key=CLIENT)
    return msgspec.structs.replace(base, admins=made)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with serving(tmp_path_factory.mktemp("nats")) as server:
        asyncio.run(make_streams(server))
        yield server


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Database]:
    now_ms = time.time_ns() // 1_000_000
    database = await new_database(tmp_path)
    mine = attempt(key_id=CLIENT_ID, stored_ms=now_ms, cost_nano_usd=2_000_000)
    theirs = attempt(
        key_id="k2", stored_ms=now_ms, outcome="failed", status=504, code="provider_timeout",
        cost_nano_usd=5_000_000,
    )  # fmt: skip
    await fill(database, [mine, theirs], [request(mine), request(theirs)])
    yield database
    await database.close()


@asynccontextmanager
async def metrics(broker: NatsServer, database: Database) -> AsyncIterator[ReportDesk]:
    async with broker.bus("metrics") as bus, asyncio.TaskGroup() as tasks:
        served = config()
        desk = ReportDesk(
            bus, database, StreamWatch(bus), LiveRates(served), Consumer("report", tasks, 4), 5.0,
            1_000,
        )  # fmt: skip
        desk.configure(served)
        await desk.listen()
        yield desk


@pytest.fixture
async def gateway(broker: NatsServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(broker, tmp_path, config()) as running:
        yield running


async def get(gateway: RunningGateway, key: str, path: str, status: int = 200) -> Any:
    async with gateway.client(key) as client:
        answer = await client.get(path)
    assert answer.status_code == status, answer.text
    told = answer.json()
    if status == 200:
        assert answer.headers["cache-control"] == "no-store"
        name = path.partition("?")[0]
        content = document()["paths"][name]["get"]["responses"]["200"]["content"]
        schema = content["application/json"]["schema"] | {"components": document()["components"]}
        jsonschema.Draft202012Validator(schema).validate(told)
    return told if status == 200 else told["error"]["code"]


async def test_a_key_sees_what_it_has_cost(
    broker: NatsServer, ledger: Database, gateway: RunningGateway
) -> None:
    async with metrics(broker, ledger):
        found = await get(gateway, CLIENT, "/api/cost")
    since = month_of(time.time_ns() // 1_000_000)
    assert found.pop("until") > found["since"]
    assert found == {
        "object": "cost",
        "key_id": CLIENT_ID,
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since / 1000)),
        "total_requests": 1,
        "total_tokens": 1_100,
        "estimated_cost_usd": 0.002,
        "estimated_cost_cny": pytest.approx(0.0146),
    }


async def test_an_admin_sees_all_keys_or_one(
    broker: NatsServer, ledger: Database, gateway: RunningGateway
) -> None:
    async with metrics(broker, ledger):
        found = await get(gateway, ADMIN, "/api/cost")
        one = await get(gateway, ADMIN, "/api/cost?key_id=k2")
        none = await get(gateway, ADMIN, "/api/cost?key_id=k3&since=2026-11-01")
    assert [(row["key_id"], row["estimated_cost_usd"]) for row in found["data"]] == [
        ("k2", 0.005), (CLIENT_ID, 0.002),
    ]  # fmt: skip
    assert (found["total_requests"], found["estimated_cost_usd"]) == (2, 0.007)
    assert (found["has_more"], one["object"], one["key_id"]) == (False, "cost", "k2")
    assert (one["estimated_cost_usd"], none["total_requests"]) == (0.005, 0)


async def test_a_dashboard_is_its_keys_or_an_admins(
    broker: NatsServer, ledger: Database, gateway: RunningGateway
) -> None:
    async with metrics(broker, ledger):
        mine = await get(gateway, CLIENT, "/api/stats")
        every = await get(gateway, ADMIN, "/api/stats")
    assert (mine["total_requests"], mine["success_rate"], mine["recent_errors"]) == (1, 100.0, [])
    assert mine["latency"] == dict.fromkeys(("p50", "p95", "p99", "avg", "min", "max"), 901.0)
    assert mine["tokens"] == {"total": 1_100, "avg_per_request": 1_100.0}
    assert "error" not in mine
    assert (every["success_count"], every["error_count"], every["error_rate"]) == (1, 1, 50.0)
    (error,) = every["recent_errors"]
    assert (error["status_code"], error["error_type"]) == (504, "provider_timeout")


async def test_an_empty_dashboard_has_all_fields_and_says_so(
    broker: NatsServer, gateway: RunningGateway, tmp_path: Path
) -> None:
    database = await new_database(tmp_path)
    async with metrics(broker, database):
        found = await get(gateway, CLIENT, "/api/stats")
    await database.close()
    assert found["error"] == "No data available"
    assert (found["total_requests"], found["success_rate"], found["latency"]["p99"]) == (0, 0, 0)


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_sees_nothing_of_others(
    broker: NatsServer, ledger: Database, gateway: RunningGateway, path: str
) -> None:
    async with metrics(broker, ledger):
        own = await get(gateway, CLIENT, f"{path}?key_id={CLIENT_ID}")
        assert own["total_requests"] == 1
        assert await get(gateway, CLIENT, f"{path}?key_id=k2", 403) == "insufficient_role"
        assert await get(gateway, NOBODY, path, 401) == "invalid_api_key"
        assert await get(gateway, "", path, 401) == "invalid_api_key"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("since=yesterday", 400, "invalid_request"),
        ("since=", 400, "invalid_request"),
        ("since=1d&since=2d", 400, "invalid_request"),
        ("tenant=acme", 400, "invalid_request"),
        ("key_id=A%2FB", 404, "not_found"),
    ],
)
async def test_a_wrong_question_is_told(
    gateway: RunningGateway, query: str, status: int, code: str
) -> None:
    for path in PATHS:
        assert await get(gateway, ADMIN, f"{path}?{query}", status) == code


@pytest.mark.parametrize("path", PATHS)
async def test_without_metrics_it_is_503_within_a_second(
    gateway: RunningGateway, path: str
) -> None:
    began_s = time.monotonic()
    assert await get(gateway, CLIENT, path, 503) == "reports_unavailable"
    assert time.monotonic() - began_s < 1


async def test_metrics_that_hang_are_503_within_a_second_for_all_who_wait(
    broker: NatsServer, gateway: RunningGateway
) -> None:
    async with broker.bus("metrics") as bus:
        await bus.subscribe("droveway.v1.report", lambda _payload, _reply: None, queue="metrics")
        began_s = time.monotonic()
        codes = await asyncio.gather(*(get(gateway, CLIENT, "/api/cost", 503) for _ in range(5)))
        assert set(codes) == {"reports_unavailable"}
        assert time.monotonic() - began_s < 1.5


async def test_who_asks_again_at_once_is_answered_from_memory(
    broker: NatsServer, ledger: Database, gateway: RunningGateway
) -> None:
    async with metrics(broker, ledger) as desk:
        answers = [await get(gateway, CLIENT, "/api/cost") for _ in range(20)]
        assert desk.statistics().answered < 10
        assert await get(gateway, ADMIN, "/api/cost") not in answers


async def test_guessed_keys_are_slowed_as_everywhere(broker: NatsServer, tmp_path: Path) -> None:
    async with running_gateway(broker, tmp_path, config(), failed_logins_per_s="1") as gateway:
        codes = []
        for _ in range(10):
            async with gateway.client(make_key("test")) as client:
                codes.append((await client.get("/api/cost")).json()["error"]["code"])
        assert codes[0] == "invalid_api_key"
        assert codes[-1] == "too_many_failed_logins"


async def test_metrics_on_the_client_port_are_an_admins(
    broker: NatsServer, gateway: RunningGateway
) -> None:
    assert await get(gateway, CLIENT, "/api/metrics", 401) == "invalid_api_key"
    assert await get(gateway, "", "/api/metrics", 401) == "invalid_api_key"
    async with gateway.client(ADMIN) as client:
        answer = await client.get("/api/metrics")
        modern = await client.get(
            "/api/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
        )
    assert "ai_api_requests_total" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert modern.text.endswith("# EOF\n")


async def test_metrics_on_the_client_port_are_closed_unless_somebody_may(
    broker: NatsServer, tmp_path: Path
) -> None:
    async with running_gateway(broker, tmp_path, config(admins=False)) as gateway:
        assert await get(gateway, "", "/api/metrics", 404) == "unknown_url"
    async with (
        running_gateway(
            broker, tmp_path, config(admins=False), metrics_addresses="10.0.0.0/8,127.0.0.1"
        ) as gateway,
        gateway.client() as client,
    ):
        assert (await client.get("/api/metrics")).status_code == 200


async def test_an_asker_waits_for_its_own_question_only() -> None:
    kept, asked = KeptAnswers(within_s=0.2, fresh_s=60, max_askers=2), []
    gate = asyncio.Event()

    async def slow() -> bytes:
        asked.append("slow")
        await gate.wait()
        return b"slow"

    async def quick() -> bytes:
        asked.append("quick")
        return b"quick"

    waiting = asyncio.ensure_future(kept.get("a", "q", slow))
    assert await kept.get("b", "q", quick) == b"quick"
    gate.set()
    assert await waiting == b"slow"
    assert await kept.get("a", "q", quick) == b"slow"
    assert await kept.get("a", "other", quick) == b"quick"
    gate.clear()
    for _ in range(2):
        with pytest.raises(ReportUnavailable, match=r"within 0\.2 s"):
            await kept.get("c", "q", slow)
    assert len(kept._askers) == 2
