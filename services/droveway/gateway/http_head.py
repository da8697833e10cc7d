"""The head of one HTTP/1.1 request, read strictly, before llhttp sees a byte of it.

Two readings of the same bytes are how requests get smuggled. llhttp forgives a missing or a second
Host, any number of header bytes and a megabyte of chunk extension; here the grammar of RFC 9112 is
applied as written, and only what passes is handed to it, one message at a time.
Pure functions and state: no clock, no socket.

Source: RFC 9112 sections 2, 3 and 5; RFC 9110 section 7.2 (Host).
"""

import re

import msgspec

from droveway.gateway.http_limits import METHODS, HttpLimits, HttpRefusal, NotHttp, bad_request

Headers = list[tuple[bytes, bytes]]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEAD = re.compile(
    rb"(%b) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])\r\n"
    rb"(?:%b:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n" % (_TOKEN, _TOKEN)
)
_TOKEN_BYTE = re.compile(_TOKEN)
_BROKEN_LINE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_UPGRADE = re.compile(rb"(?<=\n)upgrade:[^\r]*\r\n", re.IGNORECASE)
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]*)(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)([^#]*)", re.IGNORECASE)


class RequestHead(msgspec.Struct, frozen=True):
    """The request line, checked."""

    method: bytes
    target: bytes
    version: str
    """`1.0` or `1.1`."""


def head_end(incoming: bytes, searched: int, limits: HttpLimits) -> int:
    """Offset just after the head's empty line, or 0 while it hasn't arrived.

    Args:
        incoming: Bytes from the start of the request line on.
        searched: How many of them an earlier call has looked at.
        limits: Sizes that even an unfinished head must keep.

    Raises:
        NotHttp: The first bytes can't open an HTTP/1 request.
        HttpRefusal: The head is too large or its lines are broken already.
    """
    if not _TOKEN_BYTE.match(incoming) or incoming.startswith(b"PRI * HTTP/2"):
        raise NotHttp
    end = incoming.find(b"\r\n\r\n", max(0, searched - 3)) + 4
    if end > 3:
        return end
    if _BROKEN_LINE.search(incoming, max(0, searched - 1)):
        raise bad_request("The head has a bare CR, a bare LF or a control byte; lines end in CRLF.")
    _check_sizes(incoming, incoming.find(b"\r\n"), limits)
    return 0


def read_head(head: bytes, limits: HttpLimits) -> RequestHead:
    """Check a whole head against the grammar and the size limits.

    Raises:
        HttpRefusal: 400, 405, 414, 431 or 505.
    """
    _check_sizes(head, head.find(b"\r\n"), limits)
    match = _HEAD.fullmatch(head)
    if match is None:
        raise bad_request(
            "The request head is malformed: a request line, then `name: value` lines that end in "
            "CRLF, without line folding, space before the colon or control bytes."
        )
    if head.count(b"\r\n") - 2 > limits.max_header_count:
        raise HttpRefusal(
            431,
            "request_header_fields_too_large",
            f"The request has more than {limits.max_header_count} header fields.",
        )
    method, target, version = match.groups()
    if version not in (b"1.1", b"1.0"):
        raise HttpRefusal(505, "bad_request", "Only HTTP/1.1 is spoken here.")
    if len(target) > limits.max_uri_bytes:
        raise _uri_too_long(limits)
    if method not in METHODS:
        raise HttpRefusal(405, "method_not_allowed", "The request method is not one served here.")
    return RequestHead(method, target, version.decode())


def without_upgrade(head: bytes) -> bytes:
    """The head without an offer to switch protocols, which a server may ignore.

    llhttp takes the body of a request with such an offer for the other protocol, and Java's
    HttpClient offers h2c with every POST to a plain port.

    Source: RFC 9110 section 7.8.
    """
    return _UPGRADE.sub(b"", head) if b"\nupgrade:" in head.lower() else head


def read_target(head: RequestHead, headers: Headers) -> tuple[bytes, bytes]:
    """Path and query of the request target, after checking it against the Host field.

    Raises:
        HttpRefusal: 400 for a missing, second or malformed Host, or a target for another host.
    """
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and head.version == "1.1"):
        raise bad_request(f"Exactly one Host header field is needed; the request has {len(hosts)}.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise bad_request("The Host header field is not `host` or `host:port`.")
    target = head.target
    if absolute := _ABSOLUTE.fullmatch(target):
        authority, target = absolute.groups()
        if hosts and authority.lower() != hosts[0].lower():
            raise bad_request("The request target names another host than the Host header field.")
        target = target if target.startswith(b"/") else b"/" + target
    if b"#" in target or not (target.startswith(b"/") or target == b"*"):
        raise bad_request("The request target must be a path such as /v1/chat/completions.")
    path, _, query = target.partition(b"?")
    return path, query


def _check_sizes(head: bytes, line_end: int, limits: HttpLimits) -> None:
    # 32 bytes leave room for the method and the version beside the target.
    if (line_end if line_end >= 0 else len(head)) > limits.max_uri_bytes + 32:
        raise _uri_too_long(limits)
    if len(head) > limits.max_header_bytes:
        raise _headers_too_large(limits)


def _headers_too_large(limits: HttpLimits) -> HttpRefusal:
    return HttpRefusal(
        431, "request_header_fields_too_large", f"The head is over {limits.max_header_bytes} bytes."
    )


def _uri_too_long(limits: HttpLimits) -> HttpRefusal:
    return HttpRefusal(
        414, "uri_too_long", f"The request target is over {limits.max_uri_bytes} bytes."
    )
