"""`/v1/responses/{id}`: responses that were kept, read again and forgotten."""

from droveway.contracts.access import Key
from droveway.gateway.doors.answering import answer_own
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.doors.responses_views import (
    deleted_body,
    input_items_body,
    read_page,
    response_body,
)
from droveway.gateway.journal import Journal
from droveway.gateway.refusal import Refusal, refuse
from droveway.gateway.stored_responses import Record, StoredResponses


class StoredDoor:
    """Serves one key's responses to it; to others they aren't there."""

    def __init__(self, stored: StoredResponses) -> None:
        self._stored = stored

    async def one(self, response_id: str, exchange: Exchange, journal: Journal, key: Key) -> None:
        """`GET` and `DELETE` of a response.

        Raises:
            Refusal: 404: there is none; 503: nobody can say.
        """
        if exchange.method == "DELETE":
            if not await self._stored.delete(key, response_id):
                raise _missing(response_id)
            await answer_own(exchange, journal, deleted_body(response_id))
            return
        await answer_own(exchange, journal, response_body(await self._kept(response_id, key)))

    async def items(self, response_id: str, exchange: Exchange, journal: Journal, key: Key) -> None:
        """`GET` of what a response was asked with.

        Raises:
            Refusal: 400: the page; 404: there is none; 503: nobody can say.
        """
        page = read_page(exchange.query)
        kept = await self._kept(response_id, key)
        await answer_own(exchange, journal, input_items_body(kept, page))

    async def _kept(self, response_id: str, key: Key) -> Record:
        kept = await self._stored.get(key, response_id)
        if kept is None:
            raise _missing(response_id)
        return kept


def _missing(response_id: str) -> Refusal:
    return refuse("not_found", f"Response with id '{response_id[:64]}' not found.")
