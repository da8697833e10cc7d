"""Each check of `droveway doctor`, held against fabricated answers."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from droveway.cli.doctor.checks import diagnose
from droveway.cli.doctor.evidence import (
    Broker,
    Evidence,
    LocalFile,
    Machine,
    Spendings,
    Unasked,
    file_versions,
)
from droveway.cli.main import app
from droveway.contracts.access import Tenant
from droveway.contracts.config import Canary, RouteTarget
from droveway.contracts.configuration import version_of
from droveway.contracts.fill import StreamFill
from droveway.contracts.providers import (
    ProviderSwitch,
)
from droveway.runtime.config.entries import Standing
from tests.support.evidence import (
    CONFIG,
    FIRST,
    KEY,
    NOW,
    NOW_MS,
    SECOND,
    WELL,
    among,
    applied,
    budget,
    canary,
    cooling,
    expiring,
    failing,
    filled,
    opened,
    process,
    report,
    requests,
    routed,
    running,
    seen,
    target,
)

ROOT = Path(__file__).parents[2]
FIELDS = {"exit_code", "looked_at"}
"""Of the JSON object, besides codes."""
LOCAL = {"file", "machine"}
"""What nobody is asked."""

CASES: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
    "all is well": ({}, []),
    "no connection": (
        {"broker": Unasked("can't connect to NATS at a:4222"), "services": (), "fill": None},
        [("broken", "nats_unreachable", "NATS can't be asked: can't connect to NATS at a:4222")],
    ),
    "an old server": (
        {"broker": Broker("a:4222", "2.10.7", 1, 1)}, [("broken", "nats_too_old", "2.10.7")],
    ),
    "a slow server": (
        {"broker": Broker("a:4222", "2.14.1", 1, 900)}, [("warning", "nats_slow", "900 ms")],
    ),
    "nobody runs": ({"services": ()}, [("broken", "no_service", "no service of Droveway answers")]),
    "strangers on the bus don't count": (
        {"services": [*running(), process("x", "other-1", "0.1.0", config="0a1b2c3d4e5f")]}, [],
    ),
    "a service is absent": (
        {"services": running(without="caller")},
        [("broken", "service_absent", "no caller runs: no provider is called")],
    ),
    "none is ready": (
        {"services": running(process("router", unready="no routes"), without="router")},
        [("broken", "service_unready", "router-1: no routes")],
    ),
    "one of two isn't ready": (
        {"services": running(process("router", "router-2", unready="no routes"))},
        [("warning", "service_unready", "1 of 2 router processes")],
    ),
    "metrics isn't ready": (
        {"services": running(process("metrics", unready="starting"), without="metrics")},
        [("warning", "service_unready", "1 of 1 metrics processes aren't ready")],
    ),
    "messages failed": (
        {"services": [*running(without="caller"), failing()]},
        [("note", "messages_failed", "caller-1 failed at 3 messages, last with ValueError")],
    ),
    "two versions": (
        {"services": running(process("caller", "caller-2", "1.1.0"))},
        [("warning", "versions_mixed", "1.1.0: caller-2")],
    ),
    "nobody decides": (
        {"services": running(process("limiter", owner="false"), without="limiter")},
        [("broken", "limiter_without_owner", "none decides")],
    ),
    "two decide": (
        {"services": running(process("limiter", "limiter-2"))},
        [("warning", "limiter_owners", "limiter-1, limiter-2")],
    ),
    "the ledger is behind": (
        {"services": running(process("metrics", usage_lag_rows="12345"), without="metrics")},
        [("warning", "ledger_behind", "12,345 rows behind")],
    ),
    "a target is open, and another serves": (
        {"providers": seen(opened(), target(SECOND))},
        [("warning", "target_open", f"{FIRST}/m is left alone in 2 of 2 routers")],
    ),
    "a target is on trial in one router": (
        {"providers": [seen(target())[0], seen(target(state="probing", for_ms=1, why="cut"))[1]]},
        [("warning", "target_open", "on trial in 1 of 2 routers: its answers break off")],
    ),
    "no target of a route works": (
        {
            "file": LocalFile("f", routed((FIRST, "m"), (SECOND, "m"))),
            "providers": seen(opened()),
            "switches": [ProviderSwitch(id=SECOND, state="disabled", by="operator ann")],
        },
        [
            ("broken", "route_down", f"{FIRST}/m is left alone, {SECOND}/m is switched off"),
            ("warning", "target_open", FIRST),
            ("note", "provider_disabled", f"{SECOND} is switched off by operator ann"),
        ],
    ),
    "its fallbacks serve": (
        {
            "file": LocalFile("f", among({"m": FIRST, "small": SECOND}, {"m": ("small",)})),
            "providers": seen(target(), credentials=cooling(FIRST, "rate_limited")),
        },
        [
            ("warning", "route_on_fallbacks", "its fallbacks do: small"),
            ("note", "credential_cooling", "41 s more: it is rate limited"),
        ],
    ),
    "its fallback is an alias of what serves": (
        {
            "file": LocalFile("f", among(
                {"m": FIRST, "other": SECOND}, {"m": ("a",)}, {"a": "b", "b": "other"}
            )),
            "providers": seen(opened(), target(SECOND)),
        },
        [
            ("warning", "route_on_fallbacks", "its fallbacks do: a"),
            ("warning", "target_open", FIRST),
        ],
    ),
    "routes that are each other's fallback are all down": (
        {
            "file": LocalFile("f", among({"m": FIRST, "n": SECOND}, {"m": ("n",), "n": ("m",)})),
            "providers": seen(opened(), opened(SECOND)),
        },
        [
            ("broken", "route_down", f"m works: {FIRST}/m is left alone; nor do its fallbacks: n"),
            ("broken", "route_down", f"n works: {SECOND}/m is left alone; nor do its fallbacks: m"),
            ("warning", "target_open", FIRST),
            ("warning", "target_open", SECOND),
        ],
    ),
    "only the fallbacks that work are told": (
        {
            "file": LocalFile("f", among({"m": FIRST, "n": FIRST, "o": SECOND}, {"m": ("n", "o")})),
            "providers": seen(opened(), target(SECOND)),
        },
        [
            ("broken", "route_down", "no target of the route n works"),
            ("warning", "route_on_fallbacks", "its fallbacks do: o"),
            ("warning", "target_open", FIRST),
        ],
    ),
    "a provider is down and routes aren't known": (
        {"file": LocalFile(), "providers": seen(opened())},
        [("broken", "provider_unavailable", FIRST), ("warning", "target_open", FIRST)],
    ),
    "a credential is refused": (
        {"providers": seen(target(), credentials=cooling(FIRST, "refused"))},
        [("warning", "credential_refused", "the provider refuses it")],
    ),
    "a credential is used up": (
        {"providers": seen(target(), credentials=cooling(SECOND, "exhausted"))},
        [("warning", "credential_exhausted", "used up")],
    ),
    "models are off": (
        {"switches": [ProviderSwitch(id="p", disabled_models=("a", "b"), reason="too dear")]},
        [("note", "provider_disabled", "p/a, p/b is switched off by somebody: too dear")],
    ),
    "a bucket is nearly full": (
        {"fill": filled(StreamFill(name="KV_access", answering=True, bytes=81, limit_bytes=100))},
        [("warning", "stream_nearly_full", "KV_access is 81% full")],
    ),
    "a stream is full of messages": (
        {
            "fill": filled(
                StreamFill(name="AUDIT", answering=True, messages=99, limit_messages=100)
            )
        },
        [("broken", "stream_full", "AUDIT is 99% full")],
    ),
    "a log that drops its oldest may be full": (
        {"fill": filled(StreamFill(name="LIMITS", answering=True, bytes=99, limit_bytes=100))}, [],
    ),
    "a stream is missing": (
        {"missing": ["USAGE"], "fill": filled(StreamFill(name="KV_prices", answering=False))},
        [("broken", "stream_silent", "USAGE, KV_prices")],
    ),
    "without the bucket of configurations all goes on": (
        {"missing": ["KV_config"]}, [("warning", "stream_silent", "KV_config")],
    ),
    "requests fail": (
        {"requests": requests(80, 20)},
        [("warning", "requests_failing", "20 of 100 requests failed (20.0%)")],
    ),
    "a few failures say nothing": ({"requests": requests(5, 5)}, []),
    "tokens without a price": (
        {"unpriced": report(small=5, large=1_000)},
        [("warning", "prices_unknown", f"1,005 tokens of the last day were counted at the default "
          f"price, since nobody knows that of {FIRST}/large, {FIRST}/small")],
    ),
    "a budget is spent": ({"budgets": budget(10)}, [("warning", "budget_spent", "$10.00 of $10")]),
    "a budget is nearly spent": (
        {"budgets": budget(8.5)}, [("note", "budget_nearly_spent", "85% of it")],
    ),
    "budgets are left out": (
        {"budgets": Spendings((), 3)}, [("note", "budgets_left_out", "3 keys")],
    ),
    "no key is good": (
        {"file": LocalFile("f", msgspec.structs.replace(CONFIG, keys=()))},
        [("broken", "no_keys", "every client is refused")],
    ),
    "keys are disabled, expired, expiring": (
        {
            "keys": [
                msgspec.structs.replace(KEY, id="off", state="disabled"),
                expiring(timedelta(days=2)),
                msgspec.structs.replace(expiring(timedelta(days=-1)), id="late"),
            ]
        },
        [
            ("warning", "keys_expiring", "k2 first, at 2026-11-25T12:00:00Z"),
            ("note", "keys_disabled", "1 key is disabled: off"),
            ("note", "keys_expired", "1 key is expired: late"),
        ],
    ),
    "a key waits to be activated": (
        {"keys": [msgspec.structs.replace(KEY, id="new", state="not_activated")]},
        [("note", "keys_waiting", "1 key is not activated yet: new")],
    ),
    "a tenant is disabled": (
        {"tenants": [Tenant(id="acme", state="disabled")]}, [("note", "tenants_disabled", "acme")],
    ),
    "all keys are those of disabled tenants": (
        {"tenants": [Tenant(id=KEY.tenant, state="disabled")]},
        [
            ("broken", "no_keys", "every client is refused"),
            ("note", "tenants_disabled", KEY.tenant),
        ],
    ),
    "the guard rolled a canary back": (
        {"canaries": [canary()]},
        [("warning", "canary_rolled_back", "by the guard: success 12 points worse")],
    ),
    "an operator rolled it back": (
        {"canaries": [canary("operator ann")]}, [("note", "canary_rolled_back", "operator ann")],
    ),
    "a running canary, and one that the file has overruled": (
        {
            "canaries": [
                canary(state="running"),
                msgspec.structs.replace(canary(), file="0" * 32),
            ]
        },
        [],
    ),
    "the file can't be read": (
        {"file": LocalFile("f.yaml", None, "f.yaml: routes: empty\nf.yaml: more")},
        [("warning", "config_unreadable", "f.yaml: routes: empty (and 1 more)")],
    ),
    "the file isn't the applied one": (
        {"applied": applied(routed((FIRST, "m")))},
        [("note", "config_file_shadowed", "revision 7 is, applied by operator ann")],
    ),
    "the file is the applied one": ({"applied": applied()}, []),
    "the applied one isn't everywhere": (
        {
            "applied": applied(),
            "services": running(
                process("caller", "caller-2", config="0a1b2c3d4e5f"), config=version_of(CONFIG)
            ),
        },
        [("warning", "config_not_adopted", "revision 7 isn't in force in caller-2")],
    ),
    "the applied one can't be read": (
        {"applied": Standing(7, None, "revision 7 can't be read")},
        [("warning", "config_unreadable", "revision 7 can't be read")],
    ),
    "processes hold different files": (
        {
            "services": running(
                process("caller", "caller-2", config="0a1b2c3d4e5f"), config=version_of(CONFIG)
            )
        },
        [("warning", "config_mixed", "0a1b2c3d4e5f: caller-2")],
    ),
    "services hold another file": (
        {"services": running(config="0a1b2c3d4e5f")},
        [("note", "config_file_elsewhere", "isn't what services hold")],
    ),
    "the clock of metrics is late": (
        {"fill": filled(broker_ahead_ms=5_000, at_ms=NOW_MS - 5_000)},
        [("warning", "clock_off", "of metrics is 5.0 s behind the broker's")],
    ),
    "our own clock is ahead": (
        {"fill": filled(at_ms=NOW_MS - 9_000)},
        [("note", "clock_off", "of this machine is 9.0 s ahead of the broker's")],
    ),
    "the disk is full": (
        {"machine": Machine("/data", 10_000, 10**12)}, [("broken", "disk_full", "/data")],
    ),
    "the disk is nearly full": (
        {"machine": Machine("/data", 1024**3, 10**12)},
        [("warning", "disk_nearly_full", "1.0 GiB are free at /data")],
    ),
    "a small disk has room": ({"machine": Machine("/data", 1024**3, 4 * 1024**3)}, []),
    "secrets are exposed": (
        {"machine": Machine("/data", 10**12, 10**12, ("/data/key",))},
        [("warning", "secrets_exposed", "/data/key")],
    ),
    "what couldn't be asked is told, once for each reason": (
        {"fill": Unasked("silence"), "requests": Unasked("silence"), "changes": Unasked("full")},
        [
            ("warning", "not_asked", "not known: how full streams are, failures; silence"),
            ("warning", "not_asked", "not known: the audit trail; full"),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), CASES.values(), ids=CASES)
def test_findings(changes: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    found = diagnose(Evidence(at=NOW, **{**WELL, **changes}))
    assert [(one.severity, one.code) for one in found] == [one[:2] for one in expected]
    for finding, (_, code, words) in zip(found, expected, strict=True):
        assert words in finding.what, code
        assert finding.advice


def test_of_all_that_was_never_answered_no_check_fails() -> None:
    fields = {name: Unasked("no answer") for name in Evidence._fields if name in {*WELL} - LOCAL}
    found = diagnose(Evidence(at=NOW, **{**WELL, **fields, "broker": WELL["broker"]}))
    assert {one.code for one in found} == {"not_asked"}


EVERY = [
    found
    for changes, _ in CASES.values()
    for found in diagnose(Evidence(at=NOW, **{**WELL, **changes}))
]


def test_what_to_do_names_pages_that_are_there() -> None:
    pages = {
        page for one in EVERY for page in re.findall(r"(?:deploy|docs)/[\w/]+\.md", one.advice)
    }
    assert len(pages) > 10
    assert [page for page in sorted(pages) if not (ROOT / page).is_file()] == []


def test_what_to_do_names_commands_that_can_be_typed() -> None:
    typed = {words for one in EVERY for words in re.findall(r"`droveway ([^`]+)`", one.advice)}
    assert len(typed) > 10
    assert [words for words in sorted(typed) if not is_command(words.split())] == []


def is_command(words: list[str]) -> bool:
    command: Any = get_command(app)
    while isinstance(command, TyperGroup):
        if (command := command.commands.get(words.pop(0))) is None:
            return False
    options = {name for one in command.params for name in one.opts}
    return all(word in options for word in words if word.startswith("--"))


def test_a_route_is_down_since_its_last_target_is() -> None:
    fields = {"file": LocalFile("f", routed((FIRST, "m"))), "providers": seen(opened())}
    found, *_ = diagnose(Evidence(at=NOW, **{**WELL, **fields}))
    assert (found.code, found.since) == ("route_down", "2026-11-23T11:58:30Z")


def test_a_canary_is_its_routes_fallback() -> None:
    config = routed((FIRST, "m"))
    other = Canary(targets=(RouteTarget(provider=SECOND, model="m"),), percent=5)
    route = msgspec.structs.replace(config.routes[0], canary=other)
    file = LocalFile("f", msgspec.structs.replace(config, routes=(route,)))
    fields = {**WELL, "file": file, "providers": seen(opened(), target(SECOND))}
    assert [one.code for one in diagnose(Evidence(at=NOW, **fields))] == ["target_open"]


def test_an_open_target_is_told_since_when() -> None:
    (found,) = diagnose(Evidence(at=NOW, **{**WELL, "providers": seen(opened(), target(SECOND))}))
    assert found.since == "2026-11-23T11:58:30Z"


def test_a_files_versions_are_those_it_has_before_and_after_it_is_applied() -> None:
    assert version_of(CONFIG) in file_versions(CONFIG)


def test_the_guide_has_every_code_and_no_other() -> None:
    guide = (ROOT / "docs/guides/doctor.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z]+_[a-z_]+)`", guide)) - FIELDS
    assert told == {one.code for one in EVERY}
