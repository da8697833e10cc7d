"""Serves `/admin/v1/`: who asks and whether they may, what they say, and how it is answered."""

import time
from typing import NamedTuple

import msgspec

from droveway.contracts.audit import Author
from droveway.contracts.config import Config
from droveway.gateway.admin.admins import Admins, check_role
from droveway.gateway.admin.asked import Answer, Asked, Handler, read_body, read_query
from droveway.gateway.admin.endpoints import ENDPOINTS, ROOT, Endpoint
from droveway.gateway.admin.keys import Keys
from droveway.gateway.admin.providers import Providers
from droveway.gateway.admin.questions import Questions
from droveway.gateway.admin.rates import ChangeRates
from droveway.gateway.admin.tenants import Tenants
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.journal import Journal
from droveway.gateway.openapi.serve import Page
from droveway.gateway.refusal import refuse
from droveway.runtime.access_store import keys_store, tenants_store
from droveway.runtime.bus import Bus
from droveway.runtime.directory import Directory

_NO_STORE = (b"cache-control", b"no-store")
_encode = msgspec.json.Encoder().encode


class Found(NamedTuple):
    """What a path of the administration means."""

    operation: str
    template: str
    methods: tuple[str, ...]
    page: Page


class AdminDoor:
    """The administration of one gateway; it is `open` once the configuration names an admin."""

    def __init__(self, bus: Bus, directory: Directory, admins: Admins, changes_per_s: int) -> None:
        self._admins = admins
        self._rates = ChangeRates(changes_per_s)
        keys = Keys(keys_store(bus), directory)
        self._providers = Providers(bus)
        handlers: dict[str, Handler] = {
            **keys.handlers(),
            **self._providers.handlers(),
            **Tenants(tenants_store(bus), directory).handlers(),
            **Questions(bus, keys).handlers(),
        }
        self._served: dict[str, dict[str, tuple[Endpoint, Handler]]] = {}
        for endpoint in ENDPOINTS:
            served = (endpoint, handlers[endpoint.name])
            self._served.setdefault(endpoint.path, {})[endpoint.method] = served

    @property
    def open(self) -> bool:
        """Whether anybody may use it."""
        return bool(self._admins)

    def configure(self, config: Config) -> None:
        """Takes the admins and the providers of a new configuration."""
        self._admins.configure(config)
        self._providers.configure(config.providers)
        self._rates.configure(admin.id for admin in config.admins)

    def find(self, path: str, method: str) -> Found | None:
        """What serves a path; None: there is nothing."""
        parts = path.removeprefix(ROOT).split("/")
        entry_id = parts[1] if len(parts) > 1 else ""
        if entry_id:
            parts[1] = "{id}"
        methods = self._served.get("/".join(parts))
        if methods is None or not path.startswith(ROOT):
            return None
        endpoint, handler = methods.get(method) or next(iter(methods.values()))

        async def page(exchange: Exchange, journal: Journal) -> None:
            await self._serve(endpoint, handler, entry_id, exchange, journal)

        return Found(endpoint.name, endpoint.template, tuple(methods), page)

    async def _serve(
        self, endpoint: Endpoint, handler: Handler, entry_id: str, exchange: Exchange,
        journal: Journal,
    ) -> None:  # fmt: skip
        """Answers one request.

        Raises:
            Refusal: It isn't an admin's, not within the role, or can't be done.
            ClientGone: The client has left.
        """
        address = self._admins.address(exchange.raw_headers, exchange.peer)
        admin = self._admins.authenticate(exchange.raw_headers, address)
        journal.mark("authenticated")
        check_role(admin, endpoint.role)
        if endpoint.method != "GET":
            self._rates.count(admin.id, time.monotonic())
        query = read_query(exchange.query, endpoint.query)
        body = None if endpoint.body is None else await read_body(exchange, endpoint.body)
        by = Author(
            via="gateway", id=admin.id, role=admin.role, address=address,
            request_id=exchange.request_id,
        )  # fmt: skip
        asked = Asked(by, entry_id, body, query, _if_match(exchange))
        answer = await handler(asked)
        journal.finish(endpoint.status)
        await exchange.answer(endpoint.status, _encode(answer.body), _headers(answer))


def _headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    if answer.revision is None:
        return [_NO_STORE]
    return [_NO_STORE, (b"etag", b'"%d"' % answer.revision)]


def _if_match(exchange: Exchange) -> str | None:
    text = exchange.text(b"if-match")
    if text is not None and len(text) > 64:
        raise refuse("revision_changed")
    return None if text is None else text.strip()
