"""A simulator without waiting, and two ways to talk to it: as JSON and as bytes."""

import asyncio
import json
import socket
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from droveway.simulator.settings import Settings

MESSAGES = "/v1/messages"

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


def message_body(
    model: str = "numbered-5", content: Any = "hello", **fields: Any
) -> dict[str, Any]:
    """An Anthropic message request with one user message."""
    return {"max_tokens": 4096, **chat_body(model, content), **fields}


def request_bytes(
    body: dict[str, Any], fault: str = "", path: str = "/v1/chat/completions"
) -> bytes:
    """A POST of the body, asking for a fault, on a connection to be closed afterwards."""
    content = json.dumps(body).encode()
    head = [
        f"POST {path} HTTP/1.1",
        "host: simulator",
        "authorization: Bearer sk-test",
        *(["anthropic-version: 2023-06-01"] if path == MESSAGES else []),
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


async def exchange(url: str, request: bytes, silence_s: float = 1.0) -> Received:
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


def content_of(response: bytes) -> bytes:
    """The body of a raw response, taken out of its chunks if it has any."""
    head, _, body = response.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return body
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        content, body = content + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return content


def events(stream: str) -> list[tuple[str, dict[str, Any]]]:
    """The named events of a well-formed Anthropic stream."""
    found = []
    for block in stream.strip().replace("\r\n", "\n").split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def said_in_blocks(stream: str) -> list[dict[str, Any]]:
    """The content blocks that a stream of events adds up to, as a whole answer has them."""
    blocks: list[dict[str, Any]] = []
    inputs: dict[int, str] = {}
    for name, event in events(stream):
        if name == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(event["content_block"])
        if name == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            for field in ("text", "thinking", "signature"):
                if field in delta:
                    block[field] += delta[field]
            if "partial_json" in delta:
                inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
    for index, text in inputs.items():
        blocks[index]["input"] = json.loads(text) if text else {}
    return blocks
