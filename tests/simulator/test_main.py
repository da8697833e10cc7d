"""The simulator as a process."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE

from tests.support.simulator import chat_body, exchange, request_bytes

COMMAND = (sys.executable, "-m", "droveway.simulator")


async def test_the_process_serves_until_sigterm() -> None:
    environ = {**os.environ, "DROVEWAY_SIMULATOR_PORT": "0"}
    process = await asyncio.create_subprocess_exec(*COMMAND, env=environ, stderr=PIPE)
    assert process.stderr is not None
    try:
        line = (await process.stderr.readline()).decode()
        found = re.search(r"simulator\.ready url=(\S+)", line)
        assert found, line
        cut = await exchange(found[1], request_bytes(chat_body(stream=True), "cut-after=1"), 2)
        assert (cut.ended, b"t0 " in cut.data) == ("reset", True)
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            _, errors = await process.communicate()
    assert process.returncode == 0
    assert errors.decode().endswith("simulator.stopped\n")


async def test_a_wrong_setting_is_named_and_exits_78() -> None:
    environ = {**os.environ, "DROVEWAY_SIMULATOR_SEED": "x"}
    process = await asyncio.create_subprocess_exec(*COMMAND, env=environ, stderr=PIPE)
    async with asyncio.timeout(5):
        _, errors = await process.communicate()
    assert process.returncode == 78
    assert errors.decode() == "DROVEWAY_SIMULATOR_SEED='x': Expected `int`, got `str`\n"
