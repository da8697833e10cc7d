"""The metrics service dies again and again in the midst of its work: no row is lost or repeated."""

import asyncio
import random
from pathlib import Path

from droveway.contracts.envelope import encode
from droveway.contracts.usage import Row, usage_subject
from droveway.metrics.ledger import tables
from droveway.runtime.bus.storing import store
from tests.support.ledgers import all_of, disagreements, opened, sqlite_url
from tests.support.nats import NatsServer, droveway_config, write_droveway_config
from tests.support.processes import ServiceProcess
from tests.support.rows import attempt_row, request_row
from tests.support.steady_port import steady_port

KILLS = 3
ROWS_PER_S = 600


def start(nats: NatsServer, folder: Path, admin_port: int) -> ServiceProcess:
    config = write_droveway_config(folder / "droveway.yaml", droveway_config("http://127.0.0.1:1"))
    variables = {
        **nats.environment("metrics"),
        "DROVEWAY_CONFIG": str(config),
        "DROVEWAY_METRICS_DATABASE": sqlite_url(folder),
        "DROVEWAY_METRICS_ADMIN_PORT": str(admin_port),
        "DROVEWAY_METRICS_PAGE_ROWS": "50",
        "DROVEWAY_METRICS_POLL_S": "0.01",
    }
    return ServiceProcess("metrics", admin_port, 0, variables)


async def until(
    process: ServiceProcess, metric: str, wanted: int, *, at_most: bool = False
) -> None:
    """Returns once a metric has reached a value, or has fallen to it."""
    async with asyncio.timeout(20):
        while True:
            value = await process.value(metric)
            if value <= wanted if at_most else value >= wanted:
                return
            await asyncio.sleep(0.02)


async def test_every_row_counts_once_whenever_metrics_is_killed(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    chance = random.Random(7)
    stored: list[Row] = []
    done = asyncio.Event()

    async def publish() -> None:
        async with own_nats.bus("caller") as bus:
            while not done.is_set():
                for _ in range(ROWS_PER_S // 100):
                    request = request_row()
                    for row in (attempt_row(request), request):
                        stored.append(row)
                        bus.publish(usage_subject("default"), encode(row))
                        if chance.random() < 0.02:  # its confirmation was lost
                            bus.publish(usage_subject("default"), encode(row))
                await asyncio.sleep(0.02)
            await store(bus, usage_subject("default"), encode(stored[0]), 5.0)

    publishing = asyncio.ensure_future(publish())
    port = steady_port()
    for _ in range(KILLS):
        process = start(own_nats, tmp_path, port)
        try:
            await until(process, "droveway_usage_rows_total", 1)
            await asyncio.sleep(chance.uniform(0, 0.3))
        finally:
            process.kill()
    done.set()
    await publishing
    process = start(own_nats, tmp_path, port)
    try:
        await until(process, "droveway_ledger_sequence", len(stored))
        await until(process, "droveway_usage_lag_rows", 0, at_most=True)
        tokens = await process.value('ai_api_upstream_requests_total{destination="openai"')
    finally:
        process.kill()
    async with opened(sqlite_url(tmp_path)) as database:
        attempts = await all_of(database, tables.attempts)
        requests = await all_of(database, tables.requests)
        assert len(attempts) == len(requests) == len(stored) // 2
        assert {row["request_id"] for row in attempts} == {row.request_id for row in stored}
        assert await disagreements(database) == []
        assert tokens == len(attempts)
