"""Every fault of the simulator, streamed and whole: before commit elsewhere, after it told."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from droveway.cli import ports
from droveway.contracts.config import Config
from tests.support.flows import (
    Got,
    ask,
    each_once,
    numbered,
    only_first,
    route,
    samples,
    with_timeouts,
)
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import UNSPARED, Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN_PORT = ports.free()
SKIPPED = "droveway_caller_malformed_total"
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])

# The fault as part of a model name, and what a client of a single target is told.
REFUSED = [
    ("400", 400, "provider_rejected", "The request is invalid."),
    ("401", 502, "provider_auth_error", None),
    ("403", 502, "provider_auth_error", None),
    ("404", 404, "model_not_found", "The model does not exist or you do not have access to it."),
    ("413", 413, "provider_rejected", "The request body is too large."),
    ("429", 429, "provider_rate_limited", None),
    ("500", 503, "provider_unavailable", None),
    ("502", 503, "provider_unavailable", None),
    ("503", 503, "provider_unavailable", None),
    ("529", 503, "provider_unavailable", None),
    ("html", 502, "bad_upstream", None),
    ("json-error-200", 503, "server_error", None),
    ("redirect", 502, "bad_upstream", None),
    ("silence", 504, "provider_timeout", None),
    ("reset-before-headers", 502, "provider_no_response", None),
    ("reset-after-headers", 502, None, None),
    ("close-before-headers", 502, "provider_no_response", None),
    ("gzip", 502, "bad_upstream", None),
    ("error-after-0", 503, "server_error", None),
    ("slow-first-token-3000", 504, "provider_timeout", None),
    ("end-after-0", 502, None, None),
    ("cut-after-0", 502, "provider_no_response", None),
    ("fin-after-0", 502, "provider_no_response", None),
    ("stall-after-0", 504, "provider_timeout", None),
    ("huge-line-2000000", 502, "bad_upstream", None),
    ("flood-after-0+mib-1", 502, "bad_upstream", None),
    ("flood-after-0+flood-junk+mib-1", 502, "bad_upstream", None),
    ("gzip-unsaid", 502, None, None),
    ("encoding-br", 502, "bad_upstream", None),
    ("junk-after-0", 502, None, None),
]
NOT_RETRIED = {"400", "404", "413"}
WHOLE_IS_FINE = {"huge-line-2000000"}
WHOLE_ONLY = [
    ("malformed-after-1", 502, "bad_upstream"),
    ("no-finish", 502, "bad_upstream"),
    ("cut-after-2", 502, "provider_no_response"),
    ("fin-after-2", 502, "provider_no_response"),
    ("end-after-2", 502, "bad_upstream"),
    ("stall-after-2", 504, "provider_timeout"),
    ("duplicate", 502, "bad_upstream"),
]
CUT = [
    ("cut-after-2", "stream_interrupted"),
    ("fin-after-2", "stream_interrupted"),
    ("end-after-2", "stream_interrupted"),
    ("stall-after-2", "stream_stalled"),
    ("error-after-2", "server_error"),
    ("no-finish", "stream_interrupted"),
    ("unframed+fin-after-2", "stream_interrupted"),
    ("flood-after-2+mib-1", "stream_interrupted"),
    ("flood-after-2+flood-events+mib-1", "bad_upstream"),
]
USABLE = [
    "null-content", "no-role", "no-id", "int-created-missing", "usage-everywhere", "delta-missing",
    "crlf", "no-space", "bom", "comments", "one-byte", "two-terminals", "after-done", "set-cookie",
    "no-done", "no-usage", "1xx-3", "huge-line-700000", "unframed", "untyped", "cr", "stray-lines",
    "cr+one-byte", "odd-cut-utf8", "odd-surrogate", "odd-nul", "odd-lone-escape", "odd-separators",
]  # fmt: skip
SPECS = [row[0] for row in REFUSED] + [row[0] for row in WHOLE_ONLY]
BEFORE_COMMIT = [
    *((row[0], True) for row in REFUSED),
    *((spec, False) for spec in SPECS if spec not in WHOLE_IS_FINE),
]
"""What keeps an attempt from committing, streamed or not."""


def _configure(config: Config) -> Config:
    detours = [
        route(f"detour-{spec}", ("upstream-1", f"fault-{spec}"), ("upstream-2", "numbered-4"))
        for spec in SPECS
    ]
    limited = route(
        "limited",
        ("upstream-1", "fault-429-9"),
        ("upstream-2", "fault-429-2"),
        ("upstream-1", "fault-429-5"),
    )
    mixed = route("mixed", ("upstream-1", "fault-500"), ("upstream-2", "fault-429"))
    config = with_timeouts(
        config, connect_s=1.0, first_token_s=0.4, idle_s=0.4, write_s=1.0, total_s=1.2
    )
    return each_once(only_first(config, limited, mixed, *detours))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("faults")
    async with running_stack(
        nats,
        folder,
        simulators=2,
        configure=_configure,
        environment={**UNSPARED, "DROVEWAY_CALLER_ADMIN_PORT": str(ADMIN_PORT)},
    ) as world:
        yield world


async def _ask(stack: Stack, model: str, *, stream: bool, **fields: object) -> Got:
    for simulator in stack.simulators:
        simulator.book.clear()
    async with stack.client() as client:
        return await ask(client, chat_body(model, stream=stream, **fields))


@BOTH
@pytest.mark.parametrize(("spec", "status", "code", "message"), REFUSED)
async def test_a_failure_before_the_first_token_is_an_http_status(
    stack: Stack, spec: str, status: int, code: str | None, message: str | None, stream: bool
) -> None:
    got = await _ask(stack, f"fault-{spec}", stream=stream)
    if not stream and spec in WHOLE_IS_FINE:
        assert got.status == 200
        return
    assert got.status == status, got
    assert code is None or got.error["code"] == code
    assert message is None or got.error["message"] == message
    assert got.whole
    assert not got.is_stream
    assert stack.simulator.book.totals.requests == 1, "one target, one attempt"


@pytest.mark.parametrize(("spec", "stream"), BEFORE_COMMIT)
async def test_another_target_serves_what_the_first_could_not(
    stack: Stack, spec: str, stream: bool
) -> None:
    got = await _ask(stack, f"detour-{spec}", stream=stream)
    if spec in NOT_RETRIED:
        assert got.status == int(spec)
        assert stack.simulators[1].book.totals.requests == 0
        return
    assert got.status == 200, got
    assert got.said == numbered(4)
    assert got.headers["x-droveway-attempts"] == "2"
    assert got.headers["x-droveway-provider"] == "upstream-2"
    assert stack.simulators[1].book.totals.requests == 1


@pytest.mark.parametrize(("spec", "status", "code"), WHOLE_ONLY)
async def test_half_an_answer_is_no_answer(stack: Stack, spec: str, status: int, code: str) -> None:
    got = await _ask(stack, f"fault-{spec}", stream=False)
    assert (got.status, got.error["code"]) == (status, code)


@pytest.mark.parametrize(("spec", "code"), CUT)
async def test_a_stream_that_breaks_is_told_in_band_and_never_ends_well(
    stack: Stack, spec: str, code: str
) -> None:
    got = await _ask(stack, f"fault-numbered-5+{spec}", stream=True)
    assert got.status == 200
    assert numbered(5).startswith(got.said)
    assert got.said.startswith("t0 ")
    assert got.error["code"] == code
    assert not got.done
    assert "[DONE]" not in got.text
    assert not got.whole, "the last chunk would make it look complete"
    assert stack.simulators[1].book.totals.requests == 0, "never elsewhere after commit"


@BOTH
@pytest.mark.parametrize("spec", USABLE)
async def test_sloppy_providers_are_usable(stack: Stack, spec: str, stream: bool) -> None:
    got = await _ask(stack, f"fault-numbered-5+{spec}", stream=stream)
    assert got.status == 200, got
    assert got.whole
    if not (spec == "null-content" and not stream):
        assert got.said == numbered(5)
    if stream:
        assert got.done
        assert got.text.count("[DONE]") == 1
        assert all("usage" not in chunk for chunk in got.chunks)


async def test_a_second_finish_is_not_passed_on(stack: Stack) -> None:
    got = await _ask(stack, "fault-numbered-3+two-terminals", stream=True)
    finishes = [c for chunk in got.chunks for c in chunk["choices"] if c["finish_reason"]]
    assert len(finishes) == 1


async def test_an_event_that_is_no_json_is_skipped_and_counted(stack: Stack) -> None:
    before = await samples(ADMIN_PORT)
    got = await _ask(stack, "fault-numbered-5+malformed-after-2", stream=True)
    assert got.done
    assert got.said == numbered(5)
    async with asyncio.timeout(5):
        while (await samples(ADMIN_PORT))(SKIPPED) <= before(SKIPPED):  # noqa: ASYNC110 - a scrape
            await asyncio.sleep(0.01)


async def test_blank_lines_before_json_are_skipped(stack: Stack) -> None:
    got = await _ask(stack, "fault-numbered-5+blank-lines-before-json", stream=False)
    assert got.said == numbered(5)


@BOTH
@pytest.mark.parametrize(
    ("value", "seconds"), [("2", 2), ("600", 600), ("99999999", 3600), ("soon", 1), ("-1", 1)]
)
async def test_a_providers_wait_is_handed_on_within_reason(
    stack: Stack, value: str, seconds: int, stream: bool
) -> None:
    got = await _ask(stack, f"fault-429-{value}", stream=stream)
    assert got.status == 429
    assert got.headers["retry-after"] == str(seconds)
    assert got.headers["retry-after-ms"] == str(seconds * 1000)


async def test_all_targets_limited_tell_the_earliest_wait(stack: Stack) -> None:
    got = await _ask(stack, "limited", stream=True)
    assert got.status == 429
    assert got.headers["retry-after"] == "2"
    assert [one["status"] for one in got.error["details"]] == [429, 429, 429]


async def test_different_failures_are_told_together_and_without_addresses(stack: Stack) -> None:
    got = await _ask(stack, "mixed", stream=False)
    assert (got.status, got.error["code"]) == (503, "all_targets_failed")
    assert got.headers["x-should-retry"] == "false"
    assert [one["target"] for one in got.error["details"]] == [
        "upstream-1/fault-500",
        "upstream-2/fault-429",
    ]
    assert "127.0.0.1" not in got.text


async def test_faults_of_one_request_do_not_touch_the_others(stack: Stack) -> None:
    for simulator in stack.simulators:
        simulator.book.clear()
    specs = ["numbered-20", "fault-500", "fault-numbered-9+cut-after-3", "numbered-30"] * 10
    async with stack.client() as client:
        got = await asyncio.gather(
            *(
                ask(client, chat_body(model, stream=index % 3 > 0))
                for index, model in enumerate(specs)
            )
        )
    for model, one in zip(specs, got, strict=True):
        if model.startswith("numbered"):
            assert one.said == numbered(int(model.removeprefix("numbered-")))
        else:
            assert one.status == 503 or not one.whole or one.status == 502
