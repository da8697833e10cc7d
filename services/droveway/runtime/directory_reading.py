"""Reads values of the bucket `access`; of one that can't be read, whether it may be a revocation.

A process of an earlier version mustn't go on accepting a key that a later one has disabled, only
because it doesn't know a field beside.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from droveway.contracts.access import Key, Tenant, key_decoder, tenant_decoder
from droveway.contracts.envelope import MALFORMED
from droveway.runtime.access_checks import key_findings, tenant_findings

_Hash = Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


class _KeyCore(msgspec.Struct, frozen=True):
    """What says whether a key is still good; other fields are not looked at."""

    sha256: _Hash
    state: str = "active"


class _TenantCore(msgspec.Struct, frozen=True):
    """As `_KeyCore`."""

    id: str
    state: str = "active"


_key_core = msgspec.json.Decoder(_KeyCore)
_tenant_core = msgspec.json.Decoder(_TenantCore)


def read_key(entry_id: str, value: bytes | None) -> Key | None:
    """A key; None: there is none any more.

    Raises:
        ValueError: It contradicts itself.
        msgspec.MsgspecError: It can't be decoded; also the rest of `MALFORMED`.
    """
    if value is None:
        return None
    key = key_decoder.decode(value)
    _check(entry_id, key.id, key_findings(key))
    return key


def read_tenant(entry_id: str, value: bytes | None) -> Tenant | None:
    """As `read_key`."""
    if value is None:
        return None
    tenant = tenant_decoder.decode(value)
    _check(entry_id, tenant.id, tenant_findings(tenant))
    return tenant


def may_revoke(before: Key | Tenant, value: bytes) -> bool:
    """Whether a value that can't be read may revoke the entry before.

    So it is unless it can be seen that the state is `active` and a key's hash is as it was.
    """
    try:
        if isinstance(before, Key):
            core = _key_core.decode(value)
            return core.state != "active" or core.sha256 != before.sha256
        return _tenant_core.decode(value).state != "active"
    except MALFORMED:
        return True


def _check(entry_id: str, own_id: str, findings: Iterable[str]) -> None:
    if own_id != entry_id:
        raise ValueError(f"it calls itself {own_id[:64]!r}")
    for finding in findings:
        raise ValueError(finding)
