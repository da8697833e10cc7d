"""One request to the administration's API: who asks, for which entry, with what."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from droveway.contracts.audit import Author
from droveway.contracts.envelope import is_id
from droveway.gateway.admin.endpoints import DEFAULT_PAGE, MAX_PAGE
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.json_caps import JsonCaps, read_json_object
from droveway.gateway.refusal import refuse, refusing
from droveway.runtime.access_store import MAX_ENTRY_BYTES

MAX_BODY_BYTES = 2 * MAX_ENTRY_BYTES
_ETAG = re.compile(r'"([0-9]{1,19})"')
_PATH = re.compile(r" - at `\$\.?([^`]*)`")
_CAPS = JsonCaps(max_depth=8, max_brackets=5_000, max_values=20_000)


class Asked(NamedTuple):
    """What a handler works with."""

    by: Author
    entry_id: str
    """Of the path; empty where it has none."""
    body: Any
    """The endpoint's struct, or None."""
    query: dict[str, str]
    if_match: str | None


class Answer(NamedTuple):
    """What a handler answers."""

    body: msgspec.Struct
    revision: int | None = None
    """Of the entry, for the `etag`."""


Handler = Callable[[Asked], Awaitable[Answer]]


def check_id(entry_id: str) -> None:
    """Refuses what is no id before it is looked up.

    Raises:
        Refusal: 404.
    """
    if not is_id(entry_id):
        raise refuse("not_found", "There is no entry of that id")


def check_match(if_match: str | None, revision: int) -> None:
    """Refuses a change that is meant for another revision.

    Raises:
        Refusal: 428 without `If-Match`, 412 where it names another revision.
    """
    if if_match is None:
        raise refuse("revision_required")
    if if_match == "*":
        return
    match = _ETAG.fullmatch(if_match)
    if match is None or int(match[1]) != revision:
        raise refuse("revision_changed")


async def read_body(exchange: Exchange, kind: type[msgspec.Struct]) -> msgspec.Struct:
    """The body as the endpoint's struct.

    Raises:
        Refusal: 400, 413 or 415: what is wrong with it.
        ClientGone: The client has left.
    """
    exchange.check_json()
    held = 0

    def hold(size: int) -> None:
        nonlocal held
        held += size
        if held > MAX_BODY_BYTES:
            text = f"A request to the administration may have {MAX_BODY_BYTES} bytes"
            raise refuse("request_too_large", text)

    body = await exchange.body(hold)
    with refusing():
        fields = read_json_object(body, _CAPS)
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        reason = str(error)
        path = _PATH.search(reason)
        raise refuse("invalid_request", reason, param=path[1] if path else None) from None


def read_query(query: bytes, allowed: tuple[str, ...]) -> dict[str, str]:
    """The parameters of a list.

    Raises:
        Refusal: 400: an unknown one, or one that stands twice.
    """
    found: dict[str, str] = {}
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace")
    for name, value in pairs if allowed else []:
        if name not in allowed or name in found:
            text = f"{name[:64]!r} is unknown, or stands twice; there are {', '.join(allowed)}"
            raise refuse("invalid_request", text, param=name[:64])
        found[name] = value
    return found


def read_number(query: dict[str, str], name: str, default: int, most: int) -> int:
    """A number of the query.

    Raises:
        Refusal: 400: it is none, or out of range.
    """
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,16}", text) or not 1 <= int(text) <= most:
        raise refuse("invalid_request", f"{name}: expected 1 to {most}", param=name)
    return int(text)


def page_size(query: dict[str, str]) -> int:
    """How many are wanted at most.

    Raises:
        Refusal: 400: out of range.
    """
    return read_number(query, "limit", DEFAULT_PAGE, MAX_PAGE)
