"""What a client put on the bus, read with bounds: header lines, and a body as JSON or msgpack.

Pure functions. Headers are options and treated like HTTP's: what can't be read counts as not said.
"""

import msgspec

from droveway.contracts.client import FLOW, is_msgpack
from droveway.contracts.envelope import MALFORMED
from droveway.gateway.auth import RawHeaders
from droveway.gateway.doors.packed import check_packed, malformed
from droveway.gateway.refusal import refuse

MAX_HEADER_BYTES = 16 * 1024
"""Of one message's header block."""
MAX_HEADERS = 64
_FLOWS = ("none", "credit")
_FLOW = FLOW.encode()


def read_headers(block: bytes | None) -> RawHeaders:
    """Names in lower case and values, in their order; a line that is no header is left out.

    Raises:
        Refusal: 431: there are too many bytes or lines.
    """
    if block is None:
        return []
    if len(block) > MAX_HEADER_BYTES:
        raise refuse(
            "request_header_fields_too_large", f"The headers are over {MAX_HEADER_BYTES} bytes."
        )
    lines = block.split(b"\r\n")[1:]  # the first is `NATS/1.0`
    if len(lines) > MAX_HEADERS + 2:  # two empty ones end the block
        raise refuse("request_header_fields_too_large", f"There are over {MAX_HEADERS} headers.")
    pairs = (line.partition(b":") for line in lines)
    return [(name.strip().lower(), value.strip()) for name, colon, value in pairs if colon]


def read_flow(headers: RawHeaders) -> str:
    """`none` or `credit`; empty when the client doesn't ask for frames.

    Raises:
        Refusal: 400: another value.
    """
    values = [value for name, value in headers if name == _FLOW]
    if not values:
        return ""
    flow = values[0].decode("latin-1")
    if len(values) > 1 or flow not in _FLOWS:
        raise refuse("invalid_request", f"`{FLOW}` must be one of {', '.join(_FLOWS)}.", param=FLOW)
    return flow


def read_body(payload: bytes) -> bytes:
    """The JSON that one would POST; a msgpack map is written as that.

    Raises:
        Refusal: 400: msgpack that JSON can't say, or of too many values. JSON itself isn't looked
            at here.
    """
    if not is_msgpack(payload):
        return payload
    check_packed(payload)
    try:
        return msgspec.json.encode(msgspec.msgpack.decode(payload))
    except MALFORMED:
        raise malformed() from None
