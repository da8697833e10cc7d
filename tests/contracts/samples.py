"""One short and one full sample of every message: the short one has defaults, the full one none."""

from typing import Any

import msgspec

from droveway.contracts import (
    admission,
    client,
    comparison,
    dispatch,
    fill,
    health,
    inference,
    limits,
    providers,
    relay,
    reports,
    settlement,
    usage,
)
from droveway.contracts.errors import Failure

REQUEST = "req_01kb3c9q0h0000000000000000"
RELAY = bytes(range(16))
ATTEMPT = bytes(range(16, 32))
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LIMITER = "limiter-0123456789ab"
GATEWAY, ROUTER, CALLER = "gateway-0123456789ab", "router-0123456789ab", "caller-0123456789ab"
OTHER_ROUTER = "router-abcdefghjkmn"
NS = 1_790_000_000_000_000_000

WINDOW = inference.Window(limit=60, remaining=59, reset_ms=1_000, window_ms=60_000)
FAILURE = Failure(
    code="provider_rejected", message="no", param="n", retry_after_ms=1_500, elsewhere=True,
    status=422, type="invalid_request_error", provider_code="bad_n",
)  # fmt: skip
SHORT_FAILURE = Failure(code="overloaded")
USAGE = relay.Usage(10, 20, 3, 4, 5, True)
ORIGIN = relay.Origin(
    CALLER,
    ATTEMPT,
    1,
    "openai",
    "gpt-5",
    250,
    480,
    ("`seed` was left out",),
    "canary",
    "openai/gpt-5",
    True,
)
INLINE = inference.Body(size_bytes=2, inline=b"{}")
PULLED = inference.Body(size_bytes=300_000, inline=b"-", pull_from=GATEWAY, relay_id=ATTEMPT)
TRIED = inference.TriedTarget(
    attempt_id=ATTEMPT, target="openai/gpt-5", code="provider_timeout", status=504, duration_ms=99,
    channel="canary",
)  # fmt: skip

_REQUESTED = inference.InferenceRequested(
    request_id=REQUEST, relay_id=RELAY, door=GATEWAY, traceparent=TRACE, tenant="acme",
    key_id="k1", dialect="openai.chat", model="gpt-5", stream=True, body=INLINE,
    remaining_ms=60_000, first_token_ms=20_000,
)  # fmt: skip
_ASKED = admission.AdmissionRequested(
    request_id=REQUEST, router=ROUTER, key_id="k1", tenant="acme", model="gpt-5",
    remaining_ms=60_000,
)  # fmt: skip
_PLACE = admission.Place(provider="openai", credential="main", model="gpt-5")
_STANDING = {"requests": WINDOW, "tokens": WINDOW, "input_tokens": WINDOW, "output_tokens": WINDOW}
_SETTLED = settlement.Settled(
    request_id=REQUEST, attempt_id=ATTEMPT, caller=CALLER, provider="openai", credential="main",
    model="gpt-5", usage=USAGE, committed=True,
)  # fmt: skip
_ADMIT = limits.Admit(
    1_790_000_000_000, REQUEST, ROUTER, 1, 1, "k1", "acme",
    (limits.Charge("k:k1|requests|60000", 1),), ("k:k1|concurrency",), 10, 100, 1_000_000,
    ("k:k1", "t:acme"), 1_790_000_010_000, "gpt-5", 1, "openai/main", True,
)  # fmt: skip
_OPS = (
    _ADMIT,
    limits.Pass(REQUEST, OTHER_ROUTER, 2),
    limits.Settle(1_790_000_001_000, REQUEST, ATTEMPT, 10, 20, 225_000, True, False, "openai/main"),
    limits.Spend(7, (limits.Spent(ATTEMPT, ("k:k1", "t:acme"), 225_000, 1_790_000_002_000),)),
)
_ROUTED = dispatch.CallRouted(
    attempt_id=ATTEMPT, attempt=1, request_id=REQUEST, relay_id=RELAY, router=ROUTER, door=GATEWAY,
    answer_to=f"_INBOX.gateway.{GATEWAY}.0a1b", traceparent=TRACE, tenant="acme", key_id="k1",
    dialect="openai.chat", model="fast",
    target=dispatch.Target(provider="openai", credential="main", model="gpt-5"), stream=True,
    body=INLINE, remaining_ms=60_000, first_token_ms=20_000,
)  # fmt: skip
_ATTEMPT_ROW = usage.AttemptRecorded(
    attempt_id=ATTEMPT, request_id=REQUEST, attempt=1, traceparent=TRACE, tenant="acme",
    key_id="k1", caller=CALLER, router=ROUTER, provider="openai", credential="main", model="gpt-5",
    stream=True, outcome="completed", began_ns=NS, times=usage.AttemptTimes(),
)  # fmt: skip
_REQUEST_ROW = usage.RequestRecorded(
    request_id=REQUEST, traceparent=TRACE, tenant="acme", key_id="k1", door=GATEWAY,
    operation="chat.completions", model="fast", stream=True, outcome="completed", status=200,
    began_ns=NS, times=usage.RequestTimes(),
)  # fmt: skip

