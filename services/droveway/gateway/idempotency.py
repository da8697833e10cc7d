"""`Idempotency-Key`: one key names one request; a second one under it never calls a provider.

A row per client key and header value in the KV bucket, made by compare-and-set before anything is
spent. It holds a fingerprint of the body and the outcome, never content, so an ended request can't
be replayed: its repeat is told so. A row whose gateway died is free again after its lease.
"""

import base64
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from droveway.contracts.envelope import encode
from droveway.contracts.jetstream import IDEMPOTENCY
from droveway.gateway.auth import RawHeaders
from droveway.gateway.refusal import refuse
from droveway.runtime.bus import Bus, store
from droveway.runtime.errors import BusError, JetStreamRefused, WrongLastSequence

MAX_TOKEN_BYTES = 255
_NO_MESSAGE = 10037
_BUCKET_S = 2.0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What the bucket keeps of one request."""

    fingerprint: bytes
    """SHA-256 of operation and body."""
    until_ms: int
    """Unix milliseconds at which a running request must have ended."""
    outcome: str = ""
    """Empty while it runs."""


class Claim:
    """This request's hold on its key; `outcome` is written when it ends."""

    def __init__(self) -> None:
        self.outcome = "failed"


_rows = msgspec.msgpack.Decoder(Row)


class Idempotency:
    """Claims on the bucket `idempotency`."""

    def __init__(self, bus: Bus, lease_s: float) -> None:
        self._bus = bus
        self._lease_s = lease_s

    @staticmethod
    def token(headers: RawHeaders) -> bytes | None:
        """The header's value; None when there is none.

        Raises:
            Refusal: 400: it is empty, too long, not printable, or there are two.
        """
        values = [value for name, value in headers if name == b"idempotency-key"]
        if not values:
            return None
        value = values[0]
        printable = all(0x21 <= byte <= 0x7E for byte in value)
        if len(values) > 1 or not 0 < len(value) <= MAX_TOKEN_BYTES or not printable:
            raise refuse("invalid_idempotency_key")
        return value

    @asynccontextmanager
    async def claim(
        self, key_id: str, token: bytes | None, operation: str, body: bytes
    ) -> AsyncIterator[Claim]:
        """Holds the key while the request runs; without a token does nothing.

        Raises:
            Refusal: 422 for another body, 409 for the same one, 503 when the bucket isn't there.
        """
        claim = Claim()
        if token is None:
            yield claim
            return
        subject = f"$KV.{IDEMPOTENCY}.{key_id}.{hashlib.sha256(token).hexdigest()}"
        now_ms = time.time_ns() // 1_000_000
        row = Row(
            fingerprint=_fingerprint(operation, body),
            until_ms=now_ms + int(self._lease_s * 1000),
        )
        try:
            revision = await self._take(subject, row, now_ms)
        except BusError as error:
            raise refuse("service_unavailable", retry_after_ms=1_000) from error
        try:
            yield claim
        finally:
            await self._settle(subject, row, revision, claim.outcome)

    async def _take(self, subject: str, row: Row, now_ms: int) -> int:
        last = 0
        for _ in range(2):
            try:
                return await self._put(subject, row, last)
            except WrongLastSequence:
                pass  # somebody has the key: see who
            known, last = await self._get(subject)
            if known is None:
                continue
            if known.fingerprint != row.fingerprint:
                raise refuse("idempotency_key_reused")
            if known.outcome:
                raise refuse("already_completed")
            if known.until_ms > now_ms:
                raise refuse("idempotency_in_progress")
        raise refuse("idempotency_in_progress")

    async def _settle(self, subject: str, row: Row, revision: int, outcome: str) -> None:
        """Writes the outcome; a request that cost nothing leaves its key free."""
        until_ms = 0 if outcome == "failed" else row.until_ms
        ended = msgspec.structs.replace(
            row, outcome="" if outcome == "failed" else outcome, until_ms=until_ms
        )
        try:
            await self._put(subject, ended, revision)
        except BusError:
            return  # the lease ends it

    async def _put(self, subject: str, row: Row, last: int) -> int:
        return await store(self._bus, subject, encode(row), _BUCKET_S, expected=last)

    async def _get(self, subject: str) -> tuple[Row | None, int]:
        try:
            answer = await self._bus.jetstream(
                f"STREAM.MSG.GET.KV_{IDEMPOTENCY}", {"last_by_subj": subject}, _BUCKET_S
            )
        except JetStreamRefused as error:
            if error.number == _NO_MESSAGE:
                return None, 0
            raise
        message = answer["message"]
        return _rows.decode(base64.b64decode(message["data"])), message["seq"]


def _fingerprint(operation: str, body: bytes) -> bytes:
    told = hashlib.sha256(operation.encode() + b"\0")
    told.update(body)
    return told.digest()
