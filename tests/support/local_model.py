"""The real model of `droveway local-model` as a provider, by either dialect that it speaks."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from droveway.cli import local_model
from droveway.contracts.config import Provider
from tests.support.programs import Program, serving

MODEL = local_model.MODEL
KINDS = {"openai": "llama-cpp", "anthropic": "anthropic"}
"""The kind of provider that each dialect is spoken to."""


@contextmanager
def serving_model(folder: Path) -> Iterator[Program]:
    """Starts llama.cpp with the model, as a process of its own."""
    command: list[str | Path] = [Path(sys.executable).with_name("droveway"), "local-model"]
    with serving(command, folder, {"DROVEWAY_LOCAL_MODEL_PORT": "0"}) as program:
        yield program


def provider(name: str, dialect: str, url: str) -> Provider:
    """That server as a provider of a dialect."""
    own = msgspec.to_builtins(local_model.provider(local_model.LocalModelSettings()))
    changed = {"id": name, "base_url": f"{url}/v1", "dialect": dialect, "kind": KINDS[dialect]}
    return msgspec.convert({**own, **changed}, Provider)
