"""The command line: what can be typed. Bodies are imported when their command is called."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from droveway.cli.canary_commands import canary_app
from droveway.cli.config_commands import config_app
from droveway.cli.doctor_commands import doctor
from droveway.cli.keys_commands import DATA, Data, keys_app, tenants_app
from droveway.cli.ledger_commands import ledger_app
from droveway.cli.limits_commands import admin_app, budgets_app, limits_app
from droveway.cli.providers_commands import providers_app
from droveway.cli.report_commands import Since, report_app
from droveway.cli.tail_commands import tail, top
from droveway.runtime.errors import DrovewayError, SettingsError

EX_CONFIG = 78
EX_UNAVAILABLE = 69

app = typer.Typer(
    name="droveway",
    help="Self-hosted LLM gateway over NATS. `droveway up` runs all of it on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's Markdown takes 100 ms to import, half of the time for --help
)
nats_app = typer.Typer(help="Users and configuration of the NATS server.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(keys_app, name="keys")
app.add_typer(tenants_app, name="tenants")
app.add_typer(limits_app, name="limits")
app.add_typer(budgets_app, name="budgets")
app.add_typer(admin_app, name="admin")
app.add_typer(providers_app, name="providers")
app.add_typer(nats_app, name="nats")
app.add_typer(report_app, name="report")
app.add_typer(canary_app, name="canary")
app.add_typer(ledger_app, name="ledger")

_SERVICES = {
    "gateway": "The doors: HTTP in, answers out.",
    "router": "Chooses the target; retries until an attempt commits.",
    "limiter": "Decides what may run now.",
    "caller": "Calls the providers.",
    "metrics": "Keeps the ledger and the cost.",
    "simulator": "A provider for first runs and tests.",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; a user's mistake is one line on standard error and an exit code."""
    try:
        app(arguments)
    except DrovewayError as error:
        sys.stderr.write(f"droveway: {error}\n")
        code = EX_CONFIG if isinstance(error, SettingsError) else EX_UNAVAILABLE
        sys.exit(getattr(error, "code", code))


@app.command()
def up(
    data: Data = DATA,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Of the gateway; else 8080 or the next.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Else ./droveway.yaml, else made from the environment.")
    ] = None,
    nats_url: Annotated[str, typer.Option(help="An external server; else an embedded one.")] = "",
    one_process: Annotated[
        bool, typer.Option("--one-process", help="All services as tasks of one process.")
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Send a first request.")] = False,
    local_model: Annotated[
        bool, typer.Option("--local-model", help="Serve a small real model: provider `local`.")
    ] = False,
) -> None:
    """Runs everything on this machine, with an embedded nats-server."""
    from droveway.cli.plan import Options
    from droveway.cli.up import run

    run(Options(data, port, config, nats_url, one_process, demo, local_model))


@app.command()
def setup(
    data: Data = DATA,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what differs.")] = False,
) -> None:
    """Makes or updates the streams that the services need."""
    from droveway.cli.connection import settings_for
    from droveway.cli.setup import command

    command(settings_for("setup", data), dry_run=dry_run)


@app.command()
def trace(
    request_id: Annotated[str, typer.Argument(help="The x-request-id of an answer.")],
    data: Data = DATA,
    json: Annotated[bool, typer.Option("--json", help="The rows, for programs.")] = False,
) -> None:
    """Shows where a request's milliseconds and tokens went."""
    from droveway.cli import terminal
    from droveway.cli import trace as body

    if json:
        sys.stdout.write(body.show_json(request_id, data) + "\n")
    else:
        body.show(request_id, data, terminal.console())


app.command()(tail)
app.command()(top)
app.command()(doctor)


@app.command()
def ask(
    prompt: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[str, typer.Option(help="Else the first that is configured.")] = "",
    data: Data = DATA,
    server: Annotated[str, typer.Option(help="nats://host:port; else the one of --data.")] = "",
    context: Annotated[str, typer.Option(help="Of the nats command line.")] = "",
    key_id: Annotated[str, typer.Option(help="Whose request it is; else the first key.")] = "",
    seed_file: Annotated[
        Path | None, typer.Option(help="NKey seed of the key's NATS user; else the one of --data.")
    ] = None,
) -> None:
    """Asks over NATS and prints the answer as it comes."""
    from droveway.cli.ask import Question, run

    run(Question(prompt, model, data, server, context, key_id, seed_file))


