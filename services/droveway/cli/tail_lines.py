"""What `droveway tail` says of a request and of an event: as a line, or as JSON for programs."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import msgspec

from droveway.cli.admin_session import printable
from droveway.cli.cost import Costs
from droveway.cli.tail_requests import Ended
from droveway.contracts.patterns import covers

Part = tuple[str, str]
"""(text, style of rich)."""

_FAILED = frozenset({"failed", "interrupted", "unknown"})
_STYLES = {"completed": "green", "cancelled": "yellow"}
_ID_COLUMNS = 30
_TARGET_COLUMNS = 34


class Filter(NamedTuple):
    """Which requests are wanted; empty: any."""

    tenant: str = ""
    key_id: str = ""
    model: str = ""
    """The client's name or the provider's; one that ends with `*` stands for all that begin so."""
    provider: str = ""
    failed: bool = False

    def wants(self, line: "RequestLine", ended: Ended) -> bool:
        """Whether a request is one of them; a provider counts also if only tried."""
        models = {line.model, *(one.model for one in ended.attempts)}
        providers = {line.provider, *(one.provider for one in ended.attempts)}
        return (
            self.tenant in ("", line.tenant)
            and self.key_id in ("", line.key_id)
            and (not self.model or any(covers(self.model, one) for one in models))
            and (not self.provider or self.provider in providers)
            and (not self.failed or line.outcome in _FAILED)
        )


class RequestLine(msgspec.Struct, frozen=True, kw_only=True):
    """One request that has ended."""

    kind: Literal["request"] = "request"
    at: str
    """Its end: RFC 3339, UTC, milliseconds."""
    request_id: str
    tenant: str
    key_id: str
    protocol: str
    operation: str
    model: str
    """The client's name for it."""
    provider: str
    target: str
    """The name asked of the provider."""
    mode: str
    """`stream` or `whole`."""
    status: int
    """What the client got; 0: its door hasn't told."""
    outcome: str
    """`completed`, `failed`, `interrupted`, `cancelled`; `unknown`: its door hasn't told."""
    code: str
    attempts: int
    first_token_ms: float | None
    """Of a stream."""
    total_ms: float | None
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    estimated: bool
    """Of some attempt the provider didn't tell the tokens."""
    cost_usd: Decimal
    """Of all attempts, also those that failed."""
    price_source: str
    complete: bool
    """False: the row of some attempt hasn't come, so tokens and cost may be more."""


def request_line(ended: Ended, costs: Costs) -> RequestLine:
    """A line of the rows; the last attempt says who has answered."""
    request, attempts = ended.request, ended.attempts
    last = attempts[-1] if attempts else None
    of = request or last
    assert of is not None
    paid = [costs.of(one) for one in attempts]
    usages = [one.usage for one in attempts]
    first_us = request.times.first_frame_us if request and request.stream else None
    total_us = request.times.ended_us if request else None
    return RequestLine(
        at=_rfc3339(of.began_ns // 1_000_000 + of.times.ended_us // 1000),
        request_id=of.request_id,
        tenant=of.tenant,
        key_id=of.key_id,
        protocol=request.protocol if request else "",
        operation=request.operation if request else "",
        model=request.model if request else (last.asked_model or last.model if last else ""),
        provider=last.provider if last else (request.provider if request else ""),
        target=last.model if last else "",
        mode="stream" if of.stream else "whole",
        status=request.status if request else 0,
        outcome=request.outcome if request else "unknown",
        code=request.code if request else "",
        attempts=max(len(attempts), request.attempts if request else 0),
        first_token_ms=None if first_us is None else first_us / 1000,
        total_ms=None if total_us is None else total_us / 1000,
        input_tokens=sum(one.input_tokens for one in usages),
        cache_read_tokens=sum(one.cache_read_tokens for one in usages),
        output_tokens=sum(one.output_tokens for one in usages),
        estimated=any(one.estimated for one in usages),
        cost_usd=sum((one.usd for one in paid), Decimal(0)),
        price_source=paid[-1].source if paid else "",
        complete=ended.complete,
    )


def request_parts(line: RequestLine) -> Iterator[Part]:
    """The line for people; names of clients can't steer the terminal."""
    style = _STYLES.get(line.outcome, "red")
    target = f"{line.provider}/{line.target}" if line.target else line.provider or "none"
    code = f" {line.code}" if line.code else ""
    yield clock(line.at), "dim"
    yield f"  {line.request_id:<{_ID_COLUMNS}}", ""
    yield f"  {line.tenant}/{line.key_id}".ljust(20), "cyan"
    yield f"  {printable(line.model)} -> {printable(target)}".ljust(_TARGET_COLUMNS), "bold"
    yield f"  {line.mode:<6}", ""
    yield f"  {line.status or '?'} {line.outcome}{code}".ljust(15), style
    yield f"  {line.attempts}x", "yellow" if line.attempts > 1 else "dim"
    if line.first_token_ms is not None:
        yield f"  first {line.first_token_ms:.0f} ms", ""
    if line.total_ms is not None:
        yield f"  {line.total_ms:.0f} ms", ""
    if line.input_tokens or line.output_tokens:
        about = "~" if line.estimated else ""
        cached = f" ({line.cache_read_tokens} cached)" if line.cache_read_tokens else ""
        yield f"  {about}{line.input_tokens}{cached}+{line.output_tokens} tokens", ""
    if line.cost_usd or not line.complete:
        by = " at the default price" if line.price_source == "default" else ""
        yield f"  ${line.cost_usd:.6f}{'' if line.complete else ' or more'}{by}", "bold"


def plain(parts: Iterable[Part]) -> str:
    """The text alone."""
    return "".join(text for text, _ in parts)


def as_json(value: Any) -> str:
    """One line of JSON."""
    return msgspec.json.encode(value).decode()


def clock(at: str) -> str:
    """The local time of day of an RFC 3339 time."""
    local = datetime.fromisoformat(at).astimezone()
    return local.strftime("%H:%M:%S.") + f"{local.microsecond // 1000:03d}"


def _rfc3339(unix_ms: int) -> str:
    at = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
