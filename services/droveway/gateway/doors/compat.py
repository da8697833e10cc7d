"""What some clients read in answers although no API has it; only where an operator asks for it."""

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.gateway.doors.answering import Amend
from droveway.gateway.operations import CHAT, RESPONSES, Operation

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def amendment(compat: str, operation: Operation) -> Amend | None:
    """What `compat`, a setting of the gateway, adds to the whole answers of an operation."""
    return with_total_duration if compat == "seeds" and operation in (CHAT, RESPONSES) else None


def with_total_duration(body: bytes, duration_ms: int) -> bytes:
    """An answer with `usage.total_duration`; one that tells no usage stays as it is."""
    try:
        answer = _fields(body)
        usage = _fields(answer.get("usage", b"null"))
    except MALFORMED:
        return body
    usage["total_duration"] = msgspec.Raw(b"%d" % duration_ms)
    return _encode({**answer, "usage": usage})
