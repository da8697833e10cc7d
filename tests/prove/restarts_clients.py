"""Clients as behind a Service of Kubernetes: kept connections, new ones go to who is ready."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.prove.member import Member
from tests.prove.plant import Plant
from tests.support.history import History, Request
from tests.support.history_clients import ask_aiohttp

CLIENTS = 11
"""Programs with connections of their own; odd, so that each asks in every way."""
_HOST = "gateway.test"


class Service(AbstractResolver):
    """The gateways that get new connections, one after the other."""

    def __init__(self, gateways: list[Member]) -> None:
        self._ready = list(gateways)
        self._turns = itertools.count()
        self.connections = 0

    def leave(self, gateway: Member) -> None:
        """It gets no more connections; those that it has stay."""
        self._ready.remove(gateway)

    def join(self, gateway: Member) -> None:
        """It gets connections again."""
        self._ready.append(gateway)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Where a new connection goes."""
        self.connections += 1
        chosen = self._ready[next(self._turns) % len(self._ready)]
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=chosen.port,
                family=family, proto=0, flags=0,
            )
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is open."""


class Clients:
    """Programs that ask by turns, each on its own kept connections."""

    def __init__(self, it: Plant, sessions: list[aiohttp.ClientSession]) -> None:
        self._it = it
        self._sessions = sessions

    async def ask(self, history: History, number: int, body: dict[str, Any]) -> Request:
        """One request of the program whose turn it is; nothing is tried twice."""
        session = self._sessions[number % len(self._sessions)]
        return await ask_aiohttp(history, session, f"http://{_HOST}", self._it.key, body)


@asynccontextmanager
async def clients_of(it: Plant, service: Service) -> AsyncIterator[Clients]:
    """For the length of a block."""
    sessions = [
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, resolver=service, use_dns_cache=False)
        )
        for _ in range(CLIENTS)
    ]
    try:
        yield Clients(it, sessions)
    finally:
        await asyncio.gather(*(one.close() for one in sessions))
