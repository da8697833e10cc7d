from collections.abc import Iterator
from pathlib import Path

import pytest

from droveway.cli import setup
from droveway.cli.nats_config import NatsServerSettings
from droveway.cli.setup import SetupSettings, compare
from droveway.runtime.errors import SettingsError
from tests.support.nats import NatsServer, serving

DEFAULT = SetupSettings()
NAMES = [
    "stream USAGE",
    "bucket idempotency",
    "bucket responses",
    "stream LIMITS",
    "bucket limits",
    "bucket access",
    "bucket prices",
    "bucket routing",
    "bucket config",
    "stream AUDIT",
]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[NatsServer]:
    with serving(tmp_path, set_up=False) as server:
        yield server


async def actions(
    server: NatsServer, wanted: SetupSettings = DEFAULT, *, dry_run: bool = False
) -> list[str]:
    changes = await setup.run(server.settings("setup"), wanted, dry_run=dry_run)
    assert [change.name for change in changes] == NAMES
    return [change.action for change in changes]


async def test_what_is_missing_is_made_once(empty: NatsServer) -> None:
    assert await actions(empty, dry_run=True) == ["created"] * len(NAMES)
    assert await actions(empty) == ["created"] * len(NAMES)
    assert await actions(empty) == ["unchanged"] * len(NAMES)


async def test_what_differs_is_updated(empty: NatsServer) -> None:
    await actions(empty)
    larger = SetupSettings(usage_max_bytes=1_100_000_000, limits_max_bytes=100_000_000)
    changed = {"stream USAGE", "stream LIMITS"}
    updated = ["updated" if name in changed else "unchanged" for name in NAMES]
    assert await actions(empty, larger, dry_run=True) == updated
    assert await actions(empty, larger) == updated
    assert await actions(empty, larger) == ["unchanged"] * len(NAMES)


async def test_the_limits_log_keeps_its_last_sequence_whatever_its_age(empty: NatsServer) -> None:
    """Its owner's next append names it."""
    await actions(empty)
    async with empty.bus("setup") as bus:
        config = (await bus.jetstream("STREAM.INFO.LIMITS", {}))["config"]
    assert (config["max_age"], config["discard"]) == (0, "old")
    assert config["deny_delete"]
    assert config["deny_purge"]


def test_by_default_all_fits_what_the_shipped_server_may_store() -> None:
    own = SetupSettings()
    sizes = [getattr(own, name) for name in own.__struct_fields__ if name.endswith("_max_bytes")]
    assert sum(sizes) <= NatsServerSettings().max_file_store_bytes


async def test_more_than_the_server_may_store_is_refused(empty: NatsServer) -> None:
    with pytest.raises(SettingsError, match="JetStream refused"):
        await actions(empty, SetupSettings(usage_max_bytes=10**13))


def test_only_what_we_ask_for_is_compared() -> None:
    present = {"name": "USAGE", "max_bytes": 1, "placement": {"tags": ["eu"]}}
    assert compare("stream", present, {"name": "USAGE", "max_bytes": 1}).action == "unchanged"
    change = compare("stream", present, {"name": "USAGE", "max_bytes": 2})
    assert str(change) == "stream: updated (max_bytes 1 → 2)"
    assert str(compare("stream", None, {"name": "USAGE"})) == "stream: created"
