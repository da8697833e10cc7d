"""Answers that don't end, bytes that no text has, and framing that is none."""

import json
import zlib
from collections.abc import AsyncIterator

import pytest

from droveway.simulator.faults import FaultError, parse_faults, parse_model_faults
from droveway.simulator.floods import FLOODS, ODD_BYTES
from droveway.simulator.server import Running, running
from tests.support.simulator import (
    Received,
    chat_body,
    content_of,
    exchange,
    quick_settings,
    request_bytes,
)

BOTH = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
_WITHIN_S = 10


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(quick_settings()) as started:
        yield started


async def _ask(server: Running, fault: str, *, stream: bool) -> Received:
    return await exchange(server.url, request_bytes(chat_body(stream=stream), fault), _WITHIN_S)


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_is_as_large_as_asked_and_nothing_comes_after(
    server: Running, kind: str
) -> None:
    received = await _ask(server, f"flood-after=2,flood={kind},mib=1", stream=True)
    assert b'"t1 "' in received.data
    assert b'"t2 "' not in received.data
    assert b"[DONE]" not in received.data
    assert content_of(received.data).count(FLOODS[kind]) * len(FLOODS[kind]) > 1_000_000


async def test_a_whole_answer_may_be_a_flood(server: Running) -> None:
    received = await _ask(server, "flood-after=0,mib=1", stream=False)
    assert len(received.data) > 1_048_576
    with pytest.raises(json.JSONDecodeError):
        json.loads(content_of(received.data))


@BOTH
@pytest.mark.parametrize("kind", ODD_BYTES)
async def test_odd_bytes_stand_beside_each_piece_of_content(
    server: Running, kind: str, stream: bool
) -> None:
    received = await _ask(server, f"odd={kind}", stream=stream)
    assert received.data.count(b'"odd":"%s"' % ODD_BYTES[kind]) == (5 if stream else 1)


@BOTH
async def test_an_unframed_answer_ends_with_its_connection(server: Running, stream: bool) -> None:
    received = await _ask(server, "unframed", stream=stream)
    head = received.data.lower().partition(b"\r\n\r\n")[0]
    assert b"content-length" not in head
    assert b"transfer-encoding" not in head
    assert received.ended == "fin"
    assert server.book.entries[-1].outcome == "answered"
    assert server.book.entries[-1].usage is None or not stream


@BOTH
async def test_what_is_no_chunk_comes_where_one_should(server: Running, stream: bool) -> None:
    received = await _ask(server, "junk-after=2", stream=stream)
    assert received.data.endswith(b"\r\nthis is no chunk\r\n")
    assert server.book.entries[-1].outcome == "broken"


async def test_a_body_may_be_compressed_without_a_word(server: Running) -> None:
    received = await _ask(server, "gzip-unsaid", stream=True)
    assert b"content-encoding" not in received.data.lower()
    text = zlib.decompress(content_of(received.data), wbits=zlib.MAX_WBITS + 16)
    assert b"[DONE]" in text


async def test_an_encoding_may_be_told_that_there_is_none_of(server: Running) -> None:
    received = await _ask(server, "encoding=br", stream=True)
    assert b"content-encoding: br\r\n" in received.data.lower()
    assert b"[DONE]" in received.data


async def test_lines_may_end_with_cr_and_be_of_no_known_field(server: Running) -> None:
    text = content_of((await _ask(server, "cr,stray-lines", stream=True)).data)
    assert text.startswith(b"stray\rx-field: 1\rdata: ")
    assert b"\n" not in text


async def test_the_content_type_may_be_left_out(server: Running) -> None:
    received = await _ask(server, "untyped", stream=True)
    assert b"text/event-stream" not in received.data


def test_a_model_name_says_the_same() -> None:
    faults = parse_model_faults("fault-flood-after-2+flood-comments+mib-3+odd-nul+encoding-br")
    assert (faults.ending, faults.after_chunks, faults.flood) == ("flood-after", 2, "comments")
    assert (faults.numbers["mib"], faults.odd, faults.encoding) == (3, "nul", "br")


@pytest.mark.parametrize("spec", ["flood=tears", "odd=socks"])
def test_an_unknown_kind_is_told_those_that_there_are(spec: str) -> None:
    with pytest.raises(FaultError, match=r"takes one of (line|cut-utf8), "):
        parse_faults(spec)
