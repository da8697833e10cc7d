"""What an asker of the limiter is to do, and what it saw: it stands for a router, or for many."""

import msgspec

FREE = "free"
"""The key that is never refused, by which gaps are seen."""


class Customer(msgspec.Struct, frozen=True, array_like=True):
    """Who asks: a key with its tenant."""

    key_id: str
    tenant: str
    placed: bool = False
    """Its questions name places, so that limits of credentials count."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one asker does; it tells how far it is each second, and everything at its end."""

    nats_url: str
    seed_file: str
    seed: int
    customers: tuple[Customer, ...]
    decisions: int
    """It ends after so many answers, or when its standard input is closed."""
    free_share: float = 0.2
    """Of the questions, those for the first customer."""
    in_flight: int
    pause_ms: float = 0.0
    """After an answer, before the next question in its place."""
    again_ms: int = 100
    """An unanswered question is asked again after so long, and then after twice as long."""
    hold_ms: float = 60.0
    """What is reserved is settled after at most so long."""
    history: str
    """The file to write."""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """One admission as its asker saw it; times are nanoseconds of the machine's monotonic clock."""

    request_id: str
    customer: int
    model: str
    place: int
    """-1: none was asked for."""
    asked_ns: int
    """When it was asked first: it wasn't decided before."""
    answered_ns: int
    settled_ns: int
    """When its end was told; 0: it wasn't."""
    input_tokens: int
    output_tokens: int


class Seen(msgspec.Struct, kw_only=True):
    """All that an asker saw."""

    admitted: list[Told] = []
    denied: int = 0
    refused_free: list[str] = []
    """Codes of refusals of the key that is never to be refused."""
    unanswered: int = 0
    """Questions still open at the end."""
    again: int = 0
    """Questions that were asked again."""
    waits_ms: list[float] = []
    """From question to answer, every hundredth."""

    @property
    def decisions(self) -> int:
        """Questions that were answered."""
        return len(self.admitted) + self.denied


plan_decoder = msgspec.json.Decoder(Plan)
seen_decoder = msgspec.msgpack.Decoder(Seen)
