"""What is kept of a response, and how it is shown again. Pure functions.

Source: OpenAI API reference, responses (get, delete, list input items), 2026-11.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from droveway.gateway.refusal import Refusal, refuse
from droveway.gateway.stored_responses import Record

MAX_LIMIT = 100
DEFAULT_LIMIT = 20
_MAX_QUERY_FIELDS = 32
_ORDERS = ("asc", "desc")
_PREFIXES = {"function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
_encode = msgspec.json.Encoder().encode


class Page(NamedTuple):
    """Which of the input items are asked for."""

    limit: int = DEFAULT_LIMIT
    order: str = "desc"
    after: str = ""
    """The id of the item before them; empty: from the start."""


def record(
    response_id: str,
    request: dict[str, Any],
    response: bytes,
    conversation: Sequence[dict[str, Any]],
    answer: Sequence[dict[str, Any]],
) -> Record:
    """What to keep of an answered request.

    Args:
        response_id: As the client knows it.
        request: The client's own.
        response: The whole Response.
        conversation: The chat messages that were sent, without instructions.
        answer: What the model answered, as chat messages.
    """
    return Record(
        response=msgspec.Raw(response),
        messages=[*conversation, *answer],
        input_items=input_items(response_id, request.get("input")),
    )


def input_items(response_id: str, given: object) -> list[dict[str, Any]]:
    """A request's input as a list of items, each with an id: its own, or one that we make."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    items = given if isinstance(given, list) else []
    return [_item(item, response_id, index) for index, item in enumerate(items)]


def response_body(kept: Record) -> bytes:
    """The answer to `GET /v1/responses/{id}`."""
    return bytes(kept.response)


def deleted_body(response_id: str) -> bytes:
    """The answer to `DELETE /v1/responses/{id}`."""
    return _encode({"id": response_id, "object": "response", "deleted": True})


def input_items_body(kept: Record, page: Page) -> bytes:
    """The answer to `GET /v1/responses/{id}/input_items`.

    Raises:
        Refusal: 400: `after` names no item of it.
    """
    items = kept.input_items if page.order == "asc" else kept.input_items[::-1]
    if page.after:
        ids = [item["id"] for item in items]
        if page.after not in ids:
            raise _wrong("after", "the id of an input item of this response")
        items = items[ids.index(page.after) + 1 :]
    data = items[: page.limit]
    return _encode(
        {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": len(items) > len(data),
        }
    )


def read_page(query: bytes) -> Page:
    """The page that a query string asks for; other fields of it are left alone.

    Raises:
        Refusal: 400 with the field as `param`.
    """
    try:
        fields = dict(parse_qsl(query.decode("latin-1"), max_num_fields=_MAX_QUERY_FIELDS))
    except ValueError:
        text = f"The query must have at most {_MAX_QUERY_FIELDS} fields."
        raise refuse("invalid_request", text) from None
    limit = fields.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 0 < int(limit) <= MAX_LIMIT):
        raise _wrong("limit", f"an integer from 1 to {MAX_LIMIT}")
    order = fields.get("order", "desc")
    if order not in _ORDERS:
        raise _wrong("order", f"one of {', '.join(_ORDERS)}")
    return Page(int(limit), order, fields.get("after", ""))


def _item(given: dict[str, Any], response_id: str, index: int) -> dict[str, Any]:
    kind = given.get("type") or "message"
    made = f"{_PREFIXES.get(kind, 'msg')}_{response_id.removeprefix('resp_')}i{index:04x}"
    item = {**given, "type": kind, "id": given.get("id") or made}
    if kind != "reasoning":
        item["status"] = given.get("status") or "completed"
    if kind == "message" and isinstance(given.get("content"), str):
        said = "output_text" if given.get("role") == "assistant" else "input_text"
        item["content"] = [{"type": said, "text": given["content"]}]
    return item


def _wrong(param: str, expected: str) -> Refusal:
    return refuse("invalid_request", f"`{param}` must be {expected}.", param=param)
