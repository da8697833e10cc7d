"""Short requests on connections that are kept, as fast as they are answered.

    python -m tests.prove.memory_load <port> <key> <at once> <seconds> <requests> <seed>

Ends after so many seconds or requests, whichever is first. Of each hundred requests, ten are left
in mid-answer and ten fail. Prints how many have ended so far each second, by kind as JSON.
"""

import asyncio
import json
import random
import sys
from collections import Counter

import uvloop

KINDS = {
    "whole": (50, "numbered-5", False),
    "stream": (30, "numbered-10", True),
    "left": (10, "numbered-400", True),
    "refused": (5, "fault-400", False),
    "cut": (5, "fault-numbered-5+cut-after-2", True),
}
"""Weight, model, and whether it's a stream."""
_EVERY_S = 1.0
_READ_BYTES = 65_536


class _Peer:
    """One connection, made anew when it was cut or left."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes, leave: bool) -> None:
        """One request; leaves after the first bytes of its answer if told so."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader is not None
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if leave:
            self.close()
        elif b"transfer-encoding: chunked" in head:
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                await self._reader.readexactly(size + 2)
            await self._reader.readexactly(2)
        else:
            length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await self._reader.readexactly(int(length))

    def close(self) -> None:
        """Leaves, in the middle of an answer too."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._reader = self._writer = None


async def run(port: int, key: str, at_once: int, for_s: float, limit: int, seed: int) -> None:
    """Asks until the time is over or all are asked."""
    until_s = asyncio.get_running_loop().time() + for_s
    counts: Counter[str] = Counter()
    telling = asyncio.ensure_future(_tell(counts))
    requests = {name: _request(key, model, stream) for name, (_, model, stream) in KINDS.items()}
    names, weights = list(KINDS), [weight for weight, _, _ in KINDS.values()]
    rng = random.Random(seed)

    async def work() -> None:
        peer = _Peer(port)
        while asyncio.get_running_loop().time() < until_s and counts.total() < limit:
            (name,) = rng.choices(names, weights)
            try:
                await peer.ask(requests[name], name == "left")
                counts[name] += 1
            except (OSError, EOFError):
                peer.close()
                counts[name if name == "cut" else f"{name} failed"] += 1
        peer.close()

    await asyncio.gather(*(work() for _ in range(at_once)))
    telling.cancel()
    _print(counts)


async def _tell(counts: Counter[str]) -> None:
    while True:
        await asyncio.sleep(_EVERY_S)
        _print(counts)


def _print(counts: Counter[str]) -> None:
    sys.stdout.write(json.dumps(counts) + "\n")
    sys.stdout.flush()


def _request(key: str, model: str, stream: bool) -> bytes:
    message = {"role": "user", "content": "prompt-canary-52e1: hello"}
    content = json.dumps({"model": model, "stream": stream, "messages": [message]}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


if __name__ == "__main__":
    told_port, told_key, *numbers = sys.argv[1:]
    connections, seconds, most, chosen_seed = map(int, numbers)
    uvloop.run(run(int(told_port), told_key, connections, seconds, most, chosen_seed))
