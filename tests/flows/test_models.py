"""Aliases and abilities of models, from the client's request to the provider that gets it."""

from pathlib import Path

import msgspec

from droveway.contracts.config import Config, Model
from tests.support.flows import ask, entries, models, route
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import running_stack

TOOLS = [{"type": "function", "function": {"name": "f"}}]


def _config(config: Config) -> Config:
    both = route("both", ("upstream-1", "plain-a"), ("upstream-2", "clever"))
    plain = route("plain", ("upstream-1", "plain-a"), ("upstream-2", "plain-b"))
    return msgspec.structs.replace(
        config,
        routes=(both, plain, *config.routes),
        models=(Model(name="plain-*", tools=False),),
        aliases={"fast": "quick", "quick": "gpt-4o-mini"},
    )


async def test_a_request_goes_where_it_can_be_served(nats: NatsServer, tmp_path: Path) -> None:
    async with (
        running_stack(nats, tmp_path, simulators=2, configure=_config) as stack,
        stack.client() as client,
    ):
        assert (await ask(client, chat_body(model="both"))).status == 200
        got = await ask(client, chat_body(model="both", tools=TOOLS))
        assert got.status == 200
        assert models(entries(stack)) == ["plain-a", "clever"]

        refused = await ask(client, chat_body(model="plain", tools=TOOLS))
        assert refused.status == 400
        assert refused.error["code"] == "unsupported_parameter"
        assert refused.error["param"] == "tools"
        assert refused.error["message"] == "`plain-a` doesn't support tools."
        assert len(entries(stack)) == 2


async def test_an_alias_and_a_wrong_spelling_reach_the_model(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(nats, tmp_path, configure=_aliases) as stack,
        stack.client() as client,
    ):
        for asked in ("fast", "claude-sonnet-4.5-20250514", "gpt-4o-mini"):
            assert (await ask(client, chat_body(model=asked))).status == 200
        assert models(entries(stack)) == ["gpt-4o-mini", "claude-sonnet-4-5", "gpt-4o-mini"]
        listed = (await client.get("/v1/models")).json()["data"]
        assert "fast" in [one["id"] for one in listed]


def _aliases(config: Config) -> Config:
    return msgspec.structs.replace(config, aliases={"fast": "quick", "quick": "gpt-4o-mini"})
