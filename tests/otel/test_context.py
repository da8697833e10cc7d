import subprocess
import sys
import time

import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from droveway.otel.context import (
    Clock,
    TraceContext,
    child,
    continue_trace,
    format_traceparent,
    keep,
    new_trace,
    parse_traceparent,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        pytest.param(VALID, True, id="sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-00", False, id="not-sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-03", True, id="random-flag"),
        pytest.param(f"00-{TRACE}-{SPAN}-fe", False, id="unknown-flags"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01", True, id="future-version"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01-what-comes", True, id="future-version-longer"),
    ],
)
def test_a_valid_traceparent_is_read(value: str, sampled: bool) -> None:
    expected = TraceContext(bytes.fromhex(TRACE), bytes.fromhex(SPAN), sampled)
    assert parse_traceparent(value) == expected


MALFORMED = [
    pytest.param(None, id="absent"),
    pytest.param("", id="empty"),
    pytest.param("00", id="short"),
    pytest.param(f"ff-{TRACE}-{SPAN}-01", id="version-ff"),
    pytest.param(f"00-{'0' * 32}-{SPAN}-01", id="zero-trace-id"),
    pytest.param(f"00-{TRACE}-{'0' * 16}-01", id="zero-span-id"),
    pytest.param(f"00-{TRACE.upper()}-{SPAN}-01", id="upper-case-trace-id"),
    pytest.param(f"00-{TRACE}-{SPAN.upper()}-01", id="upper-case-span-id"),
    pytest.param(f"00-{TRACE}-{SPAN}-0A", id="upper-case-flags"),
    pytest.param(f"CC-{TRACE}-{SPAN}-01", id="upper-case-version"),
    pytest.param(f"{VALID}-more", id="version-00-longer"),
    pytest.param(f"cc-{TRACE}-{SPAN}-01.more", id="future-version-without-dash"),
    pytest.param(f"00_{TRACE}_{SPAN}_01", id="underscores"),
    pytest.param(f"00-{TRACE[1:]}-{SPAN}-01", id="short-trace-id"),
    pytest.param(f"00-{TRACE}-{SPAN}-1", id="short-flags"),
    pytest.param(f"00-{TRACE[:-1]}g-{SPAN}-01", id="not-hex"),
    pytest.param(f"00-{TRACE[:-1]}٣-{SPAN}-01", id="other-digits"),
    pytest.param(f"{VALID},{VALID}", id="two-in-one"),
    pytest.param(f" {VALID}", id="leading-space"),
    pytest.param(f"{VALID}\n", id="line-feed"),
]


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_traceparent_counts_as_absent(value: str | None) -> None:
    assert parse_traceparent(value) is None


def test_what_we_format_the_sdk_reads_alike() -> None:
    context = new_trace(1.0)
    carrier = {"traceparent": format_traceparent(context)}
    extracted = TraceContextTextMapPropagator().extract(carrier)
    (span,) = extracted.values()
    theirs = span.get_span_context()  # type: ignore[attr-defined]
    assert theirs.trace_id == int.from_bytes(context.trace_id, "big")
    assert theirs.span_id == int.from_bytes(context.span_id, "big")
    assert theirs.trace_flags.sampled


def test_format_and_parse_are_inverse() -> None:
    for context in (new_trace(1.0), new_trace(0.0)):
        assert parse_traceparent(format_traceparent(context)) == context


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param("vendor=opaque,other=1", "vendor=opaque,other=1", id="kept-as-it-came"),
        pytest.param("v=" + "x" * 510, "v=" + "x" * 510, id="512-bytes"),
        pytest.param("v=" + "x" * 511, "", id="513-bytes"),
        pytest.param("v=a\r\nx: y", "", id="control-characters"),
        pytest.param("v=é", "", id="not-ascii"),
        pytest.param(None, "", id="absent"),
    ],
)
def test_tracestate_is_carried_whole_or_not_at_all(given: str | None, kept: str) -> None:
    context = parse_traceparent(VALID, given)
    assert context is not None
    assert child(context).tracestate == kept


def test_the_ratio_decides_as_the_sdk_would() -> None:
    theirs = TraceIdRatioBased(0.3)
    for _ in range(300):
        context = new_trace(0.3)
        result = theirs.should_sample(None, int.from_bytes(context.trace_id, "big"), "")
        assert context.sampled == (result.decision is Decision.RECORD_AND_SAMPLE)


def test_ratio_zero_samples_none_and_one_all() -> None:
    assert not any(new_trace(0.0).sampled for _ in range(200))
    assert all(new_trace(1.0).sampled for _ in range(200))


def test_about_the_ratio_is_sampled() -> None:
    sampled = sum(new_trace(0.1).sampled for _ in range(20_000))
    assert 1_700 < sampled < 2_300


@pytest.mark.parametrize("sampled", [True, False])
def test_a_parent_decides_whatever_the_ratio(sampled: bool) -> None:
    parent = new_trace(float(sampled))
    own = continue_trace(parent, ratio=float(not sampled))
    assert (own.trace_id, own.sampled) == (parent.trace_id, sampled)
    assert own.span_id != parent.span_id


def test_an_unsampled_context_can_be_kept_afterwards() -> None:
    context = new_trace(0.0)
    assert keep(context) == context._replace(sampled=True)


def test_forked_processes_make_different_ids() -> None:
    program = (
        "import os\n"
        "from droveway.otel.context import new_trace\n"
        "new_trace(1.0)\n"
        "if os.fork():\n"
        "    os.wait()\n"
        "os.write(1, new_trace(1.0).trace_id.hex().encode() + b'\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    ids = done.stdout.split()
    assert len(set(ids)) == len(ids) == 2


def test_the_clock_agrees_with_the_wall_and_never_goes_back() -> None:
    clock = Clock()
    readings = [clock.now_ns() for _ in range(1_000)]
    assert readings == sorted(readings)
    assert abs(clock.now_ns() - time.time_ns()) < 50_000_000
    assert abs(clock.at_ns(time.monotonic()) - clock.now_ns()) < 50_000_000
