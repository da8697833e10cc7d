"""Single entries of the bucket `routing`, as those who change them read and check them."""

from typing import TypeVar

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.contracts.jetstream import ROUTING
from droveway.runtime.access_errors import EntryInvalid, StoreUnavailable
from droveway.runtime.audited_write import TIMEOUT_S
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import Stored, reading
from droveway.runtime.errors import BusError
from droveway.runtime.routing_orders import MAX_ORDER_BYTES

T = TypeVar("T")


def subject_of(entry: str) -> str:
    """Where an entry is written and read."""
    return f"$KV.{ROUTING}.{entry}"


async def last_of(bus: Bus, entry: str) -> Stored | None:
    """The entry as it is stored now; None where there never was one.

    Raises:
        StoreUnavailable: Nobody can say.
    """
    try:
        async with reading(bus, f"KV_{ROUTING}", TIMEOUT_S) as reader:
            return await reader.last(subject_of(entry))
    except BusError as error:
        raise StoreUnavailable(str(error)) from None


def decoded(stored: Stored, decoder: msgspec.json.Decoder[T]) -> T | None:
    """What stands in it; None where it was deleted.

    Raises:
        StoreUnavailable: It can't be read.
    """
    if stored.operation:
        return None
    try:
        return decoder.decode(stored.payload)
    except MALFORMED as error:
        raise StoreUnavailable(
            f"{stored.subject} can't be read, so it can't be changed: {error}"
        ) from None


def check_size(noun: str, value: bytes) -> None:
    """Refuses what is larger than an entry may be.

    Raises:
        EntryInvalid: It is.
    """
    if len(value) > MAX_ORDER_BYTES:
        text = f"the {noun} has {len(value)} bytes; at most {MAX_ORDER_BYTES} are kept"
        raise EntryInvalid(text)
