"""What types can't say of keys and tenants, in the operator's file or as the administration writes.

Every finding names the field and what would be right.
"""

import base64
import binascii
import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from droveway.contracts.access import Budget, Key, Limit, Tenant
from droveway.runtime.addresses import parse_network
from droveway.runtime.burst_checks import burst_findings

_OF_NOTHING = frozenset(hashlib.sha256(text).hexdigest() for text in (b"", b"\n", b"\r\n"))
KINDS = ("requests", "tokens", "input_tokens", "output_tokens", "concurrency")
"""What a limit may count."""


def key_findings(key: Key) -> Iterator[str]:
    """What is wrong with a key's entry; each begins with the field."""
    if key.sha256 in _OF_NOTHING:
        yield "sha256: the hash of an empty text; was the variable set? It wants the whole key's"
    if key.expires and not is_zoned_time(key.expires):
        yield (
            f"expires: {key.expires!r} is no date-time with zone; "
            "write for example 2027-01-31T00:00:00Z"
        )
    if bool(key.previous_sha256) != bool(key.previous_until) or (
        key.previous_until and not is_zoned_time(key.previous_until)
    ):
        yield "previous_until: a date-time with zone goes with `previous_sha256`, or neither"
    if key.nats_user and not _is_public_nkey(key.nats_user):
        yield (
            f"nats_user: {key.nats_user!r} is mistyped; `droveway keys nats` prints the public key"
        )
    for at, model in enumerate(key.models):
        if "*" in model[:-1]:
            yield f"models[{at}]: {model!r}: * may only stand at the end"
    for at, address in enumerate(key.addresses):
        try:
            parse_network(address)
        except ValueError as error:
            yield f"addresses[{at}]: {error}"
    yield from limit_findings("limits", key.limits)
    yield from budget_findings("budgets", key.budgets)


def tenant_findings(tenant: Tenant) -> Iterator[str]:
    """What is wrong with a tenant's entry; each begins with the field."""
    yield from limit_findings("limits", tenant.limits)
    yield from budget_findings("budgets", tenant.budgets)


def limit_findings(place: str, limits: tuple[Limit, ...]) -> Iterator[str]:
    """Limits that limit nothing, or contradict one another."""
    seen: dict[tuple[str, str, float], int] = {}
    for index, limit in enumerate(limits):
        kinds = [kind for kind in KINDS if getattr(limit, kind) is not None]
        if not kinds:
            yield f"{place}[{index}]: limits nothing; give one of {', '.join(KINDS)}"
        if not math.isfinite(limit.window_s):
            yield f"{place}[{index}].window_s: {limit.window_s}; expected seconds"
        if "*" in limit.model[:-1]:
            yield f"{place}[{index}].model: {limit.model!r}: * may only stand at the end"
        for kind in kinds:
            window_s = 0.0 if kind == "concurrency" else limit.window_s
            first = seen.setdefault((kind, limit.model, window_s), index)
            if first != index:
                yield (
                    f"{place}[{index}].{kind}: {place}[{first}] limits the same model in the same "
                    "window already; keep one of them"
                )
    yield from burst_findings(place, limits)


def budget_findings(place: str, budgets: tuple[Budget, ...]) -> Iterator[str]:
    """Two budgets of one period, or shares that stand twice."""
    seen: dict[str, int] = {}
    for index, budget in enumerate(budgets):
        first = seen.setdefault(budget.period, index)
        if first != index:
            yield (
                f"{place}[{index}].period: {place}[{first}] is for each {budget.period} already; "
                "keep one of them"
            )
        if not math.isfinite(budget.usd):
            yield f"{place}[{index}].usd: {budget.usd}; expected US dollars"
        if len(set(budget.soft)) < len(budget.soft):
            yield f"{place}[{index}].soft: a share stands twice"


def is_zoned_time(text: str) -> bool:
    """Whether it is a date-time with a zone, and no year 0 in UTC."""
    try:
        return zoned_time(text) is not None
    except (ValueError, OverflowError):
        return False


def zoned_time(text: str) -> datetime | None:
    """The moment in UTC; None where the text has no zone.

    Raises:
        ValueError: It is no date-time.
        OverflowError: Nobody lives to see it.
    """
    moment = datetime.fromisoformat(text)
    return None if moment.tzinfo is None else moment.astimezone(UTC)


def after(seconds: float) -> str:
    """The date-time so many seconds from now."""
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _is_public_nkey(text: str) -> bool:
    """Whether the check sum is right; a server would refuse its whole configuration otherwise."""
    raw = base64.b32decode(text)
    return binascii.crc_hqx(raw[:-2], 0).to_bytes(2, "little") == raw[-2:]