_REPORT_ASKED = reports.ReportAsked(since_ms=1_790_000_000_000, until_ms=1_790_003_600_000)
_REPORT_LINE = reports.ReportLine(
    group=("acme", "2026-09-21"), requests=5, completed=2, failed=1, interrupted=1, cancelled=1,
    attempts=6, attempts_completed=3, estimated=1, input_tokens=100, output_tokens=50,
    cache_read_tokens=40, cache_write_tokens=30, cache_write_1h_tokens=20, reasoning_tokens=10,
    unpriced_tokens=150, cost_nano_usd=1_200_000, cost_nano_cny=8_760_000, first_token_us=250_000,
    measures=reports.Measures(900_000, 1_900_000, 1_990_000, 200_000, 300_000, 1, 2),
)  # fmt: skip
_REPORT = reports.ReportMade(
    by=(), since_ms=1_790_000_000_000, until_ms=1_790_003_600_000, lines=(),
    total=reports.ReportLine(),
)  # fmt: skip
_STATS = reports.StatsMade(
    since_ms=1_790_000_000_000, until_ms=1_790_003_600_000, total=reports.ReportLine()
)
_BILL_LINE = reports.BillLine(kind="cache_read", tokens=3, rate=300_000_000, full_rate=10**9)
_ATTEMPT_BILL = reports.AttemptBill(
    attempt_id=ATTEMPT, attempt=2, provider="openai", target="gpt-5", outcome="interrupted",
    code="stream_stalled", witness=ROUTER, estimated=True, began_ns=NS, lines=(_BILL_LINE,),
    above_input_tokens=200_000, source="genai-prices", rounding_femto_usd=100_000,
    cost_nano_usd=901,
)  # fmt: skip

_COMPARED = comparison.ChannelLine(
    channel="canary", requests=9, completed=6, failed=1, interrupted=1, cancelled=1, attempts=10,
    attempts_completed=6, attempts_cancelled=1, errors=(comparison.ErrorCount("overloaded", 3),),
    total=comparison.Spread(1_200_000, 1_000_000, 1_900_000, 1_990_000),
    first_token=comparison.Spread(300_000, 250_000, 400_000, 410_000), input_tokens=100,
    output_tokens=50, cache_read_tokens=40, cost_nano_usd=1_200_000, projected_nano_usd=9_000_000,
    estimated_tokens=15,
)  # fmt: skip
_COMPARISON = comparison.ComparisonMade(
    route="gpt-5*", since_ms=1_790_000_000_000, until_ms=1_790_003_600_000
)
_COMPARISON_ASKED = comparison.ComparisonAsked(
    route="gpt-5*", since_ms=1_790_000_000_000, until_ms=1_790_003_600_000
)

_FILL = fill.FillTold(
    at_ms=1_790_000_000_000, streams=(fill.StreamFill(name="USAGE", answering=False),)
)

_OPENED = client.Opened(
    request_id=REQUEST, relay_id=RELAY.hex(), heartbeat_ms=500,
    control=client.control_subject("k1", GATEWAY),
)  # fmt: skip
_ERROR = client.Error(message="no", type="server_error", param=None, code="overloaded")
_HEADERS = {"x-request-id": REQUEST}
_SPENT = client.Usage(
    input_tokens=10, output_tokens=20, cache_read_tokens=3, cache_write_tokens=4,
    reasoning_tokens=5, estimated=True,
)  # fmt: skip
_FULL_ERROR = client.Error(
    message="no", type="server_error", param="n", code="all_targets_failed", request_id=REQUEST,
    details=(client.Tried(target="openai/gpt-5", code="bad_upstream", status=504, duration_ms=9),),
)  # fmt: skip

