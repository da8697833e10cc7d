"""A bad configuration never starts a gateway and never replaces a good one."""

import asyncio
import logging
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from droveway.contracts.config import Config
from droveway.runtime.api_key import make_key
from tests.support.nats import NatsServer, droveway_config, write_droveway_config
from tests.support.stack import Stack, running_stack

EX_CONFIG = 78
ADOPTED_WITHIN_S = 2.0
"""A second is promised; twice that on a machine that is busy with other tests."""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("providers: [{id: a, base_url: https://x/v1, modles: []}]", "unknown field `modles`"),
        ("providers: [", "not YAML"),
    ],
    ids=["misspelt field", "no YAML"],
)
def test_a_gateway_with_a_bad_file_says_what_is_wrong_and_exits_78(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "droveway.yaml"
    path.write_text(text)
    ended = subprocess.run(
        [sys.executable, "-c", "from droveway.cli.main import main; main()", "gateway"],
        env={"DROVEWAY_CONFIG": str(path)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == EX_CONFIG
    assert ended.stderr.startswith(f"droveway gateway: {path}: ")
    assert complaint in ended.stderr
    assert ended.stderr.count("\n") == 1


async def test_a_bad_file_changes_nothing_and_a_good_one_is_adopted_at_once(
    nats: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    new_key = make_key("test")
    async with running_stack(nats, tmp_path) as stack:
        good = write_droveway_config(tmp_path / "next.yaml", with_key(stack, new_key)).read_text()
        stack.config_path.write_text(good + "cors: {origin: nowhere}\n")
        async with httpx.AsyncClient() as client:
            await rejected(client, admin_port(caplog))
        assert await status(stack, new_key) == 401
        assert await status(stack, stack.key) == 200
        stack.config_path.write_text(good)
        began_s = time.monotonic()
        while await status(stack, new_key) != 200:
            assert time.monotonic() - began_s < ADOPTED_WITHIN_S
            await asyncio.sleep(0.02)
        assert await status(stack, stack.key) == 401


def with_key(stack: Stack, key: str) -> Config:
    return droveway_config(f"{stack.simulator.url}/v1", key=key)


def admin_port(caplog: pytest.LogCaptureFixture) -> int:
    started = [record for record in caplog.records if record.getMessage() == "service_started"]
    fields = [record.__dict__["fields"] for record in started]
    (port,) = [each["admin_port"] for each in fields if each["name"] == "gateway"]
    return int(port)


async def rejected(client: httpx.AsyncClient, port: int) -> None:
    """Returns once the gateway has refused a file."""
    none = 'droveway_config_rejected_total{service="gateway"} 0.0'
    async with asyncio.timeout(5):
        while True:
            if none not in (await client.get(f"http://127.0.0.1:{port}/metrics")).text:
                return
            await asyncio.sleep(0.02)


async def status(stack: Stack, key: str) -> int:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{stack.url}/v1/models", headers=headers)).status_code
