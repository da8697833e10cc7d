"""Entries of the bucket `config` as those read them who change the configuration."""

from typing import NamedTuple

import msgspec

from droveway.contracts.configuration import AppliedConfig, applied_decoder
from droveway.contracts.envelope import MALFORMED
from droveway.runtime.bus.direct_get import Stored


class Standing(NamedTuple):
    """What the bucket has now."""

    revision: int
    """0: there never was an entry."""
    applied: AppliedConfig | None
    """None: services hold what their files say, or it is `unreadable`."""
    unreadable: str = ""
    """Why the entry can't be read; it can be replaced and released all the same."""


class Revision(NamedTuple):
    """One line of the history."""

    number: int
    at: str
    """RFC 3339, UTC."""
    released: bool
    """From here on services held what their files said."""
    version: str = ""
    by: str = ""
    """Of a release the audit trail has it."""
    reason: str = ""
    of: int = 0
    """The revision that it brought back; 0: none."""


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """An entry without its configuration: also one of a later version can be listed."""

    version: str = "?"
    at: str = ""
    by: str = ""
    reason: str = ""
    of: int = 0


_told_decoder = msgspec.json.Decoder(_Told)


def standing_of(stored: Stored) -> Standing:
    """The newest message of the bucket as what holds now."""
    if stored.operation:
        return Standing(stored.sequence, None)
    try:
        return Standing(stored.sequence, applied_decoder.decode(stored.payload))
    except MALFORMED as error:
        return Standing(stored.sequence, None, f"revision {stored.sequence} can't be read: {error}")


def revision_of(stored: Stored) -> Revision:
    """A message of the bucket as a line of the history."""
    if stored.operation:
        return Revision(stored.sequence, stored.stored_at, released=True)
    try:
        told = _told_decoder.decode(stored.payload)
    except MALFORMED:
        told = _Told()
    return Revision(
        stored.sequence, told.at or stored.stored_at, False, told.version, told.by, told.reason,
        told.of,
    )  # fmt: skip
