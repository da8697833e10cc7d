"""HTTP clients of the claims about limits: many keys, connections that are kept."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec

from tests.prove.plant import Plant

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"


class Answer(NamedTuple):
    """What a client got, and when."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    asked_ns: int
    answered_ns: int

    @property
    def took_s(self) -> float:
        """From the question to the end of the answer."""
        return (self.answered_ns - self.asked_ns) / 1e9

    @property
    def error(self) -> dict[str, Any]:
        """The error object."""
        found: dict[str, Any] = msgspec.json.decode(self.body)["error"]
        return found


class Clients:
    """Asks through all gateways of a plant by turns."""

    def __init__(self, it: Plant, session: aiohttp.ClientSession) -> None:
        self._urls = [f"http://127.0.0.1:{one.port}" for one in it["gateway"]]
        self._session = session
        self._number = 0

    async def ask(
        self,
        key: str,
        body: dict[str, Any],
        path: str = CHAT,
        *,
        gateway: int | None = None,
        timeout_s: float = 0.0,
    ) -> Answer:
        """One request and its whole answer; `timeout_s` is what the client says."""
        self._number += 1
        number = self._number if gateway is None else gateway
        url = self._urls[number % len(self._urls)] + path
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        if timeout_s:
            headers["x-request-timeout"] = f"{timeout_s:g}"
        asked_ns = time.monotonic_ns()
        async with self._session.post(
            url, data=msgspec.json.encode(body), headers=headers
        ) as answer:
            read = await answer.read()
            return Answer(answer.status, answer.headers, read, asked_ns, time.monotonic_ns())


@asynccontextmanager
async def clients(it: Plant) -> AsyncIterator[Clients]:
    """For the length of a block."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Clients(it, session)
