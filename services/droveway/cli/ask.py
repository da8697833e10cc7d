"""`droveway ask`: one question over NATS, its answer printed as it comes."""

import asyncio
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from droveway import client
from droveway.cli import terminal
from droveway.cli.config import own_file
from droveway.cli.data_folder import DataFolder
from droveway.runtime.api_key import parse_key
from droveway.runtime.config.file import load
from droveway.runtime.errors import DrovewayError, SettingsError

_MODEL = "gpt-4o-mini"


class NotAnswered(DrovewayError):
    """The request wasn't answered, or the answer was cut; the message says how."""


class Question(NamedTuple):
    """What the command line says."""

    prompt: str
    model: str
    data: Path
    server: str
    context: str
    key_id: str
    seed_file: Path | None


def run(question: Question) -> None:
    """Asks and prints.

    Raises:
        SettingsError: Server, key or seed aren't known.
        NotAnswered: The request wasn't answered, or the answer was cut.
    """
    try:
        asyncio.run(_ask(question, terminal.console()))
    except client.ClientError as error:
        raise NotAnswered(str(error)) from None


async def _ask(question: Question, console: Console) -> None:
    folder = DataFolder(question.data)
    key_id = question.key_id or parse_key(folder.first_key()).id
    async with client.connect(
        question.server or ("" if question.context else _server(folder)),
        key_id=key_id,
        seed_file=question.seed_file or ("" if question.context else _seed(folder, key_id)),
        context=question.context,
    ) as bus:
        request = {
            "model": question.model or _model(folder),
            "messages": [{"role": "user", "content": question.prompt}],
        }
        async with bus.stream(request) as stream:
            async for text in stream.text():
                console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
            console.print()
            served_by = stream.headers.get("x-droveway-provider", "?")
            tokens = stream.completed.usage.output_tokens if stream.completed else 0
            console.print(f"[dim]{tokens} tokens by {served_by}, {stream.request_id}[/]")


def _server(folder: DataFolder) -> str:
    if (address := folder.server_address()) is not None:
        return address.url
    raise SettingsError(
        f"no NATS server known: start `droveway up --data {folder.path}`, or give --server"
    )


def _seed(folder: DataFolder, key_id: str) -> Path:
    seed = folder.key_seed_file(key_id)
    if not seed.is_file():
        raise SettingsError(f"{seed} isn't there: give --seed-file of key {key_id}'s NATS user")
    return seed


def _model(folder: DataFolder) -> str:
    """A model that the configuration lists; else one that everybody has."""
    path = own_file() or folder.config
    providers = load(str(path)).providers if path.is_file() else ()
    return next((model for one in providers for model in one.models), _MODEL)
