"""`strategy: cached`: who has a conversation's beginning in its cache gets the rest of it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from droveway.contracts.config import Config, Credential, Health, Route, RouteTarget, Tier
from droveway.simulator.server import running
from tests.support.flows import ask, lines_until, route
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body, quick_settings
from tests.support.stack import PROVIDER_KEY, Stack, running_stack
from tests.support.steady_port import steady_port

MODEL = "numbered-5"
CONVERSATIONS = 18
ROUNDS = 50
TURNS = 3
DEAD = "upstream-3"
STALLS = "fault-numbered-5+stall-after-1"
LATER = [{"role": "assistant", "content": "t0 t1"}, {"role": "user", "content": "And then?"}]


class Served(NamedTuple):
    """Who answered a turn."""

    provider: str
    cached_tokens: int


def _configure(folder: Path, third: str) -> Callable[[Config], Config]:
    """One tier: a provider with two credentials and two thirds of the weight, and two others."""
    (folder / "second.key").write_text(f"{PROVIDER_KEY}-second")

    def configure(config: Config) -> Config:
        first, second = config.providers
        own = first.credentials[0]
        other = Credential(id="second", api_key=f"file:{folder}/second.key")
        first = msgspec.structs.replace(first, credentials=(own, other))
        last = msgspec.structs.replace(second, id=DEAD, base_url=third)
        targets = (
            RouteTarget(provider=first.id, credential="*", weight=2),
            RouteTarget(provider=second.id),
            RouteTarget(provider=DEAD),
        )
        cached = Route(model="*", tiers=(Tier(targets=targets),), strategy="cached")
        return msgspec.structs.replace(
            config,
            providers=(first, second, last),
            routes=(cached,),
            health=Health(consecutive=3, open_s=0.2, open_cap_s=0.2),
        )

    return configure


def _conversation(number: int, turn: int) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": f"{number}: " + "You answer in numbers. " * 300},
        {"role": "user", "content": "Begin."},
        *LATER * turn,
    ]
    return {"model": MODEL, "messages": messages}


async def _turn(client: httpx.AsyncClient, number: int, turn: int = 0) -> Served:
    got = await ask(client, _conversation(number, turn))
    assert got.status == 200, got.text
    details = got.json()["usage"]["prompt_tokens_details"]
    return Served(got.headers["x-droveway-provider"], details["cached_tokens"])


async def _homes(client: httpx.AsyncClient, turn: int = 0) -> list[str]:
    return [(await _turn(client, number, turn)).provider for number in range(CONVERSATIONS)]


async def test_turns_go_where_their_beginning_is_cached_and_come_back_after_an_outage(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    port = steady_port()
    third = quick_settings(port=port)
    configure = _configure(tmp_path, f"http://127.0.0.1:{port}/v1")
    async with (
        running_stack(
            own_nats, tmp_path, simulators=2, replicas={"router": 2}, configure=configure
        ) as stack,
        stack.client() as client,
    ):
        async with running(third):
            homes = await _homes(client)
            for turn in range(1, TURNS):
                for number, home in enumerate(homes):
                    served = await _turn(client, number, turn)
                    assert served.provider == home
                    assert served.cached_tokens >= 1024
            _one_credential_each(stack, homes)
        away = await _homes(client)
        moved = [home for home, before in zip(away, homes, strict=True) if before == DEAD]
        stayed = [
            home == before for home, before in zip(away, homes, strict=True) if before != DEAD
        ]
        assert all(stayed), "only the dead one's conversations have moved"
        assert DEAD not in moved
        assert len({*moved}) == 2, "and they are spread over both others"
        async with running(third):
            await _until_home_again(client, homes)


def _one_credential_each(stack: Stack, homes: list[str]) -> None:
    """Each conversation of the first provider has come with one of its keys, both were used."""
    entries = stack.simulators[0].book.entries
    numbers = [number for number, home in enumerate(homes) if home == "upstream-1"]
    assert len(entries) == TURNS * len(numbers)
    keys = {
        number: {entry.key_fingerprint for entry in entries[place :: len(numbers)]}
        for place, number in enumerate(numbers)
    }
    assert all(len(used) == 1 for used in keys.values())
    assert len(set.union(*keys.values())) == 2
    assert min(Counter(homes).values()) >= 2


async def test_stored_conversations_and_users_of_embeddings_stay_as_well(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    port = steady_port()
    configure = _configure(tmp_path, f"http://127.0.0.1:{port}/v1")
    async with (
        running(quick_settings(port=port)),
        running_stack(own_nats, tmp_path, simulators=2, configure=configure) as stack,
        stack.client() as client,
    ):
        homes: set[str] = set()
        for number in range(8):
            asked = {"model": MODEL, "input": f"question {number}"}
            first = await client.post("/v1/responses", json=asked)
            after = {"model": MODEL, "input": "And?", "previous_response_id": first.json()["id"]}
            second = await client.post("/v1/responses", json=after)
            assert first.status_code == second.status_code == 200
            assert _provider(first) == _provider(second)
            homes.add(_provider(first))
        for number in range(8):
            body = {"model": MODEL, "user": f"user-{number}"}
            answers = [
                await client.post("/v1/embeddings", json={**body, "input": text})
                for text in ("one", "two", "three")
            ]
            assert len({_provider(answer) for answer in answers}) == 1
            homes.add(_provider(answers[0]))
        assert len(homes) == 3


async def test_what_a_full_target_cant_take_goes_to_the_next_one_in_the_same_order(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    def configure(config: Config) -> Config:
        providers = tuple(msgspec.structs.replace(one, max_in_flight=2) for one in config.providers)
        tier = _tier(*(one.id for one in providers))
        cached = Route(model="*", tiers=(tier,), strategy="cached")
        holding = (route(f"hold-{one.id}", (one.id, STALLS)) for one in providers)
        return msgspec.structs.replace(config, providers=providers, routes=(*holding, cached))

    async with (
        running_stack(own_nats, tmp_path, simulators=3, configure=configure) as stack,
        stack.client() as client,
    ):
        homes = await _homes(client)
        for full in {*homes}:
            held = chat_body(f"hold-{full}", stream=True)
            async with lines_until(client, held, "t0"), lines_until(client, held, "t0"):
                away = await _homes(client)
                assert await _homes(client) == away, "however often it is asked"
            moved = {now for now, home in zip(away, homes, strict=True) if home == full}
            assert len(moved - {full}) == len(moved) == 2, "spread over both others"
            assert all(now == home for now, home in zip(away, homes, strict=True) if home != full)
            await _until_home_again(client, homes)


async def _until_home_again(client: httpx.AsyncClient, homes: list[str]) -> None:
    for _ in range(ROUNDS):  # each brings the target trials
        if await _homes(client) == homes:
            return
    pytest.fail("its conversations haven't come back")


def _tier(*providers: str) -> Tier:
    return Tier(targets=tuple(RouteTarget(provider=name) for name in providers))


def _provider(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["x-droveway-provider"]
