"""The Python client for the bus: streamed and whole answers over NATS, at the reader's pace.

async with droveway.client.connect("nats://127.0.0.1:4222", key_id="k1", seed_file="k1.nk") as bus:
    async with bus.stream({"model": "gpt-4o-mini", "messages": messages}) as stream:
        async for text in stream.text():
            print(text, end="")
    answer = await bus.call({"model": "gpt-4o-mini", "messages": messages}, timeout_s=60)
"""

from droveway.client.connection import Client, connect
from droveway.client.errors import (
    ClientError,
    Failed,
    Interrupted,
    NoGateway,
    NotConnected,
    StreamClosed,
)
from droveway.client.stream import Stream

__all__ = [
    "Client",
    "ClientError",
    "Failed",
    "Interrupted",
    "NoGateway",
    "NotConnected",
    "Stream",
    "StreamClosed",
    "connect",
]
