"""Who changed what, when, from what to what: JSON events in the stream AUDIT.

An event is stored before its change is made, so no change is without one. A change that then fails
leaves a second event, which names the first in `of`. No event holds a secret or the hash of one.
"""

from typing import Any, Literal

import msgspec

from droveway.contracts.envelope import Id, NoId, Text
from droveway.contracts.envelope import subject as _subject

Via = Literal["gateway", "operator", "metrics"]
Outcome = Literal["begun", "failed", "unknown"]
ANY = _subject("audit") + ".*"
"""All audit events."""


def audit_subject(via: Via) -> str:
    """`droveway.v1.audit.<gateway, operator or metrics>`: the broker proves which it was."""
    return _subject("audit", via)


class Author(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a change."""

    via: Via
    """`gateway`: the HTTP API, which has checked the admin's key; `operator`: the command line,
    whose user the operating system names; `metrics`: the guard that rolls a canary back."""
    id: Text
    """The admin's id, the user of the operating system, or `canary-guard`."""
    role: str = ""
    """The admin's role; empty on the command line."""
    address: str = ""
    """The client's IP address, where there is one."""
    request_id: NoId = ""


class AuditRecorded(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True,
    tag="audit.recorded.v1", tag_field="t",
):  # fmt: skip
    """One change of a key, a tenant, a route's canary or the configuration."""

    id: Id
    at: str
    """RFC 3339, UTC, milliseconds, by the author's clock; the stream has the broker's."""
    by: Author
    action: str
    """`key.created`, `tenant.updated`, `canary.advanced`, `config.applied` and so on."""
    target: str
    """`key.<id>`, `tenant.<id>`, `canary.<route>` or `config`."""
    before: dict[str, Any] | None = None
    """The entry without hashes, of the configuration its version; absent where there was none."""
    after: dict[str, Any] | None = None
    """Absent where there is none any more."""
    outcome: Outcome = "begun"
    """`failed`: the change wasn't made; `unknown`: the broker didn't say."""
    of: NoId = ""
    """The event whose outcome this one tells."""
    reason: Text = ""


encode_json = msgspec.json.Encoder().encode
audit_decoder = msgspec.json.Decoder(AuditRecorded)
