"""Caller and router to limiter: what became of what was reserved.

Said once and not confirmed, since the rows of USAGE say the same for certain: what is lost here
frees its reservation only when its lease runs out. Every limiter hears it, the owner acts.
"""

from typing import Annotated

import msgspec

from droveway.contracts.envelope import AttemptId, Id, Text, Tokens
from droveway.contracts.envelope import subject as _subject
from droveway.contracts.relay import Usage

MAX_LEASES = 1_000
"""Of one `Renewed`; a caller with more in flight sends several."""


def settlement_subject(partition: int) -> str:
    """`droveway.v1.settlement.<partition>`."""
    return _subject("settlement", str(partition))


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """One request that still runs."""

    request_id: Id
    output_tokens: Tokens = 0
    """So far: what is settled if its caller dies."""


class Renewed(msgspec.Struct, frozen=True, kw_only=True, tag="lease.renewed.v1", tag_field="t"):
    """A caller still works on these."""

    caller: Id
    leases: Annotated[tuple[Lease, ...], msgspec.Meta(max_length=MAX_LEASES)]


class Settled(msgspec.Struct, frozen=True, kw_only=True, tag="attempt.settled.v1", tag_field="t"):
    """An attempt that had leave to spend has ended: this is what it used."""

    request_id: Id
    attempt_id: AttemptId
    caller: Id
    provider: Id
    credential: Id
    model: Text
    """The name asked of the provider."""
    usage: Usage
    committed: bool
    """Its request needs no other attempt: what is left of the reservation is free."""


class Released(msgspec.Struct, frozen=True, kw_only=True, tag="request.released.v1", tag_field="t"):
    """A router has given the request up and no attempt of it runs: nothing more will be spent."""

    request_id: Id
    router: Id


Settlement = Renewed | Settled | Released

settlement_decoder = msgspec.msgpack.Decoder(Settlement)
