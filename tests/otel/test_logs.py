import io
import json
import logging
import threading
import warnings
from collections.abc import Iterator

import pytest

from droveway.otel.context import new_trace
from droveway.otel.logs import LogPipeline, configure, log_event, request_line

LOGGER = logging.getLogger("droveway.test")


class Blocked(io.StringIO):
    """A stream whose reader has stopped reading until `release` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.release = threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        assert self.release.wait(5)
        return super().write(text)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def pipeline(stream: io.StringIO) -> Iterator[LogPipeline]:
    pipeline = configure("gateway", stream=stream)
    yield pipeline
    pipeline.close()


def written(pipeline: LogPipeline, stream: io.StringIO) -> list[dict[str, object]]:
    pipeline.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_leaves_one_json_line(pipeline: LogPipeline, stream: io.StringIO) -> None:
    trace = new_trace(1.0)
    request_line(LOGGER, trace=trace, request_id="req_1", status=200, latency_ms=1.5, model="m\n")
    (line,) = written(pipeline, stream)
    assert str(line.pop("ts")).endswith("+00:00")
    assert line == {
        "level": "info",
        "service": "gateway",
        "logger": "droveway.test",
        "event": "request",
        "trace_id": trace.trace_id.hex(),
        "span_id": trace.span_id.hex(),
        "request_id": "req_1",
        "status": 200,
        "latency_ms": 1.5,
        "model": "m\n",
    }


def test_a_library_s_records_come_out_alike(pipeline: LogPipeline, stream: io.StringIO) -> None:
    logging.getLogger("aiohttp.client").warning("retry %d of %s", 2, "x")
    logging.getLogger("other").error("broken %d", "format")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn_explicit("old", DeprecationWarning, "file.py", 1)
    first, second, third = written(pipeline, stream)
    assert (first["event"], first["level"]) == ("retry 2 of x", "warning")
    assert second["event"] == "broken %d ('format',)"
    assert "DeprecationWarning: old" in str(third["event"])


def test_a_traceback_is_one_field(pipeline: LogPipeline, stream: io.StringIO) -> None:
    try:
        raise ValueError("token dw_canarycanary")
    except ValueError:
        LOGGER.exception("attempt_failed")
    (line,) = written(pipeline, stream)
    assert str(line["exception"]).endswith("ValueError: token dw_[redacted]")


def test_below_the_level_nothing_is_written(pipeline: LogPipeline, stream: io.StringIO) -> None:
    log_event(LOGGER, "detail", level=logging.DEBUG)
    assert written(pipeline, stream) == []


def test_fields_can_t_overwrite_what_every_line_has(
    pipeline: LogPipeline, stream: io.StringIO
) -> None:
    LOGGER.info("real", extra={"fields": {"event": "forged", "service": "forged", "n": 1}})
    (line,) = written(pipeline, stream)
    assert (line["event"], line["service"], line["n"]) == ("real", "gateway", 1)


def test_any_value_gives_a_valid_line(pipeline: LogPipeline, stream: io.StringIO) -> None:
    endless: list[object] = []
    endless.append(endless)
    log_event(LOGGER, "odd", surrogate="\ud800", number=2**70, nan=float("nan"), kind=object())
    log_event(LOGGER, "raw", body=b"\xff", nested={"a": (1, {2})}, error=KeyError("k"))
    log_event(LOGGER, "endless", value=endless)
    log_event(LOGGER, "long", text="x" * 10_000)
    LOGGER.info("extra", extra={"fields": 5, "trace": "no"})
    odd, raw, end, long, extra = written(pipeline, stream)
    assert odd["surrogate"] == "'\\ud800'"
    assert (raw["nested"], raw["error"]) == ({"a": [1, "<set>"]}, "KeyError('k')")
    assert "recursion" in str(end["unreadable_fields"])
    assert str(long["text"]).endswith("x… (10000 characters)")
    assert extra["event"] == "extra"


def test_a_full_queue_drops_the_newest_and_says_how_many() -> None:
    stream = Blocked()
    pipeline = configure("gateway", stream=stream, queue_records=5)
    try:
        log_event(LOGGER, "first")
        assert stream.entered.wait(5)
        for number in range(8):
            log_event(LOGGER, "later", number=number)
        assert pipeline.dropped == 3
        stream.release.set()
        lines = written(pipeline, stream)
    finally:
        stream.release.set()
        pipeline.close()
    assert [line.get("number") for line in lines] == [None, 0, 1, 2, 3, 4, None]
    assert (lines[-1]["event"], lines[-1]["count"]) == ("log_records_dropped", 3)


def test_a_closed_stream_is_survived_and_counted() -> None:
    stream = io.StringIO()
    pipeline = configure("gateway", stream=stream)
    stream.close()
    log_event(LOGGER, "lost")
    pipeline.close()
    assert pipeline.dropped == 1


def test_close_gives_the_root_logger_back() -> None:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    pipeline = configure("gateway", "DEBUG", stream=io.StringIO())
    assert root.handlers == [pipeline]
    pipeline.close()
    assert (root.level, root.handlers[:]) == before
    log_event(LOGGER, "after")


def test_a_terminal_gets_text_for_people() -> None:
    stream = Terminal()
    pipeline = configure("gateway", stream=stream)
    log_event(LOGGER, "bus_connected", server="nats://user:pass@localhost:4222")
    try:
        raise OSError("gone")
    except OSError:
        LOGGER.exception("bus_lost")
    pipeline.close()
    first, second, *trace = stream.getvalue().splitlines()
    assert first.endswith(
        "INFO    droveway.test bus_connected server=nats://[redacted]@localhost:4222"
    )
    assert second.endswith("ERROR   droveway.test bus_lost")
    assert trace[-1] == "OSError: gone"


def test_text_can_be_asked_for(stream: io.StringIO) -> None:
    pipeline = configure("gateway", style="text", stream=stream)
    log_event(LOGGER, "ready")
    pipeline.close()
    assert stream.getvalue().endswith("droveway.test ready\n")
