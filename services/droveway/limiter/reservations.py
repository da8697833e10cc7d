"""What one request holds: which router has it, and what is reserved for it until it is settled."""

from sys import intern

import msgspec

from droveway.contracts.limits import Admit


class Taken(msgspec.Struct, array_like=True, gc=False):
    """So many tokens of one counter, reserved at that time; requests are never given back."""

    at_ms: int
    counter: str
    amount: int


class Hold(msgspec.Struct, array_like=True, gc=False):
    """One admitted request; closed when nothing is reserved for it any more."""

    router: str
    ask: int
    attempt: int
    place: int
    key_id: str
    tenant: str
    model: str
    """Of the latest attempt's target."""
    target: str
    """Its credential, `<provider>/<credential>`."""
    at_ms: int
    """When the latest attempt was admitted."""
    leases: list[str] = []
    taken: list[Taken] = []
    """Once it is closed: what stands for attempts that aren't settled, whose word may still come.
    """
    reserved_input: int = 0
    reserved_output: int = 0
    reserved_nano: int = 0
    accounts: tuple[str, ...] = ()
    leased: bool = False
    """Something was reserved for it at some time."""
    open: bool = False
    """It still is."""
    running: int = 0
    """Attempts that were admitted and aren't settled."""
    settled: list[bytes] = []
    """Attempts that are: each one counts once."""
    estimated_nano: int = 0
    """Counted as spent though no row says so; the row, if it comes, takes its place."""
    estimated_ms: int = 0
    bounded: bool = False
    """Its client has said how long the answer may be."""


class Pending(msgspec.Struct, array_like=True, gc=False):
    """What a settled attempt costs, until its row is there."""

    accounts: tuple[str, ...]
    nano: int
    at_ms: int


def hold_of(op: Admit) -> Hold:
    """A new hold, of what isn't charged yet.

    A hundred thousand are remembered, of few routers, keys and models: each name is kept once.
    """
    return Hold(
        router=intern(op.router),
        ask=op.ask,
        attempt=op.attempt,
        place=op.place,
        key_id=intern(op.key_id),
        tenant=intern(op.tenant),
        model=intern(op.model),
        target=intern(op.target),
        at_ms=op.at_ms,
        bounded=op.bounded,
    )


def is_whole_reservation(hold: Hold, input_tokens: int, output_tokens: int) -> bool:
    """Whether an estimate is what was reserved, so that nothing is given back."""
    return input_tokens == hold.reserved_input and output_tokens == hold.reserved_output
