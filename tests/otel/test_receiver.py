from dataclasses import replace

import pytest

from tests.support.otlp import OtlpReceiver, ReceivedSpan, assert_one_trace

ROOT = ReceivedSpan(
    service="gateway",
    resource={},
    name="root",
    kind="SERVER",
    trace_id=b"t" * 16,
    span_id=b"r" * 8,
    parent_id=b"",
    tracestate="",
    start_ns=10,
    end_ns=20,
    attributes={},
    events=[],
    links=[],
    status="UNSET",
    status_message="",
)
CHILD = replace(ROOT, name="child", span_id=b"c" * 8, parent_id=ROOT.span_id, start_ns=12)


def test_a_whole_trace_passes_in_any_order() -> None:
    assert assert_one_trace([CHILD, ROOT]) is ROOT


@pytest.mark.parametrize(
    ("spans", "claim"),
    [
        pytest.param([], "one trace id", id="nothing"),
        pytest.param([ROOT, replace(CHILD, trace_id=b"u" * 16)], "one trace id", id="two-traces"),
        pytest.param([ROOT, replace(CHILD, parent_id=b"x" * 8)], "orphan", id="orphan"),
        pytest.param([ROOT, replace(CHILD, parent_id=b"")], "expected one root", id="two-roots"),
        pytest.param([CHILD], "expected one root", id="no-root"),
        pytest.param([ROOT, replace(CHILD, start_ns=9)], "1 ns before", id="early-child"),
        pytest.param([ROOT, replace(CHILD, end_ns=11)], "ends before", id="negative-duration"),
        pytest.param([ROOT, CHILD, CHILD], "used twice", id="same-span-id"),
    ],
)
def test_a_broken_trace_is_refused(spans: list[ReceivedSpan], claim: str) -> None:
    with pytest.raises(AssertionError, match=claim):
        assert_one_trace(spans)


async def test_waiting_in_vain_says_what_came() -> None:
    async with OtlpReceiver() as rx:
        rx.spans.append(ROOT)
        with pytest.raises(AssertionError, match=r"gateway: root \[SERVER\]"):
            await rx.wait(lambda spans: len(spans) > 1, timeout=0.01)
