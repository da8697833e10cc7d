"""`droveway doctor` beside all services over a real broker: what is broken, it names."""

import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts import discovery
from droveway.contracts.access import Budget, Key
from droveway.contracts.admission import standing_subject
from droveway.contracts.config import Config, Price
from droveway.contracts.jetstream import AUDIT
from droveway.contracts.providers import providers_subject
from droveway.contracts.reports import METRICS, report_subject
from droveway.runtime.ask_providers import ask_providers
from droveway.runtime.config.file import load
from tests.support.access import delete_stream, fill_trail, operator, put_key
from tests.support.commands import Commands
from tests.support.flows import ask, route
from tests.support.nats import NatsServer, write_droveway_config
from tests.support.simulator import chat_body
from tests.support.stack import running_stack

FIRST, SECOND = "upstream-1", "upstream-2"
LONGEST_S = 5.0


class Doctor:
    """The command, as it is typed on the operator's machine."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def __call__(self, *options: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
        """The exit code, and findings by their codes."""
        outcome = await self._commands("doctor", "--format", "json", *options)
        assert outcome.json["exit_code"] == outcome.code
        found: dict[str, list[dict[str, Any]]] = {}
        for one in outcome.json["findings"]:
            found.setdefault(one["code"], []).append(one)
        return outcome.code, found


@pytest.fixture
def commands(own_nats: NatsServer, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(own_nats.folder.path, capsys)


@pytest.fixture
def doctor(commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    monkeypatch.setenv("DROVEWAY_CONFIG", str(tmp_path / "droveway.yaml"))
    return Doctor(commands)


def priced(config: Config, price: Price = Price(input=1, output=1)) -> Config:  # noqa: B008
    """What the simulators' models cost, which no list knows."""
    providers = (msgspec.structs.replace(one, prices={"*": price}) for one in config.providers)
    return msgspec.structs.replace(config, providers=tuple(providers))


def patient(config: Config) -> Config:
    """Breakers stay open for as long as a test takes."""
    own = route("down", (FIRST, "fault-numbered-3+503"))
    health = msgspec.structs.replace(config.health, open_s=60, open_cap_s=60)
    return msgspec.structs.replace(config, routes=(own, *config.routes), health=health)


async def test_a_healthy_system_is_told_to_be_well_and_what_was_looked_at(
    own_nats: NatsServer, tmp_path: Path, doctor: Doctor, commands: Commands
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=priced) as stack,
        stack.client() as client,
    ):
        assert (await ask(client, chat_body("numbered-3"))).status == 200
        began_s = time.monotonic()
        while (answer := await doctor("--strict")) != (0, {}):
            assert answer[1].keys() <= {"service_unready", "not_asked"}, "metrics begins last"
            assert time.monotonic() - began_s < LONGEST_S, answer
        shown = await commands("doctor")
    assert shown.code == 0
    first, second, *_ = shown.stdout.splitlines()
    assert first.strip() == "all is well"
    assert all(word in second for word in ("nats-server 2.", "5 processes", "10 streams"))


async def test_a_limiter_that_is_gone_is_broken_and_requests_say_the_same(
    own_nats: NatsServer, tmp_path: Path, doctor: Doctor
) -> None:
    async with running_stack(own_nats, tmp_path) as stack:
        await stack.services["limiter"][0].end()
        code, found = await doctor()
        (absent,) = found["service_absent"]
    assert code == 2
    assert (absent["severity"], "no limiter runs" in absent["what"]) == ("broken", True)
    assert "ServiceAbsent" in absent["advice"]


async def test_what_an_operator_switched_off_is_a_note_with_who_and_why(
    own_nats: NatsServer, tmp_path: Path, doctor: Doctor, commands: Commands
) -> None:
    def configure(config: Config) -> Config:
        both = route("m", (FIRST, "numbered-3"), (SECOND, "numbered-5"))
        alone = route("alone", (FIRST, "numbered-3"))
        return msgspec.structs.replace(config, routes=(both, alone))

    async with running_stack(own_nats, tmp_path, simulators=2, configure=configure):
        done = await commands("providers", "disable", FIRST, "--reason", "too dear")
        assert done.code == 0
        code, found = await doctor()
    (off,) = found["provider_disabled"]
    assert (off["severity"], off["since"] != "") == ("note", True)
    assert "too dear" in off["what"]
    assert off["advice"] == f"`droveway providers enable {FIRST}`"
    (down,) = found["route_down"]
    assert (code, down["severity"], "the route alone works" in down["what"]) == (2, "broken", True)


async def test_an_open_breaker_is_named_since_when_and_why(
    own_nats: NatsServer, tmp_path: Path, doctor: Doctor
) -> None:
    async with (
        running_stack(own_nats, tmp_path, simulators=2, configure=patient) as stack,
        stack.client() as client,
        own_nats.bus("operator") as bus,
    ):
        for _ in range(4):
            await ask(client, chat_body("down"))
        began_s = time.monotonic()
        while not any(one.state == "open" for one in (await ask_providers(bus))[0].targets):
            assert time.monotonic() - began_s < 5
        code, found = await doctor()
    (opened,) = found["target_open"]
    assert opened["severity"] == "warning"
    assert f"{FIRST}/fault-numbered-3+503" in opened["what"]
    assert "provider_unavailable" in opened["what"]
    assert opened["since"]
    (down,) = found["route_down"]
    assert (code, "the route down works" in down["what"]) == (2, True)


