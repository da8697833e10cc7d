"""`droveway up --demo`: one streamed chat request through the whole path, as a client sends it."""

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from droveway.cli import terminal
from droveway.runtime.errors import DrovewayError

PROMPT = "In one sentence: why does a queue between two services help both of them?"
_LIMIT_S = 60
_MAX_ERROR_CHARACTERS = 300


class DemoError(DrovewayError):
    """The first request wasn't answered; the message says how."""


class Answer(NamedTuple):
    """What the client saw."""

    request_id: str
    served_by: str
    tokens: int
    first_token_ms: float
    total_ms: float


def run(port: int, key: str, model: str, data: Path) -> int:
    """Sends the request, prints tokens as they come and then the request's trace."""
    from droveway.cli import trace

    console = terminal.console()
    console.print(f"\n[bold]POST /v1/chat/completions[/] model={model} stream=true")
    console.print(f"[dim]{PROMPT}[/]")
    try:
        answer = ask(console, port, key, model)
        console.print(
            f"\n[dim]{answer.tokens} chunks by {answer.served_by}, "
            f"first after {answer.first_token_ms:.0f} ms, all after {answer.total_ms:.0f} ms, "
            f"{answer.request_id}[/]\n"
        )
        trace.show(answer.request_id, data, console)
    except DrovewayError as error:
        console.print(f"[red]demo: {error}[/]")
        return 1
    return 0


def ask(console: Console, port: int, key: str, model: str) -> Answer:
    """Streams one answer to the console.

    Raises:
        DemoError: Refused, cut or not in time.
    """
    body = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 64,
        "messages": [{"role": "user", "content": PROMPT}],
    }
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LIMIT_S)
    began_s = time.monotonic()
    try:
        connection.request("POST", "/v1/chat/completions", msgspec.json.encode(body), headers)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            text = response.read().decode(errors="replace")
            raise DemoError(f"HTTP {response.status}: {text[:_MAX_ERROR_CHARACTERS]}")
        return _print_tokens(console, response, began_s)
    except (OSError, http.client.HTTPException) as error:
        raise DemoError(f"the connection failed: {error!r}") from None
    finally:
        connection.close()


def _print_tokens(console: Console, response: http.client.HTTPResponse, began_s: float) -> Answer:
    tokens, first_s = 0, began_s
    for text in _texts(response):
        if not tokens:
            first_s = time.monotonic()
        tokens += 1
        console.print(text, end="", markup=False, style="green")
    console.print()
    return Answer(
        request_id=response.headers.get("x-request-id", ""),
        served_by=response.headers.get("x-droveway-provider", ""),
        tokens=tokens,
        first_token_ms=(first_s - began_s) * 1000,
        total_ms=(time.monotonic() - began_s) * 1000,
    )


def _texts(response: http.client.HTTPResponse) -> Iterator[str]:
    """The content of each chunk.

    Raises:
        DemoError: The stream told an error, or ended before `[DONE]`.
    """
    while line := response.readline():
        if not line.startswith(b"data:"):
            continue
        event = line[5:].strip()
        if event == b"[DONE]":
            return
        chunk: dict[str, Any] = msgspec.json.decode(event)
        if error := chunk.get("error"):
            raise DemoError(f"the stream was cut: {error}")
        for choice in chunk.get("choices", ()):
            if text := choice.get("delta", {}).get("content"):
                yield text
    raise DemoError("the stream ended without [DONE]")