SHORT: tuple[msgspec.Struct, ...] = (
    _REQUESTED,
    inference.Accepted(request_id=REQUEST, router=ROUTER),
    inference.Waiting(request_id=REQUEST, router=ROUTER),
    inference.Refused(request_id=REQUEST, router=ROUTER, failure=SHORT_FAILURE),
    inference.Held(request_id=REQUEST, router=ROUTER, holder=OTHER_ROUTER, ask=1),
    _ASKED,
    admission.Admitted(request_id=REQUEST),
    admission.Denied(request_id=REQUEST, failure=SHORT_FAILURE),
    admission.Held(request_id=REQUEST, router=OTHER_ROUTER, ask=1),
    admission.StandingAsked(key_id="k1", tenant="acme"),
    admission.StandingReported(key_id="k1", owner=LIMITER),
    settlement.Renewed(caller=CALLER, leases=(settlement.Lease(REQUEST),)),
    _SETTLED,
    settlement.Released(request_id=REQUEST, router=ROUTER),
    limits.Batch(LIMITER, 1, 1_790_000_000_000),
    limits.Alive(owner=LIMITER, sequence=7),
    _ROUTED,
    dispatch.Started(attempt_id=ATTEMPT, caller=CALLER),
    dispatch.Busy(attempt_id=ATTEMPT, caller=CALLER, in_flight=100),
    dispatch.AttemptFailed(attempt_id=ATTEMPT, caller=CALLER, failure=SHORT_FAILURE),
    dispatch.Committed(attempt_id=ATTEMPT, caller=CALLER),
    dispatch.Running(attempt_id=ATTEMPT, attempt=1, caller=CALLER),
    health.PoolHealth(caller=CALLER),
    providers.ProvidersAsked(),
    providers.ProvidersReset(),
    providers.ProvidersSeen(router=ROUTER),
    providers.ResetDone(instance=CALLER),
    relay.Chunk(0, (b'{"a":1}',)),
    relay.Completed(1, relay.Usage()),
    relay.Interrupted(1, SHORT_FAILURE),
    relay.Credit(RELAY, 1, 32_768),
    relay.Taken((RELAY,)),
    relay.Resend(RELAY, 1),
    relay.Cancel(RELAY),
    relay.Inquiry(ATTEMPT, f"_INBOX.router.{ROUTER}.0a1b"),
    relay.Pull(RELAY, f"_INBOX.caller.{CALLER}.0a1b", CALLER, ATTEMPT),
    relay.Heartbeat(CALLER),
    relay.Room("openai", 1),
    _ATTEMPT_ROW,
    _REQUEST_ROW,
    _COMPARISON_ASKED,
    _COMPARISON,
    fill.FillAsked(),
    _FILL,
    _REPORT_ASKED,
    reports.StatsAsked(since_ms=0, until_ms=1),
    reports.BillAsked(request_id=REQUEST),
    _REPORT,
    _STATS,
    reports.BillMade(request_id=REQUEST),
    reports.ReportRefused(reason="no"),
    _OPENED,
    client.Chunk(seq=0),
    client.Completed(seq=1),
    client.Failed(status=503, error=_ERROR, should_retry=True),
    client.Interrupted(seq=1, error=_ERROR),
    client.Heartbeat(next_seq=1, blocked=False),
    client.Credit(relay_id=RELAY.hex(), next_seq=1, limit_bytes=32_768),
    client.Resend(relay_id=RELAY.hex(), from_seq=1),
    client.Taken(relay_id=RELAY.hex()),
    client.Cancel(relay_id=RELAY.hex()),
    client.Probe(),
)

_change = msgspec.structs.replace

