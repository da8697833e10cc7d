"""The limiter's log: every decision that changed its state, in the one order in which it happened.

The owner of a partition appends a `Batch` to `limits.<partition>` in the stream LIMITS under the
expected last sequence, and answers only what stands there. Whoever reads the log in order has the
owner's state. A refused append says that somebody else owns the partition.

Times are the log's own: milliseconds that never step back, near to the broker's clock.
"""

from typing import Annotated

import msgspec

from droveway.contracts.envelope import AttemptId, Id, NanoUsd, Text, Tokens
from droveway.contracts.envelope import subject as _subject

LogMs = Annotated[int, msgspec.Meta(ge=0)]
"""Milliseconds of the log's clock, which began near 1970 as the broker counts."""
Amount = int
CounterName = str
"""Scope, kind, window in ms, burst out of limit, model: `k:<key>|requests|60000:5/100|gpt-5*`.

Burst and model stand there only where there are any: `k:<key>|requests|60000`. Scopes are
`k:<key>`, `t:<tenant>`, `m` (all tenants together) and `c:<provider>/<credential>`.
"""
AccountName = str
"""Whose money: `k:<key>` or `t:<tenant>`."""


def limits_subject(partition: int) -> str:
    """`droveway.v1.limits.<partition>`."""
    return _subject("limits", str(partition))


def owner_subject(partition: int) -> str:
    """`droveway.v1.owner.<partition>`: where the owner says that it lives."""
    return _subject("owner", str(partition))


class Charge(msgspec.Struct, frozen=True, array_like=True):
    """So much of one counter."""

    counter: CounterName
    amount: Amount


class Admit(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """A request was admitted, or a further attempt of it."""

    at_ms: LogMs
    request_id: Id
    router: Id
    ask: int
    attempt: int
    key_id: Id
    tenant: Id
    charges: tuple[Charge, ...]
    leases: tuple[CounterName, ...]
    """Counters of concurrency in which it has a place."""
    reserved_input: Tokens
    reserved_output: Tokens
    reserved_nano: NanoUsd
    accounts: tuple[AccountName, ...]
    """Whose money `reserved_nano` is."""
    lease_until_ms: LogMs
    """0: nothing to settle."""
    model: Text
    """The target's."""
    place: int = 0
    """Which of the places that were asked for: a repeated question gets the same answer."""
    target: str = ""
    """`<provider>/<credential>` of that place; empty: none was asked for."""
    bounded: bool = False
    """Its client has said how long the answer may be, so it says nothing of answers without."""


class Pass(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """The hold on a request passes to another router."""

    request_id: Id
    router: Id
    ask: int


class Settle(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """An attempt has ended, or its lease has: what it used stands for what was reserved."""

    at_ms: LogMs
    request_id: Id
    attempt_id: bytes
    """Empty when the lease ran out or the router released it."""
    input_tokens: Tokens
    output_tokens: Tokens
    nano: NanoUsd
    final: bool
    estimated: bool
    target: str = ""
    """`<provider>/<credential>` whose counters it settles; empty: those of the latest attempt."""


class Spent(msgspec.Struct, frozen=True, array_like=True):
    """One row of USAGE: money that is gone."""

    attempt_id: AttemptId
    accounts: tuple[AccountName, ...]
    nano: NanoUsd
    stored_ms: int
    """When the broker stored the row, in Unix milliseconds: decides the period."""


class Spend(msgspec.Struct, frozen=True, array_like=True, tag="u"):
    """The rows of USAGE up to a sequence are counted."""

    usage_seq: int
    rows: tuple[Spent, ...]


Op = Admit | Pass | Settle | Spend


class Batch(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    """One append: the operations since the last one, in order; empty ones claim or keep a log."""

    owner: Id
    number: int
    """Counts the owner's batches: tells its own append from another's after a lost answer."""
    at_ms: LogMs
    ops: tuple[Op, ...] = ()


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag="owner.alive.v1", tag_field="t"):
    """The owner's sign of life, ten times a second."""

    owner: Id
    sequence: int
    """Of its last append."""
    leaving: bool = False
    """It has answered all that it had and decides nothing more."""


batch_decoder = msgspec.msgpack.Decoder(Batch)
alive_decoder = msgspec.msgpack.Decoder(Alive)
