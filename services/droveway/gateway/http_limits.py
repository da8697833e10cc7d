"""What one HTTP client may take from the gateway, and the answer when it asks for more.

First stop of a request's path: these bounds hold before authentication, so nobody needs a key to
meet them. Each bound ends in an `HttpRefusal`, which becomes one JSON answer in OpenAI's error
shape with `connection: close`, or in a silent close where the peer does not speak HTTP.
"""

from typing import Annotated, Literal

import msgspec

from droveway.contracts.errors import Failure, failure
from droveway.gateway.answers import error_headers
from droveway.gateway.faces import face_of

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Bytes = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]

REASONS = {
    400: "Bad Request",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the HTTP edge; every field says its unit and what happens when it is reached."""

    connect_idle_s: Seconds = 10.0
    """Seconds that a new connection may stay without a first byte; then it is closed silently."""

    header_timeout_s: Seconds = 10.0
    """Seconds from the first byte of a request head to its last; then 408 `request_timeout`."""

    keep_alive_idle_s: Seconds = 75.0
    """Seconds that a connection may rest after an answer; then it is closed silently."""

    max_header_bytes: Bytes = 32 * 1024
    """Bytes of a request head, request line included; above it 431."""

    max_header_count: Count = 100
    """Header fields of a request; above it 431."""

    max_uri_bytes: Bytes = 8 * 1024
    """Bytes of the request target; above it 414."""

    max_connections: Count = 2_000
    """Open connections of this process; the next one gets 503 `connection_limit` and a close."""

    max_connections_per_address: Annotated[int, msgspec.Meta(ge=0)] = 500
    """Open connections per client address, 0 = no such bound (behind one proxy); 503 above it."""

    max_body_bytes: Bytes = 20 * 1024 * 1024
    """Bytes of a request body, decoded; above it 413 `request_too_large`."""

    body_base_s: Seconds = 10.0
    """Seconds that any body may take, however small; see `body_min_bytes_per_s`."""

    body_min_bytes_per_s: Bytes = 64 * 1024
    """Bytes per second that a body must keep up beyond `body_base_s`; slower is 408."""

    max_chunk_line_bytes: Bytes = 256
    """Bytes of one chunk's size line with its extensions; above it 400."""

    max_trailer_bytes: Bytes = 8 * 1024
    """Bytes of trailer fields after a chunked body (they are dropped); above it 431."""

    max_pipelined_bytes: Bytes = 64 * 1024
    """Bytes of following requests held while an answer runs; above it the socket isn't read."""

    write_stall_s: Seconds = 30.0
    """Seconds that an answer may make no progress towards its reader; then the connection is cut.

    Not the kernel's TCP_USER_TIMEOUT: that also cuts clients that read, but little at a time.
    """

    max_unsent_bytes: Bytes = 64 * 1024
    """Bytes of an answer that the kernel holds and hasn't sent; then the provider has to wait."""

    max_buffered_bytes: Bytes = 32 * 1024
    """Bytes of an answer that this process holds for the kernel; then it takes no more frames."""

    half_close: Literal["finish", "disconnect"] = "finish"
    """What the end of the client's sending means while its answer runs: finish it, or drop it."""

    half_close_probe_s: Seconds = 0.005
    """Seconds after such an end when a probe asks whether the client still reads."""

    linger_s: Seconds = 2.0
    """Seconds that a closing connection still swallows input, so that the answer isn't reset."""

    linger_bytes: Bytes = 32 * 1024 * 1024
    """Bytes swallowed at most while lingering; above it the connection is cut."""

    max_lingering: Count = 200
    """Refused connections that may linger; above it a refused connection is cut at once."""

    drain_s: Seconds = 300.0
    """Seconds that running answers get once the server stops; then they are cut."""

    idle_drain_s: Seconds = 1.0
    """Seconds that a resting connection stays once the server stops; then it is closed.

    A request that comes by then is answered and told that it was the last one: closed at once,
    connections would reset what their clients are just sending.
    """

    backlog: Count = 1_024
    """Connections that wait in the kernel to be accepted; above it the kernel drops them."""


_OTHER_DESCRIPTORS = 64
"""Files, the broker, the admin port and what else a process has open beside its clients."""


def within_descriptors(limits: HttpLimits, descriptors: int) -> HttpLimits:
    """Limits that a process with so many file descriptors can keep.

    At the descriptors' end the kernel would close new connections without a word; below it a
    client is told 503. A fifth of the room is for connections that were refused and linger.
    """
    room = max(descriptors - _OTHER_DESCRIPTORS, 10)
    return msgspec.structs.replace(
        limits,
        max_connections=min(limits.max_connections, room * 4 // 5),
        max_lingering=min(limits.max_lingering, room // 10),
    )


class HttpRefusal(Exception):
    """A request that ends at the HTTP edge with an answer; the connection is closed after it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    @property
    def failure(self) -> Failure:
        """The refusal as an occurrence of the error catalogue."""
        return failure(self.code, self.message, status=self.status)

    def answer(self, date: bytes, request_id: str, path: str = "") -> bytes:
        """The whole HTTP answer, in the error shape of the API that was asked.

        Args:
            date: Value of the `date` header.
            request_id: Value of the header that names the request.
            path: Of the request, where it was read so far.
        """
        face = face_of(path)
        body = face.error_body(self.failure, (), request_id)
        headers = [
            *face.base_headers(request_id),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"date", date),
            (b"connection", b"close"),
            *error_headers(self.failure),
        ]
        if self.status == 405:
            headers.append((b"allow", b", ".join(METHODS)))
        status_line = f"HTTP/1.1 {self.status} {REASONS[self.status]}".encode()
        lines = [b"%b: %b" % header for header in headers]
        return b"\r\n".join([status_line, *lines, b"", body])


class NotHttp(Exception):
    """The peer speaks something else (TLS, HTTP/2, noise); it is closed without an answer."""


METHODS = (b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT")
"""Methods that reach the application, which decides per route; any other token is a 405 here."""


def bad_request(message: str) -> HttpRefusal:
    """A 400 `bad_request` for bytes that aren't well-formed HTTP/1.1."""
    return HttpRefusal(400, "bad_request", message)