FULL: tuple[msgspec.Struct, ...] = (
    _change(
        _REQUESTED, goes_on=True, include_usage=True, body=PULLED, input_estimate_tokens=9,
        max_output_tokens=100, choices=2,
        needs=inference.Needs(
            tools=True, images=True, json_schema=True, prefill=True, audio=True, files=True,
            logprobs=True, choices=True, embeddings=True, continues=True,
        ),
        attempts_left=2, ask=3, instead_of=OTHER_ROUTER, api_version="2026-10-21",
        api_features="context-1m-2025-08-07", user=RELAY, prefix=RELAY, region="eu",
        avoid=("openai/gpt-5",), attempts_made=1, idle_ms=30_000, max_queue_ms=2_000,
    ),
    inference.Accepted(request_id=REQUEST, router=ROUTER, **_STANDING),
    inference.Waiting(request_id=REQUEST, router=ROUTER, attempt=2),
    inference.Refused(
        request_id=REQUEST, router=ROUTER, failure=FAILURE, tried=(TRIED,), spent=True,
        **_STANDING,
    ),
    _change(
        _ASKED, input_tokens=10, max_output_tokens=100, choices=2, ask=3, instead_of=OTHER_ROUTER,
        places=(_PLACE,), attempt=2,
    ),
    admission.Admitted(
        request_id=REQUEST, start_in_ms=5, place=1, lease_ms=10_000, **_STANDING
    ),
    admission.Denied(
        request_id=REQUEST, failure=FAILURE, scope="credential", kind="requests", **_STANDING
    ),
    admission.StandingReported(
        key_id="k1", owner=LIMITER,
        limits=(
            admission.LimitStanding(
                scope="key", kind="requests", model="gpt-5*", limit=60, used=1,
                window_ms=60_000, reset_ms=59_000,
            ),
        ),
        budgets=(
            admission.BudgetStanding(
                scope="tenant", period="month", limit_nano=10**12, spent_nano=10**9,
                reserved_nano=10**6, resets_ms=86_400_000,
            ),
        ),
    ),
    limits.Batch(LIMITER, 2, 1_790_000_000_000, _OPS),
    limits.Alive(owner=LIMITER, sequence=8, leaving=True),
    _change(
        _ROUTED, attempt=2, include_usage=True, body=PULLED, received_ns=NS, admitted_ns=NS + 1,
        routed_ns=NS + 2, api_version="2026-10-21", api_features="context-1m-2025-08-07",
        lease_ms=10_000, config="0a1b2c3d4e5f", channel="canary", gathered=True,
        continuable=True, continues=True, connect_ms=3_000, write_ms=30_000, idle_ms=30_000,
    ),
    dispatch.AttemptFailed(
        attempt_id=ATTEMPT, caller=CALLER, failure=FAILURE, status=504, request_sent=True
    ),
    dispatch.Running(attempt_id=ATTEMPT, attempt=2, caller=CALLER, committed=True),
    health.PoolHealth(
        caller=CALLER,
        credentials=(
            health.CredentialHealth(
                provider="openai", credential="main", cooldown_ms=2_000, why=health.RATE_LIMITED,
                remaining_requests=0, remaining_tokens=1_000, requests_reset_ms=2_000,
                tokens_reset_ms=60_000,
            ),
        ),
        targets=(
            health.TargetHealth(
                provider="openai", model="gpt-5", router=ROUTER, good=9, slow=1, cut=2,
                failed={"provider_timeout": 3}, first_token_ms=400,
            ),
        ),
    ),
    providers.ProvidersAsked(provider="openai"),
    providers.ProvidersReset(provider="openai", model="gpt-5"),
    providers.ProvidersSeen(
        router=ROUTER,
        targets=(
            providers.TargetSeen(
                provider="openai", model="gpt-5", state="open", for_ms=1_500, why="slow",
                outcomes=20, failed=7, first_token_ms=400, disabled=True,
            ),
        ),
        credentials=(
            providers.CredentialSeen(
                provider="openai", credential="main", cooldown_ms=2_000, why="rate_limited"
            ),
        ),
    ),
    relay.Chunk(7, (b'{"a":1}', b'{"b":2}'), ORIGIN, 1),
    relay.Completed(8, USAGE, "stop", b'{"a":1}', ORIGIN, 1),
    relay.Interrupted(8, FAILURE, USAGE, 1),
    relay.Cancel(RELAY, "not_ours", 2),
    relay.Heartbeat(CALLER, (relay.Sending(RELAY, 3, True),), (ATTEMPT,)),
    _change(
        _ATTEMPT_ROW, witness=ROUTER, asked_model="fast", channel="canary",
        served_model="gpt-5-2026", code="stream_stalled", status=200,
        finish_reason="stop", committed=True, request_sent=True, usage=USAGE, cost_nano_usd=1_234,
        received_ns=NS, admitted_ns=NS + 1, routed_ns=NS + 2,
        times=usage.AttemptTimes(
            sent_us=1, headers_us=2, first_token_us=3, last_token_us=4, ended_us=5
        ),
    ),
    _change(
        _REQUEST_ROW, parent=TRACE, protocol="nats", code="stream_stalled", attempts=2,
        provider="openai", channel="canary",
        served_model="gpt-5-2026", attempt_id=ATTEMPT, usage=USAGE, answer_bytes=10, events=3,
        times=usage.RequestTimes(
            authenticated_us=1, body_us=2, enqueued_us=3, accepted_us=4, first_frame_us=5,
            first_byte_us=6, ended_us=7,
        ),
    ),
    _change(
        _REPORT_ASKED, by=("tenant", "day"), measures=False, max_lines=7,
        only=reports.Only(
            tenant="acme", key_id="k1", provider="openai", model="fast", target="gpt-5",
            mode="streaming",
        ),
    ),
    msgspec.structs.replace(
        _COMPARISON, channels=(_COMPARED,), cny_per_usd=7.3
    ),
    fill.FillAsked(),
    _change(
        _FILL, broker_ahead_ms=-7,
        streams=(
            fill.StreamFill(
                name="USAGE", answering=True, bytes=1, limit_bytes=2, messages=3, limit_messages=4
            ),
        ),
    ),
    reports.StatsAsked(since_ms=1, until_ms=2, only=reports.Only(key_id="k1")),
    _change(
        _REPORT, by=("tenant", "day"), lines=(_REPORT_LINE,), total=_REPORT_LINE, complete=False,
        measured_since_ms=1_790_000_000_001, projected_nano_usd=864_000_000,
    ),
    _change(
        _STATS, total=_REPORT_LINE, latencies=reports.Latencies(1, 2, 3, 4, 5, 6),
        errors=(reports.RecentError(1_790_000_000_000, 503, "provider_timeout"),),
    ),
    reports.BillMade(
        request_id=REQUEST, tenant="acme", key_id="k1", model="fast", outcome="interrupted",
        attempts=(_ATTEMPT_BILL,), cost_nano_usd=901, cost_nano_cny=6_577,
    ),
    reports.ReportRefused(reason="busy", again=True),
    client.Chunk(seq=7, events=(b'{"a":1}', b'{"b":2}'), piece=b"{", headers=_HEADERS),
    client.Completed(
        seq=8, finish_reason="stop", usage=_SPENT, body=b'{"a":1}', headers=_HEADERS
    ),
    client.Failed(
        seq=1, status=503, error=_FULL_ERROR, should_retry=True, retry_after_ms=1_500,
        headers=_HEADERS,
    ),
    client.Interrupted(seq=8, error=_FULL_ERROR, usage=_SPENT),
)  # fmt: skip

