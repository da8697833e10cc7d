"""The permission table, held against a running nats-server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from droveway.cli.nats_config import NatsServerSettings, Place, server_config
from droveway.contracts.envelope import PREFIX, inbox, new_instance, token
from droveway.contracts.permissions import USERS, User
from droveway.runtime.bus.client import DirectClient
from tests.support.nats import NatsServer

NAMES = [user.name for user in USERS]
ALLOWED = [(user, pattern) for user in USERS for pattern in user.publish]
PLACE = Place(listen="127.0.0.1:4222", store_dir="/data/jetstream")
FORBIDDEN = (
    "anything",
    f"{PREFIX}.unknown",
    f"{PREFIX}.inference.interactive.extra",
    "$SYS.REQ.SERVER.PING",
    "$JS.API.STREAM.DELETE.USAGE",
    "$JS.API.STREAM.PURGE.USAGE",
    "$JS.API.CONSUMER.CREATE.USAGE",
    "$JS.API.STREAM.MSG.GET.USAGE",
    "_INBOX.stranger.stranger-00000000.x",
)
WIDE = (">", f"{PREFIX}.>", "_INBOX.>", "$SYS.>", "$JS.>")


class Connection:
    """A raw client of one user that gathers permission errors."""

    def __init__(self, client: DirectClient, errors: list[str]) -> None:
        self.client = client
        self.errors = errors

    async def refused(self) -> bool:
        """Whether the server has refused something so far; it answers in order."""
        # nats-py's flush pings first and writes what waits after it: the second one is the proof.
        await self.client.flush(timeout=5)
        await self.client.flush(timeout=5)
        return any("permissions violation" in error.lower() for error in self.errors)


@asynccontextmanager
async def connect(server: NatsServer, user: str) -> AsyncIterator[Connection]:
    client = DirectClient(1024 * 1024)
    errors: list[str] = []

    async def on_error(error: Exception) -> None:
        errors.append(str(error))

    await client.connect(
        server.url,
        nkeys_seed=str(server.folder.seed_file(user)),
        allow_reconnect=False,
        error_cb=on_error,
    )
    try:
        yield Connection(client, errors)
    finally:
        await client.close()


def example(pattern: str) -> str:
    return pattern.replace("*", "example").replace(">", "example.more")


def matches(pattern: str, subject: str) -> bool:
    parts, tokens = pattern.split("."), subject.split(".")
    if parts[-1] == ">":
        return len(tokens) >= len(parts) and all(map(fits, parts[:-1], tokens))
    return len(parts) == len(tokens) and all(map(fits, parts, tokens))


def fits(part: str, name: str) -> bool:
    return part in ("*", name)


@pytest.mark.parametrize("user", USERS, ids=NAMES)
async def test_a_user_may_do_all_that_the_table_allows(nats: NatsServer, user: User) -> None:
    async with connect(nats, user.name) as connection:
        for allowed in user.subscribe:
            pattern, _, group = allowed.partition(" ")
            await connection.client.subscribe_direct(pattern, group, lambda *_: None)
        for pattern in user.publish:
            if not pattern.startswith("$JS.API.STREAM"):
                connection.client.publish_now(example(pattern), b"")
        assert not await connection.refused(), connection.errors


def everybodys_subjects() -> list[str]:
    heard = {pattern.partition(" ")[0] for user in USERS for pattern in user.subscribe}
    subscribed = {example(pattern) for pattern in heard}
    published = {example(pattern) for user in USERS for pattern in user.publish}
    return sorted(subscribed | published | set(FORBIDDEN))


@pytest.mark.parametrize("user", USERS, ids=NAMES)
async def test_a_user_may_publish_nothing_else(nats: NatsServer, user: User) -> None:
    async with connect(nats, user.name) as connection:
        outside = [
            subject
            for subject in everybodys_subjects()
            if not any(matches(pattern, subject) for pattern in user.publish)
        ]
        assert len(outside) > 10
        for subject in outside:
            connection.errors.clear()
            connection.client.publish_now(subject, b"")
            assert await connection.refused(), f"{user.name} may publish to {subject}"


@pytest.mark.parametrize("user", USERS, ids=NAMES)
async def test_a_user_hears_nothing_else(nats: NatsServer, user: User) -> None:
    async with connect(nats, user.name) as connection:
        outside = [
            subject
            for subject in (*everybodys_subjects(), *WIDE)
            if not any(matches(pattern, subject) for pattern in user.subscribe)
        ]
        for subject in outside:
            connection.errors.clear()
            await connection.client.subscribe_direct(subject, "", lambda *_: None)
            assert await connection.refused(), f"{user.name} may subscribe to {subject}"


@pytest.mark.parametrize("user", USERS, ids=NAMES)
async def test_a_user_shares_work_in_its_own_group_only(nats: NatsServer, user: User) -> None:
    shared = [one.split(" ") for one in user.subscribe if " " in one]
    assert len(shared) == (user.name in {"gateway", "router", "caller", "metrics"})
    async with connect(nats, user.name) as connection:
        for pattern, group in shared:
            for other in ("", "stranger", f"{group}s", "*", ">"):
                connection.errors.clear()
                await connection.client.subscribe_direct(example(pattern), other, lambda *_: None)
                assert await connection.refused(), f"{user.name} hears {pattern} as {other!r}"


async def test_a_reply_subject_of_somebody_else_is_answered_by_nobody(nats: NatsServer) -> None:
    """With allow_responses a caller could make a responder publish anywhere."""
    async with connect(nats, "router") as router, connect(nats, "gateway") as gateway:
        asked = asyncio.Event()
        forged = f"{PREFIX}.limits.0"

        def answer(_subject: bytes, reply: bytes, _data: bytes, _headers: bytes | None) -> None:
            router.client.publish_now(reply.decode(), b"answer")
            asked.set()

        await router.client.subscribe_direct(f"{PREFIX}.inference.permissiontest", "router", answer)
        await router.client.flush(timeout=5)
        gateway.client.publish_now(f"{PREFIX}.inference.permissiontest", b"", forged)
        async with asyncio.timeout(5):
            await asked.wait()
        assert await router.refused()


async def test_who_has_no_key_is_refused(nats: NatsServer) -> None:
    async def ignore(_error: Exception) -> None: ...

    client = DirectClient(1024)
    with pytest.raises(Exception, match=r"(?i)authorization"):
        await client.connect(nats.url, allow_reconnect=False, error_cb=ignore)
    await client.close()


async def test_an_inbox_reaches_its_owner(nats: NatsServer) -> None:
    async with nats.bus("gateway") as gateway, nats.bus("router") as router:
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        own = gateway.open_inbox(heard.set_result, lambda: None)
        router.publish(own.subject, b"hello")
        async with asyncio.timeout(5):
            assert await heard == b"hello"
    assert inbox("gateway", new_instance("gateway"), token()).startswith("_INBOX.gateway.")


def test_the_configuration_has_allow_lists_only() -> None:
    keys = dict.fromkeys(NAMES, "U" * 56)
    text = server_config(keys, PLACE, NatsServerSettings())
    for word in ("allow_responses", "no_auth_user", "websocket", "deny", "password", "token:"):
        assert word not in text
    assert text.count("nkey:") == len(USERS)
