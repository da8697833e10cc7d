"""A simulator without waiting, and two ways to talk to it: as JSON and as bytes."""

import asyncio
import json
import socket
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from droveway.simulator.settings import Settings

Ended = Literal["fin", "reset", "open"]


class Received(NamedTuple):
    """What a raw connection saw."""

    data: bytes
    ended: Ended


def quick_settings(**changes: Any) -> Settings:
    """Settings of a simulator on a free port that answers at once and stops at once."""
    at_once = {"port": 0, "first_token_ms": 0, "token_interval_ms": 0, "drain_s": 0}
    return Settings(**{**at_once, **changes})


def chat_body(model: str = "numbered-5", content: Any = "hello", **fields: Any) -> dict[str, Any]:
    """A chat request with one user message."""
    return {"model": model, "messages": [{"role": "user", "content": content}], **fields}


def request_bytes(body: dict[str, Any], fault: str = "") -> bytes:
    """A POST of the body, asking for a fault, on a connection to be closed afterwards."""
    content = json.dumps(body).encode()
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: simulator",
        "authorization: Bearer sk-test",
        f"content-length: {len(content)}",
        "connection: close",
        *([f"x-simulator-fault: {fault}"] if fault else []),
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


async def connect(url: str) -> socket.socket:
    """Open a raw connection to a server."""
    parts = urlsplit(url)
    connection = socket.socket()
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (parts.hostname, parts.port))
    except OSError:
        connection.close()
        raise
    return connection


async def exchange(url: str, request: bytes, silence_s: float = 0.15) -> Received:
    """Send bytes and read until FIN, RST or a silence."""
    loop = asyncio.get_running_loop()
    data = b""
    with await connect(url) as connection:
        await loop.sock_sendall(connection, request)
        while True:
            try:
                got = await asyncio.wait_for(loop.sock_recv(connection, 65536), silence_s)
            except ConnectionResetError:
                return Received(data, "reset")
            except TimeoutError:
                return Received(data, "open")
            if not got:
                return Received(data, "fin")
            data += got


def payloads(stream: str) -> list[str]:
    """The `data:` fields of a well-formed event stream."""
    lines = stream.replace("\r\n", "\n").split("\n")
    return [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]


def spoken(stream: str) -> str:
    """The text that a stream's JSON chunks say."""
    said = ""
    for payload in payloads(stream):
        if payload != "[DONE]":
            for choice in json.loads(payload).get("choices", []):
                said += choice.get("delta", {}).get("content") or ""
    return said
