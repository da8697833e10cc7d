"""A configuration is applied while all services run: adopted everywhere, by all or by none."""

import asyncio
import functools
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from droveway.cli.config_adopted import Held, present
from droveway.contracts.config import Config
from droveway.contracts.configuration import ENTRY, version_of
from droveway.contracts.jetstream import CONFIG
from droveway.runtime.bus import Bus, store
from droveway.runtime.config.file import load
from droveway.runtime.config.store import ConfigStore
from tests.support.access import TESTER
from tests.support.flows import CHAT, ask, entries, eventually, numbered, only_first, route
from tests.support.nats import NatsServer, write_droveway_config
from tests.support.otlp import OtlpReceiver, ReceivedSpan
from tests.support.simulator import chat_body
from tests.support.stack import PROVIDER_KEY, Stack, running_stack

SERVICES = 7
"""One of each, with two routers and two callers."""
REPLICAS = {"router": 2, "caller": 2}
SUBJECT = f"$KV.{CONFIG}.{ENTRY}"
VERSION = "droveway.config.version"


def changed(stack: Stack, model: str) -> Config:
    """The file's configuration with a route more: `alias` is `model`."""
    return only_first(load(str(stack.config_path)), route("alias", ("upstream-1", model)))


async def apply(bus: Bus, config: Config) -> str:
    """Applies it as an operator does; its version."""
    configs = ConfigStore(bus)
    written = await configs.apply(await configs.current(), config, TESTER)
    assert written.applied is not None
    return written.applied.version


async def held(bus: Bus) -> list[Held]:
    return list((await present(bus)).values())


async def adopted(bus: Bus, version: str) -> float:
    """How long it takes until all services say that they hold it, in seconds."""
    began_s = time.monotonic()
    async with asyncio.timeout(5):
        while True:
            told = await held(bus)
            if len(told) == SERVICES and all(one.version == version for one in told):
                return max(one.told_s for one in told) - began_s


@asynccontextmanager
async def world(
    nats: NatsServer, folder: Path, **options: Any
) -> AsyncIterator[tuple[Stack, Bus, httpx.AsyncClient]]:
    """A stack, an operator's connection, and a client."""
    async with (
        nats.bus("operator") as bus,
        running_stack(nats, folder, replicas=REPLICAS, **options) as stack,
        stack.client() as client,
    ):
        yield stack, bus, client


def refused(caplog: pytest.LogCaptureFixture, times: int) -> bool:
    """Whether services have refused a configuration so often, and counted that."""
    found = sum(record.message == "config_reload_failed" for record in caplog.records)
    assert found <= times
    return found == times


async def said(client: httpx.AsyncClient) -> str:
    got = await ask(client, chat_body("alias"))
    assert got.status == 200, got.text
    return got.said


