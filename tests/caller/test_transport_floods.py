"""What a hostile provider sends without end is cut off early, and never held in memory."""

import asyncio

import pytest

from droveway.caller.failures import failure_before_commit
from droveway.caller.phases import Phases
from droveway.caller.upstream_errors import BadResponse, NoResponse, ReadStalled, ResponseTimeout
from tests.support.calls import HEADERS, PHASES, assert_at_rest, called, opened
from tests.support.upstream import CHUNKED, Peer, Script, answer, chunk, replies

OK = b"HTTP/1.1 200 OK\r\n"
PIECE_BYTES = 65_536
SOCKETS_BYTES = 16 << 20
"""More than two sockets' buffers on loopback hold."""


class Flood:
    """A provider that says `start` and then `piece` again and again, as long as it is let."""

    def __init__(self, start: bytes, piece: bytes) -> None:
        self._start = start
        self._piece = piece * (PIECE_BYTES // len(piece) + 1)
        self.sent_bytes = 0

    async def script(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(self._start)
        while True:
            await peer.send(self._piece)
            self.sent_bytes += len(self._piece)


CUT: dict[str, tuple[bytes, bytes]] = {
    "status line": (b"HTTP/1.1 200 ", b"x"),
    "name of a field": (OK, b"x"),
    "value of a field": (OK + b"x: ", b"y"),
    "folded value": (OK + b"x: y\r\n", b" y\r\n"),
    "fields": (OK, b"x: y\r\n"),
    "trailer": (CHUNKED + b"0\r\nx: ", b"y"),
    "trailers": (CHUNKED + b"0\r\n", b"x: y\r\n"),
    "interim answers": (b"", b"HTTP/1.1 103 X\r\n" + b"x: y\r\n" * 90 + b"\r\n"),
    "body": (OK + b"content-length: 99999999999\r\n\r\n", b"x"),
    "body in small chunks": (CHUNKED, b"1\r\nx\r\n"),
}


@pytest.mark.parametrize("what", CUT)
async def test_a_flood_is_cut_off_long_before_a_time_limit(what: str) -> None:
    flood = Flood(*CUT[what])
    async with opened(flood.script) as (transport, upstream):
        with pytest.raises(BadResponse) as refused:
            await called(transport)
        assert refused.value.cause in ("malformed", "interim_flood", "too_large")
        await upstream.finished()
        assert_at_rest(transport)
    assert flood.sent_bytes < SOCKETS_BYTES


@pytest.mark.parametrize(
    ("start", "piece"), [(CHUNKED + b"5;", b"x"), (CHUNKED, b"0")], ids=["extension", "zeros"]
)
async def test_a_chunk_that_never_begins_is_silence(start: bytes, piece: bytes) -> None:
    flood = Flood(start, piece)
    async with opened(flood.script) as (transport, _):
        with pytest.raises(ReadStalled):
            await called(transport, phases=Phases(idle_s=0.1))
        assert_at_rest(transport)


async def test_blank_lines_are_no_answer() -> None:
    flood = Flood(b"", b"\r\n")
    async with opened(flood.script) as (transport, _):
        with pytest.raises((ResponseTimeout, NoResponse)):
            await called(transport, phases=Phases(first_byte_s=0.1))
        assert_at_rest(transport)


async def test_an_answer_that_is_not_read_holds_its_provider_back() -> None:
    flood = Flood(CHUNKED, chunk(bytes(PIECE_BYTES)))
    async with (
        opened(flood.script) as (transport, upstream),
        transport.send("POST", "/x", HEADERS, b"{}", PHASES),
    ):
        peer = await upstream.peer()
        seen = -1
        while seen != flood.sent_bytes or not peer.writer.transport.get_write_buffer_size():
            seen = flood.sent_bytes
            await asyncio.sleep(0.02)  # a turn of the loop in which nothing moved any more
        assert flood.sent_bytes < SOCKETS_BYTES


def redirect(status: int) -> Script:
    headers = {"location": "/v1/elsewhere?token=s3cret", "retry-after": "1"}
    return replies(answer(status=f"{status} Go", headers=headers))


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_but_told_by_its_status(status: int) -> None:
    async with opened(redirect(status)) as (transport, upstream):
        with pytest.raises(BadResponse) as refused:
            await called(transport)
        told = failure_before_commit(refused.value)
        assert (refused.value.cause, told.code) == ("redirect", "bad_upstream")
        assert str(status) in told.message
        assert not [text for text in (str(refused.value), told.message) if "s3cret" in text]
        assert [request.path for request in upstream.requests] == ["/v1/chat/completions"]
