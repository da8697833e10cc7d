"""docs/guides/nats.md is true: its Python runs, its plain protocol text is spoken, word by word."""

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import nkeys
import pytest
import pytest_asyncio

from droveway.contracts import client
from droveway.contracts.config import Config
from droveway.gateway.doors import client_payload, client_relays
from droveway.gateway.settings import GatewaySettings
from tests.support.bus_client import seed_of, with_bus_users
from tests.support.flows import only_first
from tests.support.nats import NatsServer
from tests.support.stack import Stack, running_stack

in_module_loop = pytest.mark.asyncio(loop_scope="module")

PAGE = (Path(__file__).parents[2] / "docs/guides/nats.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(PROTOCOL,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
KEY, SERVER, SEED = "k1", "nats://127.0.0.1:4222", "k1.nk"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    def configure(config: Config) -> Config:
        keys = (msgspec.structs.replace(config.keys[0], id=KEY),)
        return with_bus_users(nats, only_first(msgspec.structs.replace(config, keys=keys)))

    async with running_stack(nats, tmp_path_factory.mktemp("guide"), configure=configure) as world:
        yield world


@in_module_loop
@pytest.mark.parametrize("example", PYTHON, ids=["nats-py", "droveway.client"])
async def test_a_python_example_runs_as_it_stands(
    nats: NatsServer, stack: Stack, example: str
) -> None:
    assert SERVER in example
    assert f'"{SEED}"' in example
    code = example.replace(SERVER, nats.url).replace(SEED, str(seed_of(nats, KEY)))
    outcome = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, timeout=20
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""
    assert len(outcome.stdout) > 50
    assert "usage" in outcome.stdout.lower() or "input_tokens" in outcome.stdout


@in_module_loop
async def test_the_plain_protocol_text_is_spoken_as_it_stands(
    nats: NatsServer, stack: Stack
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(nats.url).port)
    info = json.loads((await reader.readline()).removeprefix(b"INFO "))
    pair = nkeys.from_seed(seed_of(nats, KEY).read_bytes().strip())
    signature = base64.urlsafe_b64encode(pair.sign(info["nonce"].encode())).rstrip(b"=").decode()
    spoken = [line[2:] for line in PROTOCOL.splitlines() if line.startswith(">")]
    assert spoken[-1] == "UNSUB 1"
    for line in spoken[:-1]:
        told = line.replace("<public key>", pair.public_key.decode()).replace("<sig>", signature)
        writer.write(told.encode() + b"\r\n")
    kinds: list[str] = []
    async with asyncio.timeout(10):
        while not kinds or kinds[-1] != "completed":
            line = (await reader.readline()).decode()
            assert not line.startswith("-ERR"), line
            if line.startswith("MSG"):
                frame = json.loads((await reader.readexactly(int(line.split()[-1]) + 2))[:-2])
                kinds.append(frame["t"])
    assert kinds[:2] == ["opened", "chunk"]
    heard = [line[2:] for line in PROTOCOL.splitlines() if line.startswith("< {")]
    assert [line.split('"')[3] for line in heard] == ["opened", "chunk", "completed"]
    writer.write(spoken[-1].encode() + b"\r\n")
    writer.close()
    await writer.wait_closed()


def test_every_frame_and_field_stands_on_the_page() -> None:
    for kind in (*client.Frame.__args__, *client.Control.__args__):
        tag = str(kind.__struct_config__.tag)
        assert f"`{tag}`" in PAGE or f'"t":"{tag}"' in PAGE
        missing = [
            field.name
            for field in msgspec.structs.fields(kind)
            if f"`{field.name}`" not in PAGE and f'"{field.name}"' not in PAGE
        ]
        assert missing == [], tag


def test_bounds_on_the_page_are_those_of_the_code() -> None:
    assert client.MAX_MESSAGE_BYTES == GatewaySettings().max_message_bytes == 768 * 1024
    assert GatewaySettings().client_stall_s == 30
    assert client_relays.CLIENT_AWAY_S == 3
    assert client_relays.LINGER_S == 5
    assert client_relays.RESEND_EVERY_S == 0.1
    assert client_relays.MAX_CONTROL_BYTES == 1024
    assert (client_payload.MAX_HEADERS, client_payload.MAX_HEADER_BYTES) == (64, 16 * 1024)
