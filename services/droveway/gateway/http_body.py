"""Where the body of one HTTP/1.1 request ends, and how much of it may come.

Follows `http_head` on a request's path. Only the delimiting is done here; llhttp decodes the same
bytes afterwards and must agree. Pure state: no clock, no socket.

Source: RFC 9112 sections 6 and 7; RFC 9110 section 8.6 (Content-Length).
"""

import re
from enum import Enum
from typing import Protocol

from droveway.gateway.http_head import Headers, RequestHead
from droveway.gateway.http_limits import HttpLimits, HttpRefusal, bad_request

_CONTENT_LENGTH = re.compile(rb"[0-9]{1,19}")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER_LINE = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*)?\r\n")


class Body(Protocol):
    """The part of a message after its head, taken piece by piece."""

    complete: bool
    received_bytes: int
    expected_bytes: int
    """Bytes known to be coming so far; the body's deadline is reckoned from it."""

    def take(self, data: bytes) -> int:
        """Count the leading bytes of `data` that belong to this message."""
        ...


def read_body(head: RequestHead, headers: Headers, limits: HttpLimits) -> Body | None:
    """How the message's body is delimited; None for a message without one.

    Raises:
        HttpRefusal: 400 for ambiguous framing, 413 for a length over the cap, 501 for a transfer
            coding other than `chunked`.
    """
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and (lengths or len(codings) > 1 or head.version == "1.0"):
        raise bad_request("Use one of Content-Length or a single `Transfer-Encoding: chunked`.")
    if codings:
        if codings[0].lower() != b"chunked":
            raise HttpRefusal(501, "not_implemented", "Only `chunked` is understood.")
        return ChunkedBody(limits)
    if not lengths:
        return None
    if len(lengths) > 1 or not _CONTENT_LENGTH.fullmatch(lengths[0]):
        raise bad_request("Content-Length must be given once, as decimal digits.")
    length = int(lengths[0])
    if length > limits.max_body_bytes:
        raise _too_large(limits)
    return LengthBody(length) if length else None


class LengthBody:
    """A body of `Content-Length` bytes."""

    def __init__(self, length: int) -> None:
        self.complete = False
        self.received_bytes = 0
        self.expected_bytes = length

    def take(self, data: bytes) -> int:
        """Count the leading bytes of `data` that belong to this message."""
        taken = min(len(data), self.expected_bytes - self.received_bytes)
        self.received_bytes += taken
        self.complete = self.received_bytes == self.expected_bytes
        return taken


class _Next(Enum):
    SIZE = "size line"
    DATA = "data"
    DATA_END = "CRLF after data"
    TRAILER = "trailer line"


class ChunkedBody:
    """A chunked body: size line, data, CRLF, and so on to a chunk of size 0 and trailer lines."""

    def __init__(self, limits: HttpLimits) -> None:
        self.complete = False
        self.received_bytes = 0
        self.expected_bytes = 0
        self._limits = limits
        self._next = _Next.SIZE
        self._line = b""
        self._trailer_bytes = 0

    def take(self, data: bytes) -> int:
        """Count the leading bytes of `data` that belong to this message.

        Raises:
            HttpRefusal: 400 for broken framing, 413 past the body cap, 431 past the trailer cap.
        """
        taken = 0
        while taken < len(data) and not self.complete:
            if self._next is _Next.DATA:
                taken += self._take_data(len(data) - taken)
            else:
                taken += self._take_line(data, taken)
        return taken

    def _take_data(self, available: int) -> int:
        step = min(self.expected_bytes - self.received_bytes, available)
        self.received_bytes += step
        if self.received_bytes == self.expected_bytes:
            self._next = _Next.DATA_END
        return step

    def _take_line(self, data: bytes, start: int) -> int:
        room = self._line_cap() - len(self._line)
        end = data.find(b"\n", start, start + room) + 1
        if not end and len(data) - start >= room:
            raise self._line_too_long()
        piece = data[start : end or None]
        self._line += piece
        if end:
            line, self._line = self._line, b""
            self._read_line(line)
        return len(piece)

    def _read_line(self, line: bytes) -> None:
        if self._next is _Next.SIZE:
            self._read_size(line)
        elif self._next is _Next.DATA_END:
            if line != b"\r\n":
                raise bad_request("A chunk is longer than its size line says.")
            self._next = _Next.SIZE
        else:
            if not _TRAILER_LINE.fullmatch(line):
                raise bad_request("A trailer field after the chunked body is malformed.")
            self._trailer_bytes += len(line)
            self.complete = line == b"\r\n"

    def _read_size(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise bad_request("A chunk must begin with its size in hexadecimal and CRLF.")
        size = int(match[1], 16)
        self.expected_bytes += size
        self._next = _Next.DATA if size else _Next.TRAILER
        if self.expected_bytes > self._limits.max_body_bytes:
            raise _too_large(self._limits)

    def _line_cap(self) -> int:
        if self._next is _Next.TRAILER:
            return self._limits.max_trailer_bytes - self._trailer_bytes
        return self._limits.max_chunk_line_bytes

    def _line_too_long(self) -> HttpRefusal:
        if self._next is _Next.TRAILER:
            cap = self._limits.max_trailer_bytes
            message = f"The trailer fields are over {cap} bytes."
            return HttpRefusal(431, "request_header_fields_too_large", message)
        cap = self._limits.max_chunk_line_bytes
        return bad_request(f"A line of the chunked body's framing is over {cap} bytes.")


def _too_large(limits: HttpLimits) -> HttpRefusal:
    return HttpRefusal(
        413, "request_too_large", f"The request body is over {limits.max_body_bytes} bytes."
    )