@app.command()
def probe(
    model: Annotated[list[str], typer.Option(help="To ask. Repeat it.")],
    count: Annotated[int, typer.Option(min=1, max=1_000, help="Requests to each model.")] = 1,
    every: Annotated[str, typer.Option(help="A round each 30s, 5m, 2h; else one round.")] = "",
    url: Annotated[
        str, typer.Option(envvar="DROVEWAY_URL", help="Of the gateway.")
    ] = "http://127.0.0.1:8080",
    key: Annotated[
        str,
        typer.Option(
            envvar="DROVEWAY_KEY",
            help="Whose requests they are; else the first key of --data. A key of the probe's own "
            "(`droveway keys new --tenant probe`) keeps them apart in reports and budgets.",
        ),
    ] = "",
    prompt: Annotated[str, typer.Option(help="What to ask.")] = "Say hello.",
    max_tokens: Annotated[int, typer.Option(min=1, max=4_096, help="Of an answer.")] = 16,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=600, help="Seconds for a whole answer.")
    ] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="A JSON object per line.")] = False,
    data: Data = DATA,
) -> None:
    """Asks as a client would, and tells how it went; exits 1 when a request failed."""
    from droveway.cli import probe as body

    models = tuple(dict.fromkeys(model))
    wish = body.Wish(models, count, url, key, every, prompt, max_tokens, timeout, json)
    body.run(wish, data)


@app.command()
def stats(
    key: Annotated[str, typer.Option(help="Only of this key id.")] = "",
    since: Since = "",
    data: Data = DATA,
    json: Annotated[bool, typer.Option("--json", help="As `GET /api/stats` answers.")] = False,
) -> None:
    """Shows the dashboard: requests, latencies, cost and the last errors."""
    from droveway.cli import stats as body
    from droveway.cli import terminal

    body.show(data, key, since, None if json else terminal.console())


@app.command()
def services(
    data: Data = DATA,
    json: Annotated[bool, typer.Option("--json", help="Their answers, for programs.")] = False,
) -> None:
    """Shows which services run, what they listen on, and how they fare."""
    from droveway.cli import services as body
    from droveway.cli import terminal

    if json:
        sys.stdout.write(body.show_json(data) + "\n")
    else:
        body.show(data, terminal.console())


@nats_app.command("users")
def nats_users(data: Data = DATA) -> None:
    """Makes the NKey seeds that aren't there; prints the public keys."""
    from droveway.cli.nats import users

    users(data)


@nats_app.command("config")
def nats_config(
    data: Data = DATA,
    public_keys: Annotated[
        Path | None, typer.Option(help="Output of `nats users`; else the seeds in --data.")
    ] = None,
    listen: Annotated[str, typer.Option(help="Client address.")] = "0.0.0.0:4222",
    store_dir: Annotated[str, typer.Option(help="JetStream's folder.")] = "/data/jetstream",
    monitor: Annotated[str, typer.Option(help="Monitoring address.")] = "127.0.0.1:8222",
    file: Annotated[
        Path | None, typer.Option("--config", help="Whose keys' users; else ./droveway.yaml.")
    ] = None,
) -> None:
    """Prints the configuration of an external NATS server."""
    from droveway.cli.config import own_file
    from droveway.cli.nats import config
    from droveway.cli.nats_config import Place

    place = Place(listen=listen, store_dir=store_dir, monitor=monitor)
    config(data, public_keys, place, file or own_file())


@app.command("local-model")
def local_model() -> None:
    """Serves the small real model of `up --local-model` alone, on the loopback."""
    from droveway.cli.local_model import main

    main()


@app.command()
def version() -> None:
    """Prints the version."""
    import importlib.metadata

    sys.stdout.write(f"droveway {importlib.metadata.version('droveway')}\n")


def _add_service(name: str, text: str) -> None:
    def run() -> None:
        import importlib

        importlib.import_module(f"droveway.{name}.__main__").main()

    app.command(name, help=text)(run)


for _name, _text in _SERVICES.items():
    _add_service(_name, _text)