async def test_every_service_adopts_what_is_applied_and_keeps_it_over_a_restart(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with world(own_nats, tmp_path) as (stack, bus, client):
        of_file = version_of(load(str(stack.config_path)))
        assert {(one.version, one.revision) for one in await held(bus)} == {(of_file, "0")}
        version = await apply(bus, changed(stack, "numbered-4"))
        assert await adopted(bus, version) < 1.0
        assert await said(client) == numbered(4)
    async with world(own_nats, tmp_path) as (stack, bus, client):
        assert {(one.version, one.revision) for one in await held(bus)} == {(version, "1")}
        file, other = changed(stack, "numbered-5"), changed(stack, "numbered-6")
        write_droveway_config(stack.config_path, file)
        again = await apply(bus, other)
        assert await adopted(bus, again) < 1.0
        assert await said(client) == numbered(6)
        configs = ConfigStore(bus)
        await configs.release(await configs.current(), TESTER)
        assert await adopted(bus, version_of(file)) < 1.0
        assert await said(client) == numbered(5)


async def test_a_bad_entry_changes_nothing(
    own_nats: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(own_nats, tmp_path) as (stack, bus, client):
        good = await apply(bus, changed(stack, "numbered-4"))
        await adopted(bus, good)
        for count, bad in enumerate((b"nonsense", b"{}"), 1):
            await store(bus, SUBJECT, bad, 2.0)
            await eventually(functools.partial(refused, caplog, count * SERVICES))
            assert {one.version for one in await held(bus)} == {good}
            assert await said(client) == numbered(4)
        # The callers refuse it, who can't resolve it: nobody's requests go there, or elsewhere.
        unresolved = changed(stack, "numbered-6")
        provider = unresolved.providers[0]
        (credential,) = provider.credentials
        credential = msgspec.structs.replace(credential, api_key="${NOWHERE_AT_ALL}")
        provider = msgspec.structs.replace(provider, credentials=(credential,))
        await apply(bus, msgspec.structs.replace(unresolved, providers=(provider,)))
        async with asyncio.timeout(5):
            while sum(one.version == good for one in await held(bus)) != REPLICAS["caller"]:
                pass
        assert await said(client) == numbered(6)
        later = await apply(bus, changed(stack, "numbered-7"))
        assert await adopted(bus, later) < 1.0
        assert await said(client) == numbered(7)


async def test_an_answer_under_way_ends_on_the_provider_that_is_taken_away(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with world(own_nats, tmp_path, simulators=2, token_interval_ms=100) as (
        stack, bus, client,
    ):  # fmt: skip
        body = chat_body("numbered-15", stream=True)
        async with client.stream("POST", CHAT, json=body) as answer:
            lines = answer.aiter_lines()
            async for line in lines:
                if "t1 " in line:
                    break
            config = load(str(stack.config_path))
            second = config.routes[0].tiers[1:]
            routes = (msgspec.structs.replace(config.routes[0], tiers=second),)
            version = await apply(
                bus, msgspec.structs.replace(config, providers=config.providers[1:], routes=routes)
            )
            assert await adopted(bus, version) < 1.0
            assert "data: [DONE]" in [line async for line in lines]
        assert (await ask(client, chat_body("numbered-3"))).said == numbered(3)
        assert [len(one.book.entries) for one in stack.simulators] == [1, 1]


async def test_a_request_has_one_version_in_router_and_caller(
    own_nats: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1")
        async with world(own_nats, tmp_path) as (stack, bus, client):
            asked: set[str] = set()
            versions = []
            for number in range(3, 9):
                version = await apply(bus, changed(stack, f"numbered-{number}"))
                versions.append(version)
                for _ in range(5):  # while some have it and others don't yet
                    trace_id = secrets.token_hex(16)
                    headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
                    got = await ask(client, chat_body("numbered-2"), headers=headers)
                    assert got.status == 200
                    asked.add(trace_id)

            def told() -> dict[str, list[ReceivedSpan]]:
                found: dict[str, list[ReceivedSpan]] = {}
                for span in receiver.spans:
                    if VERSION in span.attributes and span.trace_id.hex() in asked:
                        found.setdefault(span.trace_id.hex(), []).append(span)
                return found

            await eventually(
                lambda: sum(len(spans) == 2 for spans in told().values()) == len(asked)
            )
            for spans in told().values():
                assert len({span.attributes[VERSION] for span in spans}) == 1
            seen = {span.attributes[VERSION] for spans in told().values() for span in spans}
            assert len(seen & set(versions)) > 1


async def test_a_renewed_secret_is_sent_with_the_next_call(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with world(own_nats, tmp_path) as (stack, _bus, client):
        assert (await ask(client, chat_body("numbered-1"))).status == 200
        renewed = PROVIDER_KEY + "-renewed"
        fingerprint = hashlib.sha256(renewed.encode()).hexdigest()[:12]
        async with asyncio.timeout(5):
            while entries(stack)[-1].key_fingerprint != fingerprint:
                (tmp_path / "provider.key").write_text(renewed)
                assert (await ask(client, chat_body("numbered-1"))).status == 200
