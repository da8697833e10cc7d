"""What a taken-over service can't reach: the real server, the generated configuration, each user.

Every user's whole list goes over one connection: the server answers in order, so a PONG behind a
hundred probes says that each of them was judged.
"""

import asyncio
import secrets
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import nkeys
import pytest

from droveway.cli.data_folder import write_private
from droveway.cli.nats_config import NatsServerSettings, Place, server_config
from droveway.cli.nats_server import write_config
from droveway.cli.nats_users import public_key
from droveway.contracts.envelope import PREFIX
from droveway.contracts.permissions import USERS, User
from tests.hostile.nats_cases import (
    COMPROMISED,
    QUEUES,
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
SHARED = {
    f"{PREFIX}.request.key1.chat-completions": ("gateway", "t.key1"),
    f"{PREFIX}.inference.interactive": ("router", "gateway"),
    f"{PREFIX}.dispatch.default": ("caller", "router"),
}
"""Work that replicas share, by its subject: whose queue group it is, and who sends it."""
USERS_BY_NAME = pytest.mark.parametrize(
    "user", COMPROMISED, ids=[user.name for user in COMPROMISED]
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server that also knows two tenants' users."""
    with serving(tmp_path_factory.mktemp("guarded"), set_up=False) as server:
        for key_id in TENANT_KEYS:
            new_user(server, f"t.{key_id}")
        asyncio.run(reload(server))
        yield server


async def reload(server: NatsServer, groups: Iterable[str] = ()) -> None:
    """Has the server read its file anew, with `groups` left out of the lists."""
    users = {one: public_key(server.folder.seed_file(f"t.{one}")) for one in TENANT_KEYS}
    users["marker"] = new_user(server, "t.marker")
    port = urlsplit(server.url).port or 0
    path = write_config(server.folder, port, NatsServerSettings(), users)
    text = path.read_text()
    for group in groups:
        assert f' {group}"' in text
        text = text.replace(f' {group}"', '"')
    write_private(path, text)
    server.pause(signal.SIGHUP)
    await until_admitted(server, "t.marker")


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
@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue or "plain")
async def test_a_taken_over_service_hears_nothing_else(
    guarded: NatsServer, user: User, queue: str
) -> None:
    subjects = [*everybodys_subjects(), *wide_subjects(), *SHARED]
    forbidden = {subject for subject in subjects if not allowed(user.subscribe, subject, queue)}
    assert len(forbidden) > 300
    assert queue or forbidden >= SHARED.keys()
    async with raw_nats(guarded, user.name) as attacker:
        for subject in forbidden:
            attacker.subscribe(subject, queue)
        assert forbidden - violations(await attacker.settle(), "Subscription") == set()
        assert not attacker.closed.is_set()


@pytest.mark.parametrize("subject", SHARED)
async def test_a_member_of_a_group_gets_its_share_and_no_copy(
    guarded: NatsServer, subject: str
) -> None:
    service, sender = SHARED[subject]
    above = subject.rpartition(".")[0]
    async with (
        raw_nats(guarded, service) as member,
        raw_nats(guarded, service) as attacker,
        raw_nats(guarded, sender) as client,
    ):
        member.subscribe(subject, service)
        taps = ((subject, ""), (subject, "tap"), (f"{above}.*", ""), (f"{above}.>", ""))
        for name, queue in taps:
            attacker.subscribe(name, queue)
        assert len(await attacker.settle()) == len(taps)
        assert await exchange(client, member, subject, 20) == 20
        assert attacker.messages == []
        attacker.subscribe(f"{above}.*", service)
        assert await attacker.settle() == await member.settle() == []
        heard = await exchange(client, member, subject, 100)
        await attacker.settle()
        assert heard + len(attacker.messages) == 100, "a wider pattern is the same group"


async def exchange(client: RawNats, member: RawNats, subject: str, count: int) -> int:
    """How many of `count` messages reach one member."""
    member.messages.clear()
    for _ in range(count):
        client.publish(subject, b"work")
    assert await client.settle() == []
    assert await member.settle() == []
    return len(member.messages)


@pytest.mark.parametrize("subject", SHARED)
async def test_a_reload_keeps_members_and_cuts_who_listened_by_older_lists(
    guarded: NatsServer, subject: str
) -> None:
    service, sender = SHARED[subject]
    await reload(guarded, [service])
    async with (
        raw_nats(guarded, service) as member,
        raw_nats(guarded, service) as tap,
        raw_nats(guarded, sender) as client,
    ):
        member.subscribe(subject, service)
        tap.subscribe(subject)
        assert await tap.settle() == await member.settle() == []
        assert await exchange(client, member, subject, 5) == 5
        await tap.until(lambda: len(tap.on(subject)) == 5)
        for _ in range(2):
            await reload(guarded)
            await tap.until(lambda: tap.errors)
            assert await exchange(client, member, subject, 5) == 5
        assert violations(await tap.settle(), "Subscription") == {subject}
        assert len(tap.on(subject)) == 5


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
