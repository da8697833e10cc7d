"""Other gateways, each in an environment of its own below `.cache/bench`, installed when asked for.

LiteLLM gets a local cost map and a master key, which it needs; Portkey gets `@hono/node-server`
1.13.8, since its streams fail with a newer one. Neither keeps a ledger, limits or traces here.
"""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from droveway.cli import ports
from tests.bench import system
from tests.bench.children import ROOT, Children, RunFailed
from tests.bench.targets import MODELS, Target

CACHE = ROOT / ".cache" / "bench"
LITELLM = "1.106.2"
PORTKEY = "1.15.2"
HONO_NODE_SERVER = "1.13.8"
_KEY = "sk-bench-0123456789"
_READY_LIMIT_S = 90.0
_INSTALL_LIMIT_S = 900.0
_POLL_S = 0.2


def start(name: str, children: Children, folder: Path, upstream: int) -> list[Target]:
    """Installs a peer if it isn't there, and starts it.

    Raises:
        RunFailed: Its installation fails, it doesn't start, or nobody knows its name.
    """
    starters: dict[str, Callable[[], list[Target]]] = {
        "litellm": lambda: [_litellm(children, folder, upstream, workers) for workers in (1, 2)],
        "portkey": lambda: [_portkey(children, folder, upstream)],
    }
    if name not in starters:
        raise RunFailed(f"unknown peer {name!r}: expected {' or '.join(starters)}")
    return starters[name]()


def versions(names: list[str]) -> list[str]:
    """What was installed, for the report."""
    known = {
        "litellm": f"LiteLLM {LITELLM}",
        "portkey": f"Portkey {PORTKEY} (@hono/node-server {HONO_NODE_SERVER})",
    }
    return [known[name] for name in names if name in known]


def _litellm(children: Children, folder: Path, upstream: int, workers: int) -> Target:
    home = CACHE / "litellm"
    _install(
        home,
        LITELLM,
        [sys.executable, "-m", "venv", home],
        [home / "bin" / "pip", "install", "--quiet", f"litellm[proxy]=={LITELLM}"],
    )
    parameters = {"api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-bench-provider"}
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": f"openai/{name}", **parameters}}
            for name in MODELS
        ],
        "general_settings": {"master_key": _KEY},
    }
    path = folder / "litellm.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    port = ports.free()
    arguments: list[str | Path] = [home / "bin" / "litellm", "--config", path, "--port", str(port)]
    arguments += ["--host", "127.0.0.1", "--num_workers", str(workers)]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    name = f"litellm, {workers} worker{'s' if workers > 1 else ''}"
    headers = (("authorization", f"Bearer {_KEY}"),)
    return _started(children, folder, name, arguments, environment, port, headers)


def _portkey(children: Children, folder: Path, upstream: int) -> Target:
    home = CACHE / "portkey"
    home.mkdir(parents=True, exist_ok=True)
    package = {
        "private": True,
        "dependencies": {"@portkey-ai/gateway": PORTKEY},
        "overrides": {"@hono/node-server": HONO_NODE_SERVER},
    }
    (home / "package.json").write_text(json.dumps(package))
    _install(home, PORTKEY, ["npm", "install", "--silent", "--prefix", home])
    server = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    port = ports.free()
    headers = (
        ("authorization", "Bearer sk-bench-provider"),
        ("x-portkey-provider", "openai"),
        ("x-portkey-custom-host", f"http://127.0.0.1:{upstream}/v1"),
    )
    arguments: list[str | Path] = ["node", server, f"--port={port}", "--headless"]
    environment = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    return _started(children, folder, "portkey", arguments, environment, port, headers)


def _install(home: Path, version: str, *commands: list[str | Path]) -> None:
    """Runs the commands unless this version is there; its stamp is written last."""
    stamp = home / f".installed-{version}"
    if stamp.exists():
        return
    home.mkdir(parents=True, exist_ok=True)
    for command in commands:
        sys.stderr.write(f"installing: {' '.join(map(str, command))}\n")
        done = subprocess.run(
            command, timeout=_INSTALL_LIMIT_S, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RunFailed(f"{command[0]} has failed: {done.stderr[-500:]}")
    stamp.touch()


def _started(
    children: Children,
    folder: Path,
    name: str,
    arguments: list[str | Path],
    environment: dict[str, str],
    port: int,
    headers: tuple[tuple[str, str], ...],
) -> Target:
    """Starts a peer and waits until it answers a request."""
    log_path = folder / f"{name.replace(', ', '-').replace(' ', '-')}.log"
    with log_path.open("w") as log:
        process = children.start(arguments, folder, environment, log)
    target = Target(name, port, "/v1/chat/completions", headers, {})
    until_s = time.monotonic() + _READY_LIMIT_S
    while not (answer := _try(target)).startswith("200"):
        if process.poll() is not None or time.monotonic() > until_s:
            raise RunFailed(f"{name}: {answer or 'no answer'}; {log_path.read_text()[-500:]}")
        time.sleep(_POLL_S)
    return target._replace(services={name: tuple(system.with_descendants(process.pid))})


def _try(target: Target) -> str:
    """Status and the first characters of the answer to one request; empty: nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10)
    payload = target.request("mock", stream=False).partition(b"\r\n\r\n")[2]
    try:
        headers = {"content-type": "application/json", **dict(target.headers)}
        connection.request("POST", target.path, payload, headers)
        response = connection.getresponse()
        return f"{response.status} {response.read().decode('utf-8', 'replace')[:300]}"
    except OSError:
        return ""
    finally:
        connection.close()
