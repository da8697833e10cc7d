"""The fault proxy does to a link what it says, to the byte, and can be healed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.fault_process import CommandError, fault_process
from tests.support.fault_proxy import HELD_BYTES, FaultProxy
from tests.support.pace import Pace
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until

TEXT = bytes(range(256)) * 40


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """A server that sends back what it gets, and FIN after FIN."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def proxied(seed: int = 1) -> AsyncIterator[FaultProxy]:
    async with echoing() as port, FaultProxy("127.0.0.1", port, seed=seed) as proxy:
        yield proxy


async def through(port: int, data: bytes, within_s: float = 5.0) -> bytes:
    """What comes back of `data`, up to FIN."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(within_s):
            writer.write(data)
            writer.write_eof()
            return await reader.read()
    finally:
        writer.transport.abort()


async def test_a_good_link_passes_every_byte_and_fin() -> None:
    big = TEXT * 400
    async with proxied() as proxy:
        got = await asyncio.gather(*(through(proxy.port, big) for _ in range(3)))
        assert got == [big] * 3
        assert proxy.statistics.bytes == {"up": 3 * len(big), "down": 3 * len(big)}
        await until(lambda: proxy.statistics.open == 0)
        assert proxy.statistics.accepted == 3


async def test_latency_is_added_once_not_per_piece() -> None:
    async with proxied() as proxy:
        proxy.set("down", latency_s=0.05, jitter_s=0.02)
        proxy.set("up", slice_bytes=1024)
        began_s = time.monotonic()
        with Pace() as pace:
            assert await through(proxy.port, TEXT) == TEXT
        assert time.monotonic() - began_s >= 0.05
        assert pace.elapsed_s < 0.15


async def test_healing_ends_a_wait_at_once() -> None:
    async with proxied() as proxy:
        proxy.set(latency_s=60)
        waiting = asyncio.ensure_future(through(proxy.port, TEXT))
        await until(lambda: proxy.statistics.faults["latency"] > 0)
        proxy.heal()
        assert await waiting == TEXT


async def test_a_narrow_link_takes_its_time() -> None:
    async with proxied() as proxy:
        proxy.set("up", bytes_per_s=len(TEXT) * 10)
        began_s = time.monotonic()
        with Pace() as pace:
            assert await through(proxy.port, TEXT) == TEXT
        assert time.monotonic() - began_s >= 0.09
        assert pace.elapsed_s < 0.4


async def test_slices_arrive_apart() -> None:
    async with proxied() as proxy:
        proxy.set("down", slice_bytes=3, slice_pause_s=0.005)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"0123456789")
        pieces = [await reader.read(100) for _ in range(4)]
        assert pieces == [b"012", b"345", b"678", b"9"]
        writer.transport.abort()


async def test_a_black_hole_takes_a_bounded_amount_and_gives_all_back_when_healed() -> None:
    async with proxied() as proxy:
        proxy.set("up", black_hole=True)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        big = TEXT * 2_000
        writer.write(big)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        assert proxy.statistics.bytes["up"] == 0
        assert writer.transport.get_write_buffer_size() > len(big) - 8 * HELD_BYTES
        proxy.heal()
        assert await reader.readexactly(len(big)) == big
        writer.transport.abort()


@pytest.mark.parametrize("size", [0, 1, 1_000])
async def test_a_limit_cuts_after_exactly_so_many_bytes_by_fin(size: int) -> None:
    async with proxied() as proxy:
        proxy.set("down", limit_bytes=size, limit_end="fin")
        assert await through(proxy.port, TEXT) == TEXT[:size]


async def test_a_limit_cuts_by_reset_and_counts_for_each_connection() -> None:
    async with proxied() as proxy:
        proxy.set("up", limit_bytes=1_000)
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await through(proxy.port, TEXT)
        assert proxy.statistics.faults["limit"] == 2


async def test_reset_strikes_all_connections_once_or_each_while() -> None:
    async with proxied() as proxy:
        for again in range(2):
            links = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(3)]
            await until(lambda: proxy.statistics.open == 3)
            if again:
                proxy.reset_each(0.01)
            else:
                assert proxy.reset() == 3
            for reader, writer in links:
                with pytest.raises(ConnectionResetError):
                    await reader.read(1)
                writer.transport.abort()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.transport.abort()
        proxy.heal()
        assert await through(proxy.port, TEXT) == TEXT


async def test_one_byte_is_changed_where_it_was_asked_for() -> None:
    async with proxied() as proxy:
        proxy.set("up", corrupt_at=5_000)
        got = await through(proxy.port, TEXT)
        assert [at for at in range(len(TEXT)) if got[at] != TEXT[at]] == [5_000]


async def test_the_seed_decides_which_bytes_are_changed_however_they_come() -> None:
    found = []
    for seed, slice_bytes in ((7, 0), (7, 700), (8, 0)):
        async with proxied(seed) as proxy:
            proxy.set("down", corrupt_p=0.001, slice_bytes=slice_bytes)
            found.append(await through(proxy.port, TEXT))
            changed = sum(one != other for one, other in zip(found[-1], TEXT, strict=True))
            assert changed == proxy.statistics.faults["corrupt"]
            assert 1 <= changed <= 40
    assert found[0] == found[1] != found[2]


async def test_refused_is_as_if_nobody_listened_until_healed() -> None:
    async with proxied() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await until(lambda: proxy.statistics.open == 1)
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await through(proxy.port, TEXT)
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        writer.transport.abort()
        proxy.heal()
        assert await through(proxy.port, TEXT) == TEXT


async def test_a_dead_server_is_a_reset() -> None:
    async with echoing() as port:
        pass
    async with FaultProxy("127.0.0.1", port) as proxy:
        with pytest.raises(ConnectionResetError):
            await through(proxy.port, TEXT)
        assert proxy.statistics.undialled == 1


async def test_what_goes_wrong_inside_is_raised_at_the_end() -> None:
    with pytest.raises(ExceptionGroup, match="the proxy failed"):
        async with echoing() as port, TcpProxy("127.0.0.1", port) as proxy:
            await until_closed(proxy.port)


async def until_closed(port: int) -> None:
    with contextlib.suppress(ConnectionError):
        await through(port, b"")


async def test_a_process_of_its_own_obeys_lines() -> None:
    async with echoing() as port, fault_process("127.0.0.1", port, seed=3) as proxy:
        assert await through(proxy.port, TEXT) == TEXT
        await proxy.set("down", limit_bytes=10, limit_end="fin")
        assert await through(proxy.port, TEXT) == TEXT[:10]
        assert (await proxy.command("statistics"))["faults"]["limit"] == 1
        await proxy.command("heal")
        assert await through(proxy.port, TEXT) == TEXT
        for wrong in ("explode", "set sideways", "set up latency_s=-1", "set up colour=red"):
            with pytest.raises(CommandError):
                await proxy.command(wrong)
