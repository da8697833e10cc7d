"""Providers switched off and on, started anew, and how they fare: in all routers at once."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from droveway.contracts.access import Admin
from droveway.contracts.config import Config, Fallbacks
from droveway.contracts.providers import ProvidersSeen, ProviderSwitch, TargetSeen
from droveway.runtime.api_key import hash_key, make_key
from droveway.runtime.ask_providers import ask_providers
from droveway.runtime.audit_trail import local_author, read_trail
from droveway.runtime.provider_switches import SwitchStore
from tests.support.commands import Commands
from tests.support.flows import ask, only_first, route
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

TWO_ROUTERS = {"router": 2}
LIVE_WITHIN_S = 1.0
FIRST, SECOND = "upstream-1", "upstream-2"


def routes(*models: str) -> Callable[[Config], Config]:
    """Route `m` asks the first provider for one model and then the second for another."""

    def configure(config: Config) -> Config:
        own = route("m", *zip((FIRST, SECOND), models, strict=False))
        return msgspec.structs.replace(config, routes=(own, *config.routes))

    return configure


async def asked(stack: Stack, count: int, model: str = "m", stream: bool = False) -> list[int]:
    """How many of so many requests each provider got; all must have been served."""
    before = [len(one.book.entries) for one in stack.simulators]
    async with stack.client() as client:
        for _ in range(count):
            got = await ask(client, chat_body(model, stream=stream))
            assert got.status == 200, got.text
    return [len(one.book.entries) - n for one, n in zip(stack.simulators, before, strict=True)]


async def seen_by_all(
    nats: NatsServer, holds: Callable[[ProvidersSeen], bool], routers: int = 2
) -> float:
    """After how many seconds all routers see it so."""
    began_s = time.monotonic()
    async with nats.bus("operator") as bus:
        while True:
            seen = await ask_providers(bus)
            if len(seen) == routers and all(map(holds, seen)):
                return time.monotonic() - began_s
            assert time.monotonic() - began_s < 5, seen


def of(seen: ProvidersSeen, provider: str, model: str) -> TargetSeen:
    (found,) = (one for one in seen.targets if (one.provider, one.model) == (provider, model))
    return found


@pytest.fixture
def droveway(own_nats: NatsServer, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(own_nats.folder.path, capsys)


async def test_what_is_disabled_gets_nothing_from_any_router_until_it_is_enabled(
    own_nats: NatsServer, tmp_path: Path, droveway: Commands
) -> None:
    options = {
        "simulators": 2, "replicas": TWO_ROUTERS, "configure": routes("numbered-3", "numbered-5"),
    }  # fmt: skip
    async with running_stack(own_nats, tmp_path, **options) as stack:  # type: ignore[arg-type]
        assert await asked(stack, 4) == [4, 0]
        done = await droveway("providers", "disable", FIRST, "--reason", "too dear")
        assert (done.code, "in 2 routers" in done.stderr) == (0, True), done.stderr
        assert await asked(stack, 10) == [0, 10]
    async with running_stack(own_nats, tmp_path, **options) as stack:  # type: ignore[arg-type]
        assert await asked(stack, 10) == [0, 10], "a restart doesn't switch it on"
        listed = await droveway("providers", "list", "--json")
        (switch,) = listed.json["switched_off"]
        assert (switch["id"], switch["reason"]) == (FIRST, "too dear")
        assert "too dear" in (await droveway("providers", "list")).stdout
        assert (await droveway("providers", "enable", FIRST)).code == 0
        assert await asked(stack, 10) == [10, 0]
    async with own_nats.bus("operator") as bus:
        actions = [event.action for _, event in await read_trail(bus, 10)]
    assert actions == ["provider.enabled", "provider.disabled"]


async def test_it_is_off_in_all_routers_in_less_than_a_second(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    configure = routes("numbered-3", "numbered-5")
    async with (
        running_stack(
            own_nats, tmp_path, simulators=2, replicas=TWO_ROUTERS, configure=configure
        ) as stack,
        own_nats.bus("operator") as bus,
    ):
        store = SwitchStore(bus)
        for off in (True, False):
            models = ("numbered-3",) if off else ()
            switch = ProviderSwitch(id=FIRST, disabled_models=models)
            await store.set(await store.get(FIRST), switch, local_author())
            took_s = await seen_by_all(
                own_nats,
                lambda seen, off=off: of(seen, FIRST, "numbered-3").disabled == off,  # type: ignore[misc]
            )
            assert took_s < LIVE_WITHIN_S
            assert await asked(stack, 4) == ([0, 4] if off else [4, 0])


async def test_where_all_targets_are_off_the_client_reads_so_or_a_fallback_serves(
    own_nats: NatsServer, tmp_path: Path, droveway: Commands
) -> None:
    def configure(config: Config) -> Config:
        alone = route("alone", (FIRST, "numbered-3"))
        backed = msgspec.structs.replace(
            route("backed", (FIRST, "numbered-3")), fallbacks=Fallbacks(failed=("spare",))
        )
        return only_first(config, alone, backed, route("spare", (SECOND, "numbered-5")))

    async with (
        running_stack(own_nats, tmp_path, simulators=2, configure=configure) as stack,
        stack.client() as client,
    ):
        assert (await droveway("providers", "disable", FIRST)).code == 0
        refused = await ask(client, chat_body("alone"))
        assert (refused.status, refused.error["code"]) == (503, "targets_disabled")
        assert "operator" in refused.error["message"]
        assert await asked(stack, 2, "backed") == [0, 2]


async def test_what_is_unknown_cannot_be_disabled_and_a_model_not_enabled_alone(
    own_nats: NatsServer, tmp_path: Path, droveway: Commands
) -> None:
    def configure(config: Config) -> Config:
        return msgspec.structs.replace(config, routes=(route("m", (FIRST, "numbered-3")),))

    async with running_stack(own_nats, tmp_path, configure=configure):
        nobody = await droveway("providers", "disable", "openai")
        assert (nobody.code, "no router knows" in nobody.stderr) == (78, True)
        typo = await droveway("providers", "disable", f"{FIRST}/numbered-4")
        assert (typo.code, "numbered-3" in typo.stderr) == (78, True)
        assert (await droveway("providers", "disable", FIRST)).code == 0
        half = await droveway("providers", "enable", f"{FIRST}/numbered-3")
        assert (half.code, "all of upstream-1 is disabled" in half.stderr) == (78, True)


async def test_a_router_learns_from_the_failures_of_others(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    configure = routes("fault-503", "numbered-5")
    async with running_stack(
        own_nats, tmp_path, simulators=2, replicas=TWO_ROUTERS, configure=configure
    ) as stack:
        await asked(stack, 3)  # each by any of the two
        took_s = await seen_by_all(
            own_nats, lambda seen: of(seen, FIRST, "fault-503").why == "provider_unavailable"
        )
        assert took_s < LIVE_WITHIN_S + 0.5
        sent, _ = await asked(stack, 1)
        assert sent <= 1, "nothing but a probe"


async def test_streams_that_are_cut_count_against_their_target(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    model = "fault-numbered-9+cut-after-3"
    async with running_stack(
        own_nats, tmp_path, replicas=TWO_ROUTERS, configure=routes(model)
    ) as stack:
        await asked(stack, 10, stream=True)
        await seen_by_all(own_nats, lambda seen: of(seen, FIRST, model).why == "cut")


async def test_a_reset_closes_breakers_and_ends_cooldowns_in_all_of_them(
    own_nats: NatsServer, tmp_path: Path, droveway: Commands
) -> None:
    def configure(config: Config) -> Config:
        down = route("down", (FIRST, "fault-numbered-3+503+times-3"), (SECOND, "numbered-5"))
        cool = route("cool", (FIRST, "fault-numbered-3+429-300+times-1"), (SECOND, "numbered-5"))
        routes = (down, cool, *config.routes)
        slow = msgspec.structs.replace(config.health, open_s=60, open_cap_s=60)
        return msgspec.structs.replace(config, routes=routes, health=slow)

    replicas = {"router": 2, "caller": 2}
    async with running_stack(
        own_nats, tmp_path, simulators=2, replicas=replicas, configure=configure
    ) as stack:
        await asked(stack, 3, "down")
        await asked(stack, 1, "cool")
        await seen_by_all(
            own_nats,
            lambda seen: bool(seen.credentials and any(one.why for one in seen.targets)),
        )
        assert await asked(stack, 4, "down") == [0, 4]
        assert await asked(stack, 4, "cool") == [0, 4]
        listed = (await droveway("providers", "list", FIRST)).stdout
        assert all(word in listed for word in ("open", "provider_unavailable", "rate_limited"))
        done = await droveway("providers", "reset", FIRST)
        assert (done.code, done.stderr.count("caller-")) == (0, 2), done.stderr
        assert await asked(stack, 4, "down") == [4, 0]
        assert await asked(stack, 4, "cool") == [4, 0]


async def test_a_target_that_nobody_asked_is_listed_and_one_that_takes_any_model_too(
    own_nats: NatsServer, tmp_path: Path, droveway: Commands
) -> None:
    async with running_stack(own_nats, tmp_path):
        listed = await droveway("providers", "list")
    assert listed.code == 0
    assert f"{FIRST}/*" in listed.stdout


async def test_the_administration_switches_and_resets_them_by_http(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    secret = make_key("admin")

    def configure(config: Config) -> Config:
        admin = Admin(id="ops", sha256=hash_key(secret), role="operator")
        own = routes("fault-numbered-3+503+times-3", "numbered-5")(config)
        slow = msgspec.structs.replace(config.health, open_s=60, open_cap_s=60)
        return msgspec.structs.replace(own, admins=(admin,), health=slow)

    async with (
        running_stack(own_nats, tmp_path, simulators=2, configure=configure) as stack,
        httpx.AsyncClient(
            base_url=f"{stack.url}/admin/v1/", headers={"authorization": f"Bearer {secret}"}
        ) as admin,
    ):
        await asked(stack, 3)
        (first, _) = (await admin.get("providers")).json()["data"]
        (view,) = first["routers"]
        state = {one["model"]: (one["state"], one["failed"]) for one in view["targets"]}
        assert state["fault-numbered-3+503+times-3"] == ("open", 3)
        reset = await admin.post(f"providers/{FIRST}/reset", json={})
        assert len(reset.json()["done"]) == 2, "a router and a caller"
        assert await asked(stack, 2) == [2, 0]
        one = await admin.get(f"providers/{FIRST}")
        change = {"state": "disabled", "reason": "too dear"}
        without = await admin.patch(f"providers/{FIRST}", json=change)
        assert (without.status_code, without.json()["error"]["code"]) == (428, "revision_required")
        match = {"if-match": one.headers["etag"]}
        changed = await admin.patch(f"providers/{FIRST}", json=change, headers=match)
        assert (changed.status_code, changed.json()["by"]) == (200, "gateway ops")
        late = await admin.patch(f"providers/{FIRST}", json=change, headers=match)
        assert (late.status_code, late.json()["error"]["code"]) == (412, "revision_changed")
        await seen_by_all(own_nats, lambda seen: all(o.disabled for o in _of_first(seen)), 1)
        assert await asked(stack, 2) == [0, 2]
        unknown = await admin.get("providers/openai")
        assert (unknown.status_code, FIRST in unknown.text) == (404, True)
        events = (await admin.get("audit")).json()["data"]
        actions = [one["event"]["action"] for one in events]
        assert actions == ["provider.disabled", "provider.reset"]


def _of_first(seen: ProvidersSeen) -> list[TargetSeen]:
    return [one for one in seen.targets if one.provider == FIRST]
