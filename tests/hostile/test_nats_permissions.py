"""What a taken-over service can't reach: the real server, the generated configuration, each user.

Every user's whole list goes over one connection: the server answers in order, so a PONG behind a
hundred probes says that each of them was judged.
"""

import asyncio
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import nkeys
import pytest

from droveway.cli.nats_config import NatsServerSettings, Place, server_config
from droveway.cli.nats_server import write_config
from droveway.contracts.permissions import USERS, User
from tests.hostile.nats_cases import (
    COMPROMISED,
    TENANT_KEYS,
    allowed,
    below,
    everybodys_subjects,
    wide_subjects,
)
from tests.hostile.nats_world import new_user, until_admitted
from tests.support.nats import NatsServer, serving
from tests.support.raw_nats import RawNats, raw_nats, violations

DEPLOY = Path(__file__).parents[2] / "deploy"
NEVER = ("allow_responses", "no_auth_user", "websocket", "mqtt", "leafnodes", "gateway {")
USERS_BY_NAME = pytest.mark.parametrize(
    "user", COMPROMISED, ids=[user.name for user in COMPROMISED]
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server that also knows two tenants' users."""
    with serving(tmp_path_factory.mktemp("guarded"), set_up=False) as server:
        users = {key_id: new_user(server, f"t.{key_id}") for key_id in TENANT_KEYS}
        port = urlsplit(server.url).port or 0
        write_config(server.folder, port, NatsServerSettings(), users)
        server.pause(signal.SIGHUP)
        asyncio.run(until_admitted(server, f"t.{TENANT_KEYS[-1]}"))
        yield server


@USERS_BY_NAME
async def test_a_taken_over_service_publishes_nowhere_else(guarded: NatsServer, user: User) -> None:
    subjects = everybodys_subjects() + wide_subjects()
    forbidden = {subject for subject in subjects if not allowed(user.publish, subject)}
    assert len(forbidden) > 300
    async with raw_nats(guarded, user.name) as attacker:
        for subject in forbidden:
            attacker.publish(subject, b"x")
        assert forbidden - violations(await attacker.settle(), "Publish") == set()
        assert not attacker.closed.is_set()


@USERS_BY_NAME
@pytest.mark.parametrize("queue", ["", "router"])
async def test_a_taken_over_service_hears_nothing_else(
    guarded: NatsServer, user: User, queue: str
) -> None:
    subjects = everybodys_subjects() + wide_subjects()
    forbidden = {subject for subject in subjects if not allowed(user.subscribe, subject)}
    assert len(forbidden) > 300
    async with raw_nats(guarded, user.name) as attacker:
        for subject in forbidden:
            attacker.subscribe(subject, queue)
        assert forbidden - violations(await attacker.settle(), "Subscription") == set()
        assert not attacker.closed.is_set()


def test_nothing_is_ever_sent_below_a_star_which_the_server_lets_a_listener_widen() -> None:
    deeper = [one for user in COMPROMISED for pattern in user.subscribe for one in below(pattern)]
    deeper = [one for one in deeper if not one.startswith("$SRV.")]  # an operator's question
    assert deeper
    for user in COMPROMISED:
        assert [one for one in deeper if allowed(user.publish, one)] == []


def test_no_configuration_opens_a_way_around_the_lists() -> None:
    place = Place(listen="127.0.0.1:4222", store_dir="/data/jetstream", monitor="127.0.0.1:8222")
    keys = {user.name: "U" * 56 for user in USERS}
    rendered = server_config(
        keys, place, NatsServerSettings(), dict.fromkeys(TENANT_KEYS, "U" * 56)
    )
    deployed = [path for path in DEPLOY.rglob("*") if path.suffix in (".yaml", ".json", ".conf")]
    texts = {"generated": rendered} | {str(path): path.read_text() for path in deployed}
    assert sum("max_payload" in text for text in texts.values()) >= 2
    assert sum("server.conf" in text for text in texts.values()) >= 2
    for name, text in texts.items():
        assert [word for word in NEVER if word in text] == [], name


async def test_who_signs_with_another_key_is_nobody(nats: NatsServer) -> None:
    seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(nats.url).port)
    client = RawNats(reader, writer)
    with pytest.raises(AssertionError, match="refuses the user"):
        await client.introduce(seed)
    await client.closed.wait()
    await client.close()