async def test_a_full_bucket_and_one_that_is_missing_are_broken(
    own_nats: NatsServer, tmp_path: Path, doctor: Doctor
) -> None:
    async with running_stack(own_nats, tmp_path) as stack, operator(own_nats) as bus:
        stored = msgspec.structs.replace(Key(id="k1", sha256="0" * 64), state="disabled")
        await put_key(bus, stored)
        await fill_trail(own_nats)
        await delete_stream(own_nats, "KV_prices")
        assert stack.services
        code, found = await doctor()
    (full,) = found["stream_full"]
    assert (code, full["severity"]) == (2, "broken")
    assert full["what"].startswith(f"{AUDIT} is 100% full")
    assert "DROVEWAY_SETUP_AUDIT_MAX_BYTES" in full["advice"]
    (silent,) = found["stream_silent"]
    assert (silent["severity"], "KV_prices" in silent["what"]) == ("broken", True)
    assert "`droveway setup`" in silent["advice"]
    (disabled,) = found["keys_disabled"]
    assert (disabled["severity"], disabled["what"]) == ("note", "1 key is disabled: k1")


async def test_a_refused_credential_and_a_spent_budget_are_warnings(
    own_nats: NatsServer, tmp_path: Path, doctor: Doctor
) -> None:
    def configure(config: Config) -> Config:
        refused = route("refused", (FIRST, "fault-401"), (SECOND, "numbered-3"))
        providers = priced(config, Price(input=0, output=1_000_000)).providers
        keys = tuple(msgspec.structs.replace(one, budgets=(Budget(usd=1),)) for one in config.keys)
        routes = (refused, *config.routes)
        return msgspec.structs.replace(config, providers=providers, keys=keys, routes=routes)

    async with (
        running_stack(own_nats, tmp_path, simulators=2, configure=configure) as stack,
        stack.client() as client,
        own_nats.bus("operator") as bus,
    ):
        assert (await ask(client, chat_body("refused"))).status == 200
        began_s = time.monotonic()
        while not (await ask_providers(bus))[0].credentials:
            assert time.monotonic() - began_s < 5
        code, found = await doctor("--strict")
    (refused,) = found["credential_refused"]
    assert (code, refused["severity"]) == (1, "warning")
    assert "droveway providers reset" in refused["advice"]
    (spent,) = found["budget_spent"]
    assert spent["severity"] == "warning"
    assert spent["what"].startswith("key ")


async def test_tokens_without_a_price_are_a_warning_that_names_their_model(
    own_nats: NatsServer, tmp_path: Path, doctor: Doctor
) -> None:
    async with running_stack(own_nats, tmp_path) as stack, stack.client() as client:
        assert (await ask(client, chat_body("numbered-3"))).status == 200
        began_s = time.monotonic()
        while "prices_unknown" not in (found := (await doctor())[1]):
            assert time.monotonic() - began_s < LONGEST_S
    (unpriced,) = found["prices_unknown"]
    assert unpriced["severity"] == "warning"
    assert f"{FIRST}/numbered-3" in unpriced["what"]


async def test_a_file_that_is_not_the_applied_configuration_is_a_note(
    own_nats: NatsServer, tmp_path: Path, doctor: Doctor, commands: Commands
) -> None:
    async with running_stack(own_nats, tmp_path, configure=priced) as stack:
        other = write_droveway_config(
            tmp_path / "other.yaml", patient(load(str(stack.config_path)))
        )
        assert (await commands("config", "apply", str(other))).code == 0
        _, found = await doctor()
        assert "config_not_adopted" not in found
        (shadowed,) = found["config_file_shadowed"]
        assert (shadowed["severity"], shadowed["since"] != "") == ("note", True)
        stack.config_path.write_text("providers: [")
        _, found = await doctor()
    (unreadable,) = found["config_unreadable"]
    assert (unreadable["severity"], "not YAML" in unreadable["what"]) == ("warning", True)


async def test_without_services_or_a_broker_it_says_so_in_time(
    own_nats: NatsServer, doctor: Doctor
) -> None:
    code, found = await doctor()
    assert (code, found["no_service"][0]["severity"]) == (2, "broken")
    assert "not_asked" in found
    own_nats.kill()
    began_s = time.monotonic()
    code, found = await doctor()
    assert time.monotonic() - began_s < LONGEST_S
    assert (code, found["nats_unreachable"][0]["severity"]) == (3, "broken")


async def test_services_that_hear_and_never_answer_cost_a_bounded_time(
    own_nats: NatsServer, doctor: Doctor
) -> None:
    def silent(_payload: bytes, _reply: str) -> None:
        """As a process that hangs."""

    async with (
        operator(own_nats) as bus,
        own_nats.bus("limiter") as limiter,
        own_nats.bus("router") as router,
        own_nats.bus("metrics") as metrics,
    ):
        await put_key(bus, Key(id="k1", sha256="0" * 64, budgets=(Budget(usd=1),)))
        await limiter.subscribe(standing_subject(0), silent)
        await limiter.subscribe(f"{discovery.ROOT}.STATS", silent)
        await router.subscribe(providers_subject(), silent)
        await metrics.subscribe(report_subject(), silent, queue=METRICS)
        began_s = time.monotonic()
        code, found = await doctor()
        took_s = time.monotonic() - began_s
    assert (code, "no_service" in found) == (2, True)
    told = " ".join(one["what"] for one in found["not_asked"])
    assert all(words in told for words in ("how full streams are", "prices", "budgets"))
    assert took_s < LONGEST_S


async def test_a_broker_that_freezes_costs_a_bounded_time(
    own_nats: NatsServer, tmp_path: Path, doctor: Doctor
) -> None:
    async with running_stack(own_nats, tmp_path):
        own_nats.pause(signal.SIGSTOP)
        try:
            began_s = time.monotonic()
            code, found = await doctor()
            took_s = time.monotonic() - began_s
        finally:
            own_nats.pause(signal.SIGCONT)
    assert code == 3
    assert found["nats_unreachable"][0]["what"].endswith("no answer within 2 s")
    assert took_s < LONGEST_S