DECODERS: dict[str, "msgspec.msgpack.Decoder[Any]"] = {
    "client.frame": client.frame_decoder,
    "client.control": client.control_decoder,
    "inference.request": inference.request_decoder,
    "admission.request": admission.request_decoder,
    "admission.decision": admission.decision_decoder,
    "admission.standing": admission.standing_decoder,
    "admission.reported": admission.reported_decoder,
    "settlement.settlement": settlement.settlement_decoder,
    "limits.batch": limits.batch_decoder,
    "limits.alive": limits.alive_decoder,
    "dispatch.call": dispatch.call_decoder,
    "dispatch.news": dispatch.news_decoder,
    "health.digest": health.health_decoder,
    "providers.question": providers.question_decoder,
    "providers.answer": providers.answer_decoder,
    "relay.news": relay.news_decoder,
    "relay.frame": relay.frame_decoder,
    "relay.control": relay.control_decoder,
    "usage.row": usage.row_decoder,
    "reports.question": reports.question_decoder,
    "reports.answer": reports.answer_decoder,
}
"""Every decoder that a service points at bytes from the bus."""


def name_of(message: msgspec.Struct) -> str:
    """`inference.Accepted`."""
    return f"{type(message).__module__.rpartition('.')[2]}.{type(message).__name__}"


def decoder_of(message: msgspec.Struct) -> "msgspec.msgpack.Decoder[Any]":
    """The decoder that a receiver of `message` uses."""
    for decoder in DECODERS.values():
        if type(message) in getattr(decoder.type, "__args__", (decoder.type,)):
            return decoder
    raise LookupError(f"no decoder takes {name_of(message)}")
