"""`droveway up`: a whole gateway on one machine, from one command."""

import os
import shutil
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from droveway.cli import config_held, dotenv, local_model, nats_server, plan, processes, terminal
from droveway.cli.child import Child, Report
from droveway.cli.data_folder import DataFolder
from droveway.cli.nats_config import NatsServerSettings
from droveway.cli.plan import Options, Plan
from droveway.cli.supervisor import Supervisor
from droveway.contracts.client import inbox_prefix, request_subject
from droveway.runtime import settings
from droveway.runtime.api_key import parse_key
from droveway.runtime.bus import BusSettings

READY_LIMIT_S = 30.0
"""From the first fork until all services take work; then `up` gives up and says who doesn't."""
_SETUP_LIMIT_S = 30.0
_LOOK_LIMIT_S = 30.0
_DEMO_LIMIT_S = 120.0


def run(options: Options) -> None:
    """Starts everything, says where it is, and stays until told to stop.

    Raises:
        SettingsError: A setting, a file or a port can't be used.
        ChildFailed: A service doesn't start.
    """
    began_s = time.monotonic()
    console = terminal.console()
    environment = plan.environment_with_file(dotenv.read(Path(".env")))
    os.environ.update(environment)
    if options.local_model:
        local_model.check(local_model.read_settings())
    folder = DataFolder(options.data)
    with folder.locked():
        chosen = plan.make(options, environment)
        os.environ.update(chosen.environment)
        telemetry = any(name.startswith("OTEL_EXPORTER_OTLP") for name in chosen.environment)
        processes.preload(chosen.services, telemetry=telemetry)
        _introduce(console, chosen)
        with Supervisor(lambda text: console.print(f"[yellow]{text}[/]")) as children:
            _start(children, chosen, options, console)
            children.until_ready(READY_LIMIT_S)
            console.print(f"ready after {time.monotonic() - began_s:.1f} s")
            _tell_what_holds(children, chosen, options, console)
            if options.demo:
                _demonstrate(children, chosen, options, console)
            _announce(console, chosen)
            children.until_stopped()
        console.print("stopped")


def _start(children: Supervisor, chosen: Plan, options: Options, console: Console) -> None:
    if chosen.embedded:
        children.start(_broker(chosen, console))
    chosen.folder.remember_server(chosen.nats_url)
    broker = BusSettings(
        servers=tuple(chosen.nats_url.split(",")),
        nkey_file=chosen.environment["DROVEWAY_SETUP_NATS_NKEY_FILE"],
    )
    setup = processes.setup_child(broker, lambda text: console.print(f"[dim]  {text}[/]"))
    children.must_succeed(setup, _SETUP_LIMIT_S)
    if chosen.local_model:
        children.start(processes.local_model_child(chosen.environment_of(local_model.SERVICE)))
    if options.one_process:
        children.start(processes.all_in_one_child(chosen.services, chosen.environment))
        return
    for name in chosen.services:
        children.start(processes.service_child(name, chosen.environment_of(name)))


def _broker(chosen: Plan, console: Console) -> Child:
    own = settings.read(NatsServerSettings, "nats_server")
    binary = nats_server.find(own)
    version = nats_server.version(binary)
    port = urlsplit(chosen.nats_url).port or 0
    log = _short(chosen.folder.nats / "server.log")
    console.print(f"[dim]  nats-server {version} on 127.0.0.1:{port}, log {log}[/]")
    config = nats_server.write_config(chosen.folder, port, own, chosen.key_users)
    return processes.nats_child(binary, config)


def _tell_what_holds(
    children: Supervisor, chosen: Plan, options: Options, console: Console
) -> None:
    def say(text: str) -> None:
        console.print(f"  {text}", style="yellow", markup=False)

    looking = config_held.child(chosen.config, options.data, say)
    children.run_to_end(looking, _LOOK_LIMIT_S)


def _demonstrate(children: Supervisor, chosen: Plan, options: Options, console: Console) -> None:
    if not chosen.key:
        console.print("[yellow]no demo: the configuration doesn't hold the first key[/]")
        return

    def work(_report: Report) -> int:
        from droveway.cli import demo

        return demo.run(chosen.gateway_port, chosen.key, chosen.model(), options.data)

    children.run_to_end(Child("demo", work, ends=True), _DEMO_LIMIT_S)


def _introduce(console: Console, chosen: Plan) -> None:
    origin = "made from the environment" if chosen.generated else "yours"
    console.print(f"[bold]droveway[/] data {_short(chosen.folder.path)}")
    console.print(f"  configuration {_short(chosen.config_path)} ({origin})")
    providers = ", ".join(provider.id for provider in chosen.config.providers)
    console.print(f"  providers {providers}")
    for note in chosen.notes:
        console.print(f"[yellow]  {note}[/]")


def _announce(console: Console, chosen: Plan) -> None:
    base = f"http://127.0.0.1:{chosen.gateway_port}"
    console.print(f"\n[bold]{base}[/]  OpenAI base URL: {base}/v1")
    if chosen.key:
        console.print(f"key  {chosen.key}", markup=False)
        body = (
            f'{{"model":"{chosen.model()}","stream":true,'
            '"messages":[{"role":"user","content":"Hello"}]}'
        )
        console.print("[dim]ask over HTTP:[/]")
        console.print(
            f"curl -N {base}/v1/chat/completions -H 'authorization: Bearer {chosen.key}' "
            f"-H 'content-type: application/json' -d '{body}'",
            markup=False,
        )
    else:
        console.print(f"keys  those of {_short(chosen.config_path)}; `droveway keys new` makes one")
    _announce_nats(console, chosen)
    if admin_port := chosen.admin_port("gateway"):
        console.print(f"metrics  curl http://127.0.0.1:{admin_port}/metrics")
    data = _short(chosen.folder.path)
    console.print(
        f"trace  {_command()} trace --data {data} <x-request-id of an answer>", markup=False
    )
    console.print("[dim]DROVEWAY_LOG_LEVEL=info logs each request; Ctrl-C stops all[/]")


def _announce_nats(console: Console, chosen: Plan) -> None:
    """The bus as a front door: subject, user, and lines that ask."""
    seed = chosen.key_seed()
    if seed is None:
        return
    key_id = parse_key(chosen.key).id
    subject = request_subject(key_id, "chat-completions")
    question = '"messages":[{"role":"user","content":"Hello"}]'
    console.print(f"nats  {chosen.nats_url}  subject {subject}", markup=False)
    console.print(f"  user of key {key_id}, seed {_short(seed)}", markup=False)
    console.print("[dim]ask over NATS:[/]")
    console.print(f"{_command()} ask --data {_short(chosen.folder.path)} Hello", markup=False)
    console.print("[dim]the same with the nats command line, if you have it:[/]")
    console.print(
        f"nats --server {chosen.nats_url} --nkey {_short(seed)} "
        f"--inbox-prefix {inbox_prefix(key_id)} --timeout 60s req {subject} "
        f'\'{{"model":"{chosen.model()}",{question}}}\'',
        markup=False,
    )


def _command() -> str:
    """How to type our own name: the script beside this interpreter when it isn't on the path."""
    script = Path(sys.prefix, "bin", "droveway")
    on_path = shutil.which("droveway")
    return "droveway" if on_path or not script.exists() else _short(script)


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
