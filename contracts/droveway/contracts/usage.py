"""(5) Caller and door to the ledger: what happened, exactly once per attempt and request.

Rows go to the JetStream stream USAGE on `usage.<tenant>`, off the client's path. The attempt id and
the request id are the primary keys. An attempt whose caller died before it could tell has a row by
a witness, `estimated`; the caller's own, should it come after all, takes its place.

Rows of one tenant share a message when they leave together: its payload is an array of rows then,
and one row's map otherwise.

Phase times are microseconds from the row's `began_ns`, absent when the phase wasn't reached; they
are there whether the request was sampled for tracing or not.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec

from droveway.contracts.envelope import (
    MALFORMED,
    AttemptId,
    Id,
    NanoUsd,
    NoId,
    Text,
    UnixNs,
    encode,
)
from droveway.contracts.envelope import subject as _subject
from droveway.contracts.relay import Usage

Micros = Annotated[int, msgspec.Meta(ge=0)]
"""Microseconds since the row's `began_ns`."""

MAX_ROWS = 50
"""Rows of one message; one with more is refused whole."""
MAX_ROWS_BYTES = 48 * 1024
"""Of one message of several rows; the stream takes 64 KiB. A larger row goes alone."""


def usage_subject(tenant: str) -> str:
    """`droveway.v1.usage.<tenant>`."""
    return _subject("usage", tenant)


class AttemptTimes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt's phases, from the caller's receipt of `CallRouted`."""

    sent_us: Micros | None = None
    headers_us: Micros | None = None
    first_token_us: Micros | None = None
    last_token_us: Micros | None = None
    ended_us: Micros = 0


class AttemptRecorded(
    msgspec.Struct, frozen=True, kw_only=True, tag="attempt.recorded.v1", tag_field="t"
):
    """One upstream attempt has ended, however it did."""

    attempt_id: AttemptId
    request_id: Id
    attempt: int
    traceparent: str
    """The attempt's own span."""
    tenant: Id
    key_id: Id
    caller: Id
    witness: NoId = ""
    """Who tells it instead of its caller, which died: a router, a door, or metrics; empty: its
    caller."""
    router: NoId
    """Empty: its witness doesn't know."""
    provider: Id
    credential: NoId
    """Empty: its witness doesn't know."""
    model: Text
    """The name asked of the provider."""
    asked_model: Text = ""
    """The name that the client asked for."""
    channel: NoId = ""
    """`canary` or `stable`, of a route that has a canary; else empty."""
    served_model: Text = ""
    """The name that the provider reported."""
    stream: bool
    outcome: str
    """`completed`, `failed`, `interrupted` or `cancelled`."""
    code: str = ""
    status: int = 0
    finish_reason: str = ""
    committed: bool = False
    request_sent: bool = False
    usage: Usage = Usage()
    cost_nano_usd: NanoUsd | None = None
    """Left to the ledger, which knows prices."""
    received_ns: UnixNs = 0
    """The router's receipt of the request."""
    admitted_ns: UnixNs = 0
    routed_ns: UnixNs = 0
    began_ns: UnixNs
    times: AttemptTimes


class RequestTimes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request's phases at its door, from its first byte."""

    authenticated_us: Micros | None = None
    body_us: Micros | None = None
    enqueued_us: Micros | None = None
    accepted_us: Micros | None = None
    first_frame_us: Micros | None = None
    first_byte_us: Micros | None = None
    ended_us: Micros = 0


class RequestRecorded(
    msgspec.Struct, frozen=True, kw_only=True, tag="request.recorded.v1", tag_field="t"
):
    """One accepted request has ended; the client was told its outcome, or had left."""

    request_id: Id
    traceparent: str
    """The request's root span."""
    parent: str = ""
    """The client's own `traceparent`, when it sent one."""
    tenant: Id
    key_id: Id
    door: Id
    protocol: Id = "http"
    """By which way it came in: `http` or `nats`."""
    operation: str
    """`chat.completions`."""
    model: Text
    stream: bool
    outcome: str
    """`completed`, `failed`, `interrupted` or `cancelled`."""
    status: int
    """What the client got; 499 when it left first."""
    code: str = ""
    attempts: int = 0
    channel: NoId = ""
    """As in the row of the attempt that answered."""
    provider: str = ""
    served_model: Text = ""
    attempt_id: bytes = b""
    usage: Usage = Usage()
    answer_bytes: int = 0
    events: int = 0
    began_ns: UnixNs
    times: RequestTimes


Row = AttemptRecorded | RequestRecorded

row_decoder = msgspec.msgpack.Decoder(Row)
_raws_decoder = msgspec.msgpack.Decoder(
    Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_ROWS)]
)


class RowReader:
    """Reads messages of one row and of several; the first byte tells them apart.

    Args:
        decoder: Of one row, bare.
    """

    def __init__(self, decoder: "msgspec.msgpack.Decoder[Any]") -> None:
        self._row = decoder
        kind: Any = decoder.type
        self._rows: msgspec.msgpack.Decoder[list[Row]] = msgspec.msgpack.Decoder(
            Annotated[list[kind], msgspec.Meta(max_length=MAX_ROWS)]
        )

    def rows_of(
        self, payload: bytes, on_malformed: Callable[[str], None] | None = None
    ) -> list[Row]:
        """A message's rows in their order.

        Args:
            payload: Of a message of USAGE.
            on_malformed: Is told the reason for each row that is left out, since it is none.

        Raises:
            DecodeError: A row is none, and there is no `on_malformed`; or one of
                `envelope.MALFORMED`.
        """
        array = _is_array(payload)
        try:
            return self._rows.decode(payload) if array else [self._row.decode(payload)]
        except MALFORMED as error:
            if on_malformed is None:
                raise
            if array:
                return self._each(payload, on_malformed)
            on_malformed(str(error))
            return []

    def _each(self, payload: bytes, on_malformed: Callable[[str], None]) -> list[Row]:
        """Row by row, so that one that is none takes no other with it."""
        rows: list[Row] = []
        try:
            for raw in _raws_decoder.decode(payload):
                try:
                    rows.append(self._row.decode(raw))
                except MALFORMED as error:
                    on_malformed(str(error))
        except MALFORMED as error:
            on_malformed(str(error))
        return rows


rows_of = RowReader(row_decoder).rows_of


def encode_rows(rows: Sequence[Row | msgspec.Raw]) -> bytes:
    """The payload of one message; of one row it is the row itself.

    Args:
        rows: Of one tenant, up to `MAX_ROWS` and `MAX_ROWS_BYTES`; or the bytes of each.
    """
    return encode(rows[0] if len(rows) == 1 else rows)


def _is_array(payload: bytes) -> bool:
    """Source: the MessagePack specification: fixarray, array 16, array 32."""
    return bool(payload) and (payload[0] & 0xF0 == 0x90 or payload[0] in (0xDC, 0xDD))
