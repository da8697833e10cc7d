"""`GET /openapi.json` and `GET /docs`: for everybody, without a key."""

from collections.abc import Awaitable, Callable

from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.journal import Journal
from droveway.gateway.openapi import page
from droveway.gateway.openapi.document import encoded

Page = Callable[[Exchange, Journal], Awaitable[None]]


async def serve_document(exchange: Exchange, journal: Journal) -> None:
    """The document."""
    journal.finish(200)
    await exchange.answer(200, encoded(), [(b"cache-control", b"no-cache")])


async def serve_page(exchange: Exchange, journal: Journal) -> None:
    """The page that shows it."""
    journal.finish(200)
    await exchange.start(200, list(page.HEADERS))
    await exchange.write(page.HTML, last=True)


PAGES: dict[str, tuple[str, Page]] = {
    "/openapi.json": ("docs.openapi", serve_document),
    "/docs": ("docs.page", serve_page),
}
"""Operation and page by path."""
