"""All services over a broker of their own, and somebody who may hear and say anything on it."""

import asyncio
import logging
import secrets
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import nkeys
from prometheus_client.parser import text_string_to_metric_families

from droveway.cli import setup
from droveway.cli.data_folder import write_private
from droveway.cli.nats_config import NatsServerSettings
from droveway.cli.nats_server import write_config
from droveway.cli.nats_users import public_key
from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config
from droveway.runtime.api_key import hash_key, make_key
from tests.hostile.world import RecordedLog
from tests.support.flows import Got, ask, numbered
from tests.support.nats import NatsServer, serving
from tests.support.raw_nats import raw_nats
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

WITHIN_S = 15.0
TENANT, OTHER_TENANT = "t.tenant", "t.other"
"""The users of the stack's key and of another one."""
OTHER_KEY = "other0000000"
OTHER_LIMIT = 100
"""Requests of that key per minute."""
SPY = "spy"
"""A user without permissions, so without limits."""


class NatsLog(RecordedLog):
    """What all services log: how often each event, and as what they started."""

    def __init__(self) -> None:
        super().__init__()
        self.events: Counter[str] = Counter()
        self.started: dict[str, dict[str, Any]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        self.events[record.getMessage()] += 1
        if record.getMessage() == "service_started":
            fields: dict[str, Any] = record.__dict__["fields"]
            self.started[fields["name"]] = fields


class NatsWorld:
    """A stack under attack."""

    def __init__(
        self, server: NatsServer, stack: Stack, log: NatsLog, client: httpx.AsyncClient
    ) -> None:
        self.server = server
        self.stack = stack
        self.log = log
        self.client = client

    def instance(self, service: str) -> str:
        """The name of the one process of a service."""
        return str(self.log.started[service]["instance"])

    async def value(self, service: str, metric: str, **labels: str) -> float:
        """A metric of a service now."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(await self.exposed(service))
            for sample in family.samples
            if sample.name == metric and labels.items() <= sample.labels.items()
        )

    async def exposed(self, service: str) -> str:
        """A scrape."""
        port = self.log.started[service]["admin_port"]
        return (await self.client.get(f"http://127.0.0.1:{port}/metrics")).text

    async def until(
        self, service: str, metric: str, holds: Callable[[float], bool], **labels: str
    ) -> None:
        """Returns once a metric's value is as wanted."""
        async with asyncio.timeout(WITHIN_S):
            while not holds(await self.value(service, metric, **labels)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def answers(self, tokens: int = 20, **fields: Any) -> Got:
        """One streamed request through everything, which must come whole."""
        body = chat_body(f"numbered-{tokens}", stream=True, **fields)
        got = await ask(self.client, body)
        assert (got.status, got.whole) == (200, True), got
        assert (got.done, got.said) == (True, numbered(tokens)), got
        return got


@asynccontextmanager
async def nats_world(folder: Path, **settings: Any) -> AsyncIterator[NatsWorld]:
    """Everything up; at the end no handler may have ended with what nobody foresaw."""
    log = NatsLog()
    root = logging.getLogger()
    level = root.level
    async with AsyncExitStack() as stack:
        server = stack.enter_context(serving(folder / "nats", set_up=False))
        await setup.run(server.settings("setup"), setup.SetupSettings())
        tenants = {OTHER_KEY: new_user(server, OTHER_TENANT)}
        root.addHandler(log)
        root.setLevel(logging.INFO)
        stack.callback(root.setLevel, level)
        stack.callback(root.removeHandler, log)

        def configure(config: Config) -> Config:
            (key,) = config.keys
            tenants[key.id] = new_user(server, TENANT)
            limits = (Limit(requests=OTHER_LIMIT, window_s=60.0),)
            other = Key(id=OTHER_KEY, sha256=hash_key(make_key("test")), limits=limits)
            keys = tuple(
                msgspec.structs.replace(one, nats_user=tenants[one.id]) for one in (key, other)
            )
            return msgspec.structs.replace(config, keys=keys)

        started = await stack.enter_async_context(
            running_stack(server, folder, configure=configure, **settings)
        )
        await _admit(server, tenants)
        client = await stack.enter_async_context(started.client())
        yield NatsWorld(server, started, log, client)
    unexpected = [text for text in log.failures if "bad_row" not in text]
    assert not unexpected, unexpected


async def _admit(server: NatsServer, tenants: dict[str, str]) -> None:
    """Adds the tenants' users and one without permissions to the running server's file."""
    port = urlsplit(server.url).port or 0
    path = write_config(server.folder, port, NatsServerSettings(), tenants)
    user = f"    users: [\n      {{ nkey: {new_user(server, SPY)} }}\n"
    write_private(path, path.read_text().replace("    users: [\n", user))
    server.pause(signal.SIGHUP)
    await until_admitted(server, SPY)


def new_user(server: NatsServer, name: str) -> str:
    """Makes a seed beside those of the services; returns its public key."""
    seed = server.folder.seed_file(name)
    write_private(seed, nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER).decode())
    return public_key(seed)


async def until_admitted(server: NatsServer, user: str) -> None:
    """Returns once the server, which was told to read its file again, knows a user."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                async with raw_nats(server, user):
                    return
            except AssertionError:
                await asyncio.sleep(0.02)
