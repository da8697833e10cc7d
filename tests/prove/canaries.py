"""Secrets that are planted wherever a client or operator may put one, and looked for everywhere."""

import asyncio
import contextlib
import gzip
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import httpx
from aiohttp import web

from droveway.runtime.api_key import make_key
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import at_most, leave
from tests.prove.plant import PROMPT, Plant, Shape, broker, plant
from tests.prove.wiring import PROVIDER_KEY
from tests.support.checker import find_in_file
from tests.support.raw_http import RawConnection
from tests.support.tcp_proxy import READ_BYTES, Connection, Direction, TcpProxy, address

_SERVICES = ("gateway", "router", "limiter", "caller", "metrics")
_SAID = PROMPT.partition(":")[0]
_HEADER = "header-canary-91bd"
_COOKIE = "cookie-canary-4c0e"
_TOKEN = "token-canary-a7f2"
_TOOL = "tool-canary-d81c"
_USER = "user-canary-3be9"
_AT_ONCE = 20
_EXPORTED_WITHIN_S = 10.0


class _Tee:
    """Passes one direction's bytes on, and keeps them."""

    def __init__(self, connection: Connection, direction: Direction, kept: BinaryIO) -> None:
        self._source, self._sink = connection.towards(direction)
        self._kept = kept

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._source, READ_BYTES):
            self._kept.write(data)
            await loop.sock_sendall(self._sink, data)


class _Wire(TcpProxy):
    """All that services say to the broker and hear from it, in a file per direction."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(*address(url))
        folder.mkdir(parents=True)
        self._folder = folder
        self._kept: list[BinaryIO] = []

    def pump(self, connection: Connection, direction: Direction) -> _Tee:
        kept = (self._folder / f"{connection.number}-{direction}.bin").open("wb")
        self._kept.append(kept)
        return _Tee(connection, direction, kept)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """What was kept is in the files then."""
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            for kept in self._kept:
                kept.close()


@asynccontextmanager
async def _collector(folder: Path, exports: Counter[str]) -> AsyncIterator[str]:
    """Takes what is exported by OTLP over HTTP and keeps it as it was before compression."""

    async def take(request: web.Request) -> web.Response:
        data = await request.read()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        exports[request.path] += 1
        (folder / f"{exports.total()}.bin").write_bytes(data)
        return web.Response()

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes([web.post("/{path:.*}", take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _told_nowhere(run: Run) -> Result:
    places = run.folder / "places"
    shutil.rmtree(places, ignore_errors=True)
    for name in ("exported", "scraped", "ledger"):
        (places / name).mkdir(parents=True)
    exports: Counter[str] = Counter()
    count = run.count(400, 60)

    async def exported() -> bool:
        return bool(exports)

    stranger = make_key("test")
    async with (
        broker(run) as nats,
        _collector(places / "exported", exports) as endpoint,
        _Wire(nats.url, places / "wire") as wire,
    ):
        link = f"nats://127.0.0.1:{wire.port}"
        shape = Shape(
            links=dict.fromkeys(_SERVICES, link),
            environment={
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_TRACES_SAMPLER_ARG": "1.0",
                "OTEL_BSP_SCHEDULE_DELAY": "100",
                "DROVEWAY_LOG_LEVEL": "debug",
                "DROVEWAY_CALLER_MAX_COOLDOWN_S": "0",
            },
        )
        async with plant(run, nats, shape) as it:
            answered = await _ask(it, stranger, count)
            await it.until_idle()
            await it.until(exported, _EXPORTED_WITHIN_S, "spans")
            await _keep_scrapes(it, places / "scraped")
            ledger = it["metrics"][0].database
            _copy(ledger, places / "ledger")
            key = it.key
        shutil.copytree(nats.folder.nats, places / "stored", ignore=shutil.ignore_patterns("*.nk"))
    shutil.copytree(run.folder / "logs", places / "logs")
    secrets = [_secret(key), _secret(stranger), PROVIDER_KEY, _HEADER, _COOKIE, _TOKEN]
    found = [*_found(places, secrets, [_SAID, _TOOL, _USER])]
    for one in found:
        run.blame(one)
    searched = [path for path in places.rglob("*") if path.is_file()]
    facts = {
        "requests": count,
        "answered": answered,
        "files": len(searched),
        "bytes": sum(path.stat().st_size for path in searched),
        "by_place": {one.name: sum(1 for _ in one.rglob("*")) for one in places.iterdir()},
    }
    empty = [one.name for one in places.iterdir() if not any(one.rglob("*"))]
    return Result(f"{len(found)} of {len(secrets) + 3}", not found and not empty, facts)


async def _ask(it: Plant, stranger: str, count: int) -> int:
    """Every kind of answer, each with canaries wherever there's room; how many were answered."""
    headers = {
        "x-secret": _HEADER,
        "cookie": f"session={_COOKIE}",
        "idempotency-key": _TOKEN,
        "user-agent": "canaries",
    }
    function = {"name": "look", "description": _TOOL, "parameters": {"type": "object"}}
    more = {"user": _USER, "tools": [{"type": "function", "function": function}]}
    models = ("numbered-20", "sim", "fault-500", "fault-400", "fault-numbered-9+cut-after-3")

    async def one(number: int) -> int:
        key = stranger if number % 10 == 9 else it.key
        own = headers | {
            "authorization": f"Bearer {key}",
            "idempotency-key": f"{_TOKEN}-{number}",
        }
        body = it.body(models[number % len(models)], stream=number % 2 == 0, **more)
        url = f"http://127.0.0.1:{it.port}/v1/chat/completions"
        async with client.stream("POST", url, json=body, headers=own) as answer:
            with contextlib.suppress(httpx.RemoteProtocolError):  # some answers are cut
                await answer.aread()
        return answer.status_code

    async with httpx.AsyncClient(timeout=30) as client:
        statuses = await at_most(_AT_ONCE, map(one, range(count)))

    async def begun(client: RawConnection) -> None:
        await client.read_until(b"t3 ", 20.0)

    await leave(it, it.body("numbered-5000", stream=True, **more), begun)
    return len(statuses)


async def _keep_scrapes(it: Plant, folder: Path) -> None:
    async with httpx.AsyncClient(timeout=10) as client:
        for member in it:
            if member.admin_port:
                for path in ("metrics", "readyz"):
                    url = f"http://127.0.0.1:{member.admin_port}/{path}"
                    text = (await client.get(url)).content
                    (folder / f"{member.name}-{path}").write_bytes(text)


def _copy(database: Path, folder: Path) -> None:
    for file in database.parent.glob(f"{database.name}*"):
        shutil.copy(file, folder)


def _secret(key: str) -> str:
    return key.rpartition("_")[2]


def _found(places: Path, secrets: list[str], content: list[str]) -> Iterator[str]:
    """Where something was found; content travels in requests and answers, and nowhere else."""
    for path in sorted(places.rglob("*")):
        if not path.is_file():
            continue
        place = path.relative_to(places)
        for needle in [*secrets, *(content if place.parts[0] != "wire" else ())]:
            if find_in_file(path, needle.encode()) >= 0:
                yield f"{needle[:12]}… in {place}"


CLAIMS = (
    Claim(
        id="D21",
        text="secrets in prompts, tools, keys and headers: those found in logs, spans, metrics, "
        "the ledger, JetStream's files and, but for content, in any message",
        bound="0",
        run=_told_nowhere,
    ),
)
