"""Commands of the configuration, beside a broker of the test's own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts.config import Config, RetryBudget
from tests.support.access import make_streams
from tests.support.commands import Commands, Outcome
from tests.support.nats import NatsServer, droveway_config, serving, write_droveway_config

FIRST = droveway_config("http://127.0.0.1:9/v1")
SECOND = msgspec.structs.replace(FIRST, usd_cny=7.0, retry_budget=RetryBudget(ratio=0.1))
THIRD = droveway_config("http://127.0.0.1:9/v1", "http://127.0.0.1:8/v1")


class Here:
    """Commands beside a broker of the test's own, whose services have the file `FIRST`."""

    def __init__(self, folder: Path, nats: NatsServer, command: Commands) -> None:
        self.folder = folder
        self.nats = nats
        self.command = command
        self.file = self.write(FIRST, "services.yaml")

    async def __call__(self, *words: str) -> Outcome:
        return await self.command("config", *words)

    def write(self, config: Config, name: str = "new.yaml") -> Path:
        return write_droveway_config(self.folder / name, config)

    async def apply(self, config: Config, *words: str) -> Outcome:
        return await self("apply", str(self.write(config)), *words)

    async def history(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self("history", "--format", "json")).json
        return found

    async def audit(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.command("admin", "audit", "--json")).json
        return found


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Here]:
    monkeypatch.chdir(tmp_path)
    with serving(tmp_path / ".droveway") as nats:
        asyncio.run(make_streams(nats))
        yield Here(tmp_path, nats, Commands(tmp_path / ".droveway", capsys))
