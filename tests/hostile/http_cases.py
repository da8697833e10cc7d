"""The hostile HTTP requests that must be refused, with the answer of each.

`<name>` stands for a key of the world. `row` numbers the kinds of input: 1-5 and 14 keys, 6-13
framing, 15-22 bodies, 31 idempotency keys, 33 paths, 34 methods.
"""

from collections.abc import Callable
from typing import NamedTuple

from tests.hostile.world import CANARY, MAX_BODY_BYTES

KEY = b"authorization: Bearer <key>"
BASIC = b"authorization: Basic dXNlcjpwYXNz"
JSON = b"content-type: application/json"
BODY = b'{"model":"numbered-3","messages":[{"role":"user","content":"%b"}]}' % CANARY.encode()
TOO_MANY = MAX_BODY_BYTES // 1_000 + 1
CHAT = b"/v1/chat/completions"
SILENT = 0
"""Instead of a status: the connection is closed without a word."""


class Case(NamedTuple):
    """One request and its answer."""

    row: int
    name: str
    data: bytes | Callable[[], bytes]
    status: int
    code: str = ""
    closes: bool = False
    """The connection is closed after the answer."""
    allow: str = ""
    ends: bool = False
    """The client shuts down its sending side after the bytes."""

    @property
    def id(self) -> str:
        return f"C{self.row} {self.name}"

    @property
    def wire(self) -> bytes:
        """The request as it is sent, but for its keys."""
        return self.data if isinstance(self.data, bytes) else self.data()


def request(
    *headers: bytes,
    method: bytes = b"POST",
    path: bytes = CHAT,
    key: bytes = KEY,
    kind: bytes = JSON,
    host: bytes = b"host: a",
    body: bytes = BODY,
    length: bytes | None = None,
) -> bytes:
    """An honest request but for what is named."""
    size = b"content-length: %d" % len(body) if length is None else length
    fields = [field for field in (host, key, kind, *headers, size) if field]
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, path), *fields, b"", body])


def get(path: bytes, *headers: bytes, method: bytes = b"GET", key: bytes = KEY) -> bytes:
    return request(*headers, method=method, path=path, key=key, kind=b"", body=b"", length=b"")


def bearer(key: bytes) -> bytes:
    return b"authorization: Bearer " + key


def chunked(*pieces: bytes) -> bytes:
    return request(b"transfer-encoding: chunked", length=b"", body=b"".join(pieces))


def unauthorized(row: int, name: str, data: bytes, code: str = "invalid_api_key") -> Case:
    return Case(row, name, data, 401, code)


def malformed(row: int, name: str, data: bytes | Callable[[], bytes], status: int = 400) -> Case:
    codes = {
        400: "bad_request", 413: "request_too_large", 414: "uri_too_long",
        431: "request_header_fields_too_large", 501: "not_implemented",
    }  # fmt: skip
    return Case(row, name, data, status, codes[status], closes=True)


def silent(row: int, name: str, data: bytes, *, ends: bool = False) -> Case:
    return Case(row, name, data, SILENT, closes=True, ends=ends)


def body(row: int, name: str, data: bytes, code: str = "invalid_json") -> Case:
    return Case(row, name, request(body=data), 400, code)


def chat(extra: bytes = b"", content: bytes = b'"hi"') -> bytes:
    message = b'{"role":"user","content":%b}' % content
    return b'{"model":"numbered-3","messages":[%b]%b}' % (message, extra)


def refused(name: str, path: bytes, method: str, allow: str = "POST") -> Case:
    data = get(path, method=method.encode())
    return Case(34, name, data, 405, "method_not_allowed", allow == _ALL, allow)


_ALL = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"

KEYS = [
    unauthorized(1, "no key", request(key=b"")),
    unauthorized(1, "empty", request(key=b"authorization:")),
    unauthorized(1, "bearer of nothing", request(key=b"authorization: Bearer ")),
    unauthorized(1, "basic", request(key=BASIC)),
    unauthorized(1, "basic beside x-api-key", request(b"x-api-key: <key>", key=BASIC)),
    unauthorized(1, "two authorizations", request(KEY)),
    unauthorized(1, "two x-api-keys", request(b"x-api-key: <key>", b"x-api-key: <key>", key=b"")),
    unauthorized(1, "empty x-api-key", request(b"x-api-key:", key=b"")),
    unauthorized(2, "wrong checksum", request(key=bearer(b"<mistyped>"))),
    unauthorized(2, "unknown id", request(key=bearer(b"<unknown>"))),
    unauthorized(2, "right id wrong secret", request(key=bearer(b"<wrong_secret>"))),
    unauthorized(2, "other form", request(key=bearer(b"sk-" + CANARY.encode()))),
    unauthorized(2, "20 kB", request(key=bearer(b"k" * 20_000))),
    unauthorized(2, "unicode", request(key=bearer("schlüssel-✓".encode()))),
    malformed(2, "10 MB", lambda: request(key=bearer(b"k" * 10_000_000)), 431),
    malformed(2, "NUL", request(key=bearer(b"<key>\0"))),
    Case(3, "two different keys", request(b"x-api-key: <other>"), 400, "conflicting_credentials"),
    unauthorized(4, "disabled", request(key=bearer(b"<off>")), "key_disabled"),
    unauthorized(4, "not activated", request(key=bearer(b"<new>")), "key_not_activated"),
    unauthorized(4, "expired", request(key=bearer(b"<old>")), "key_expired"),
    unauthorized(5, "?key=", request(key=b"", path=CHAT + b"?key=<key>")),
    unauthorized(5, "?api_key=", get(b"/v1/models?api_key=<key>", key=b"")),
    unauthorized(14, "expect 100", request(b"expect: 100-continue", key=b"")),
]  # fmt: skip

