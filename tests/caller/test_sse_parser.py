"""The parser reads what the standard says, at any slicing, and pays for no more than its caps."""

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.caller.sse_parser import SseCapExceeded, SseCaps, SseEvent, SseParser

NOT_LINE_ENDS = "a\u2028b\u2029c\u0085d\x0be\x0cf".encode()
BOM = b"\xef\xbb\xbf"
Expected = list[tuple[bytes, bytes] | tuple[bytes, bytes, bytes]]

# The cases are those of the Web Platform Tests, eventsource/format-*; inputs are our own.
CASES: dict[str, tuple[bytes, Expected]] = {
    "bom": (BOM + b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n\n", [(b"", b"1"), (b"", b"3")]),
    "bom-2": (BOM + BOM + b"data:1\n\ndata:2\n\n", [(b"", b"2")]),
    "bom-alone": (BOM, []),
    "bom-unfinished": (BOM[:2] + b"data:1\n\ndata:2\n\n", [(b"", b"2")]),
    "comments": (
        b"data:1\r:\0\n:\r\ndata:2\n:" + b"x" * 200 + b"\rdata:3\n\n",
        [(b"", b"1\n2\n3")],
    ),
    "data-before-final-empty-line": (
        b"retry:1000\ndata:test1\n\nid:test\ndata:test2",
        [(b"", b"test1")],
    ),
    "data-then-one-line-end": (b"data:test1\n\ndata:test2\n", [(b"", b"test1")]),
    "field-data": (
        b"data:\n\ndata\ndata\n\ndata:test\n\n",
        [(b"", b""), (b"", b"\n"), (b"", b"test")],
    ),
    "field-event": (b"event:test\ndata:x\n\ndata:y\n\n", [(b"test", b"x"), (b"", b"y")]),
    "field-event-empty": (b"event: \ndata:data\n\n", [(b"", b"data")]),
    "field-event-last-wins": (b"event:a\nevent:b\ndata:x\n\n", [(b"b", b"x")]),
    "field-event-without-data": (b"event:ping\n\ndata:x\n\n", [(b"", b"x")]),
    "field-id": (
        b"id: 1\ndata:a\n\ndata:b\n\nid\ndata:c\n\n",
        [(b"", b"a", b"1"), (b"", b"b", b"1"), (b"", b"c", b"")],
    ),
    "field-id-null": (
        b"id:7\ndata:a\n\nid:8\x009\ndata:b\n\n",
        [(b"", b"a", b"7"), (b"", b"b", b"7")],
    ),
    "field-id-without-data": (b"id:3\n\ndata:a\n\n", [(b"", b"a", b"3")]),
    "field-parsing": (
        b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\n"
        b"data:3\rdata:\r\n data:32\ndata:4\n\n",
        [(b"", b"\0\n 2\n1\n3\n\n4")],
    ),
    "field-retry": (b"retry:03000\ndata:x\n\n", [(b"", b"x")]),
    "field-retry-bogus": (b"retry:3000\nretry:1000x\ndata:x\n\n", [(b"", b"x")]),
    "field-retry-empty": (b"retry\ndata:test\n\n", [(b"", b"test")]),
    "field-unknown": (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacomment\n\n",
        [(b"", b"test\n")],
    ),
    "leading-space": (b"data:\ttest\rdata: \ndata:test\n\n", [(b"", b"\ttest\n\ntest")]),
    "newlines": (b"data:test\r\ndata\ndata:test\r\n\r", [(b"", b"test\n\ntest")]),
    "newlines-cr-only": (b"data:1\r\rdata:2\r\r", [(b"", b"1"), (b"", b"2")]),
    "newlines-mixed-blank": (
        b"data:1\r\n\ndata:2\n\r\ndata:3\r\n\rdata:4\r\r\n",
        [(b"", b"1"), (b"", b"2"), (b"", b"3"), (b"", b"4")],
    ),
    "newlines-only": (b"\n\r\n\r\n\n\n", []),
    "null-character": (b"data:\0\n\n\n\n", [(b"", b"\0")]),
    "utf-8": (
        "data:ok…\n\ndata:模型🙂\n\n".encode(),
        [(b"", "ok…".encode()), (b"", "模型🙂".encode())],
    ),
    "utf-8-invalid": (b"data:\xff\xc3\xed\xa0\x80\n\n", [(b"", b"\xff\xc3\xed\xa0\x80")]),
    "unicode-line-ends": (b"data: " + NOT_LINE_ENDS + b"\n\n", [(b"", NOT_LINE_ENDS)]),
    "html": (b"<html>\n<body>Bad gateway</body>\n\n</html>\n", []),
    "no-colon": (b"data\n\n", [(b"", b"")]),
}


def slices(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    return pieces


def parse(pieces: list[bytes], caps: SseCaps | None = None) -> list[SseEvent]:
    parser = SseParser(caps)
    events = [event for piece in pieces for event in parser.feed(piece)]
    assert parser.events == len(events)
    return events


@pytest.mark.parametrize("sizes", [[1], [2], [3], [7], [1 << 20], "random"], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_format_is_read_as_the_standard_says(case: str, sizes: list[int] | str) -> None:
    data, expected = CASES[case]
    rng = random.Random(case)
    drawn = [rng.randint(1, 9) for _ in range(50)] if isinstance(sizes, str) else sizes
    found = parse(slices(data, drawn))
    assert [(event.event, event.data) for event in found] == [
        (name or b"message", payload) for name, payload, *_ in expected
    ]
    ids = [event.id for event, (_, _, *given_id) in zip(found, expected, strict=True) if given_id]
    assert ids == [given_id[0] for _, _, *given_id in expected if given_id]


def read_by_the_letter(data: bytes) -> list[SseEvent]:
    """The standard's own algorithm, line by line, without any thought of speed."""
    lines = re.split(rb"\r\n|\n|\r", data.removeprefix(BOM))[:-1]
    events: list[SseEvent] = []
    name, gathered, last_id = b"", b"", b""
    for line in lines:
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if not line:
            if gathered:
                events.append(SseEvent(name or b"message", gathered[:-1], last_id))
            name, gathered = b"", b""
        elif field == b"event":
            name = value
        elif field == b"data":
            gathered += value + b"\n"
        elif field == b"id" and b"\0" not in value:
            last_id = value
    return events


line_ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
lines = st.one_of(
    st.sampled_from(
        [b"", b"", b"data", b"data: {}", b"data:x", b": hi", b"id: 1", b"id", b"event: e"]
    ),
    st.text("daten: id\u2028\u0085\0", max_size=8).map(str.encode),
)


@given(
    st.lists(st.tuples(lines, line_ends), max_size=30),
    st.booleans(),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_any_lines_any_line_ends_any_slicing_give_the_events_of_the_standard(
    drawn: list[tuple[bytes, bytes]], bom: bool, sizes: list[int]
) -> None:
    data = BOM * bom + b"".join(line + end for line, end in drawn)
    expected = read_by_the_letter(data)
    assert parse([data]) == expected
    assert parse(slices(data, sizes)) == expected


@given(
    st.lists(
        st.tuples(st.sampled_from([b"", b"a", b"b.c"]), st.lists(st.text("x:\u2028 é"), min_size=1))
    ),
    line_ends,
    st.lists(st.integers(1, 9), min_size=1),
)
def test_written_events_come_back_whole(
    written: list[tuple[bytes, list[str]]], end: bytes, sizes: list[int]
) -> None:
    data = b""
    for name, texts in written:
        data += b"event: " + name + end if name else b""
        data += b"".join(b"data: " + text.encode() + end for text in texts) + end
    assert parse(slices(data, sizes)) == [
        SseEvent(name or b"message", "\n".join(texts).encode()) for name, texts in written
    ]


def test_event_is_handed_out_with_the_byte_that_ends_it() -> None:
    parser = SseParser()
    assert parser.feed(b"data: 1\r\n\r") == [SseEvent(b"message", b"1")]
    assert parser.feed(b"\ndata: 2\n") == []
    assert parser.feed(b"\n") == [SseEvent(b"message", b"2")]


@pytest.mark.parametrize(
    ("data", "pending"),
    [
        (b"", False),
        (b"data: 1\n\n", False),
        (b"data: 1\n\n: bye", False),
        (b"data: 1\n", True),
        (b"data: 1\n\nda", True),
        (b"\xef\xbb", True),
    ],
)
def test_close_tells_whether_an_unfinished_event_was_left(data: bytes, pending: bool) -> None:
    parser = SseParser()
    parser.feed(data)
    assert parser.close() is pending
    assert parser.pending is pending


def test_comments_and_bytes_are_counted() -> None:
    parser = SseParser()
    parser.feed(b": a\n: b\ndata: 1\n\n: c\n\n")
    assert (parser.comments, parser.events, parser.stream_bytes) == (3, 1, 22)


SMALL = SseCaps(max_event_bytes=60, max_line_bytes=40, max_stream_bytes=1000, max_silent_bytes=100)


@pytest.mark.parametrize("size", [1, 2, 7, 33, 5000])
@pytest.mark.parametrize(
    ("data", "cap"),
    [
        pytest.param(b"data: " + b"x" * 35, "max_line_bytes", id="endless line"),
        pytest.param(b"data: " + b"x" * 35 + b"\n\n", "max_line_bytes", id="long line"),
        pytest.param(b"data: 1\ndata: " + b"x" * 35 + b"\n\n", "max_line_bytes", id="second line"),
        pytest.param(b"data: 1\n" * 8, "max_event_bytes", id="endless event"),
        pytest.param(b": no blank line\n" * 9, "max_event_bytes", id="comments in one block"),
        pytest.param(b": ping\n\n" * 13, "max_silent_bytes", id="endless comments"),
        pytest.param(b"\n" * 101, "max_silent_bytes", id="endless blank lines"),
        pytest.param(b"event: e\r\n\r\n" * 17, "max_silent_bytes", id="events without data"),
        pytest.param(b"data: 1\n\n" * 112, "max_stream_bytes", id="endless stream"),
    ],
)
def test_stream_is_cut_at_its_caps(data: bytes, cap: str, size: int) -> None:
    with pytest.raises(SseCapExceeded) as cut:
        parse(slices(data, [size]), SMALL)
    if size < 5000:
        assert cut.value.cap == cap
        assert cut.value.limit_bytes == getattr(SMALL, cap)
        assert f"{cap} = {cut.value.limit_bytes} bytes" in str(cut.value)


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_stream_just_under_its_caps_is_read(size: int) -> None:
    data = b"data: " + b"x" * 34 + b"\ndata: " + b"y" * 13 + b"\n\n" + b": ping\n\n" * 12
    assert len(parse(slices(data * 6, [size]), SMALL)) == 6


@pytest.mark.parametrize(
    ("data", "size"),
    [
        pytest.param(b"data: " + b"x" * (1 << 20), 8, id="one line"),
        pytest.param(b"data: 1\n" * (1 << 16), 3, id="many lines"),
        pytest.param(b"\r" * (1 << 18), 2, id="blank lines"),
    ],
)
def test_work_is_linear_at_small_slices(data: bytes, size: int) -> None:
    caps = SseCaps(max_event_bytes=4 << 20, max_line_bytes=2 << 20, max_silent_bytes=1 << 20)
    pieces = slices(data, [size])
    parser = SseParser(caps)
    started_s = time.process_time()
    for piece in pieces:
        parser.feed(piece)
    # Quadratic work would take a minute here; linear work takes about 0.2 s.
    assert time.process_time() - started_s < 2