FRAMING = [
    malformed(6, "CL and TE", request(b"transfer-encoding: chunked")),
    malformed(6, "two CL", request(b"content-length: 3")),
    *(
        malformed(6, f"CL {bad.decode()}", request(length=b"content-length: " + bad))
        for bad in (b"+5", b"-1", b"0x5", b"4,4", b"5 5", b"1e3")
    ),
    malformed(7, "TE xchunked", request(b"transfer-encoding: xchunked", length=b"")),
    malformed(7, "TE twice", request(b"transfer-encoding: chunked, identity", length=b"")),
    malformed(7, "TE space", request(b"transfer-encoding : chunked", length=b"")),
    malformed(8, "bare LF", b"GET /v1/models HTTP/1.1\nhost: a\n\n"),
    malformed(8, "folded", request(b"x: a\r\n b")),
    malformed(8, "bare CR", request(b"x: a\rb")),
    malformed(8, "NUL", request(b"x: a\0b")),
    malformed(9, "200 kB header", request(b"x: " + b"x" * 200_000), 431),
    malformed(9, "5000 headers", request(*[b"x: y"] * 5_000), 431),
    malformed(9, "100 kB URI", request(path=b"/" + b"x" * 100_000), 414),
    malformed(10, "no host", request(host=b"")),
    malformed(10, "two hosts", request(b"host: b")),
    malformed(10, "other host", request(path=b"http://other" + CHAT)),
    silent(11, "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    silent(11, "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    silent(11, "garbage", b"\x00\xff\xfe\x01\x02"),
    Case(12, "slow head", b"POST /v1/ch", 408, "request_timeout", closes=True),
    Case(12, "slow body", request(length=b"content-length: 999"), 408, "request_timeout", True),
    silent(12, "nothing", b""),
    silent(12, "short body", request(length=b"content-length: 999"), ends=True),
    malformed(13, "by length", request(length=b"content-length: 999999999"), 413),
    malformed(13, "by chunks", chunked(*[b"3e8\r\n%b\r\n" % (b" " * 1000)] * TOO_MANY), 413),
    malformed(13, "by one chunk", chunked(b"fffffff\r\n "), 413),
    malformed(13, "1 MB chunk extension", lambda: chunked(b"1;" + b"x" * 1_000_000 + b"\r\na\r\n")),
]  # fmt: skip

BOUNDARY = b"content-type: multipart/form-data; boundary="

BODIES = [
    Case(15, "gzip", request(b"content-encoding: gzip"), 415, "unsupported_media_type"),
    Case(15, "unknown coding", request(b"content-encoding: x"), 415, "unsupported_media_type"),
    *(
        Case(16, name, request(kind=kind), 415, "unsupported_media_type")
        for name, kind in {
            "text": b"content-type: text/plain",
            "none": b"",
            "form": b"content-type: application/x-www-form-urlencoded",
            "30 kB boundary": BOUNDARY + b"b" * 30_000,
        }.items()
    ),
    malformed(16, "100 kB boundary", request(kind=BOUNDARY + b"b" * 100_000), 431),
    body(17, "empty", b""),
    body(17, "null", b"null", "invalid_request"),
    body(17, "array", b"[]", "invalid_request"),
    body(17, "string", b'"x"', "invalid_request"),
    body(17, "garbage behind", chat() + b"x"),
    body(17, "byte order mark", b"\xef\xbb\xbf" + chat()),
    body(18, "nested 90 k", b'{"a":' + b"[" * 90_000 + b"]" * 90_000 + b"}", "invalid_request"),
    body(18, "nested 150 k and open", b"[" * 150_000, "invalid_request"),
    body(19, "invalid UTF-8", chat(content=b'"\xff\xfe"')),
    body(21, "NaN", chat(b',"temperature":NaN')),
    body(21, "Infinity", chat(b',"temperature":Infinity')),
    body(21, "1e999999", chat(b',"temperature":1e999999')),
    body(21, "5000 digits", chat(b',"seed":' + b"9" * 5_000)),
    body(22, "lone surrogate", chat(content=rb'"\ud800"')),
]  # fmt: skip

TOKENS = [
    Case(31, name, request(b"idempotency-key: " + token), 400, "invalid_idempotency_key")
    for name, token in {
        "empty": b"", "10 kB": b"k" * 10_000, "256": b"k" * 256, "blank within": b"a b",
        "unicode": "ü".encode(), "twice": b"a\r\nidempotency-key: a",
    }.items()
]  # fmt: skip
TOKENS.append(malformed(31, "CR", request(b"idempotency-key: a\rb")))

PATHS = [
    *(
        Case(33, path.decode(), get(path), 404, "unknown_url")
        for path in (
            b"//v1/models", b"/v1/../admin", b"/v1/%2e%2e/admin", b"/v1/models/../chat/completions",
            b"/v1/models/%2e%2e/%2e%2e/admin", b"/v1/models%00", b"/v1/models//x", b"/v1/batches/*",
            b"/v1/batches/a.>", b"/V1/models", b"/", b"/metrics", b"/v1/models%0d%0ax:y",
        )
    ),
    *(refused(f"{method} chat", CHAT, method) for method in
      ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")),
    *(refused(f"{method} models", b"/v1/models", method, "GET") for method in
      ("HEAD", "POST", "OPTIONS")),
    *(refused(method, CHAT, method, _ALL) for method in ("TRACE", "BREW", "post")),
    refused("CONNECT", b"a:80", "CONNECT", _ALL),
]  # fmt: skip

CASES = [*KEYS, *FRAMING, *BODIES, *TOKENS, *PATHS]
