"""What can be typed after `droveway report`."""

from typing import Annotated

import typer

from droveway.cli.keys_commands import DATA, Data, Json

report_app = typer.Typer(help="What was used, and what it cost.", invoke_without_command=True)
Since = Annotated[
    str, typer.Option(help="2026-11-01, a date-time, 7d or 24h; else this month, in UTC.")
]


@report_app.callback()
def report(
    context: typer.Context,
    by: Annotated[
        str,
        typer.Option(help="Of tenant,key,provider,model,target,mode,day,hour; with commas."),
    ] = "model",
    since: Since = "",
    until: Annotated[str, typer.Option(help="As --since; else now.")] = "",
    tenant: Annotated[str, typer.Option(help="Only of this one.")] = "",
    key: Annotated[str, typer.Option(help="Only of this key id.")] = "",
    provider: Annotated[str, typer.Option(help="Only of this one.")] = "",
    model: Annotated[str, typer.Option(help="Only of the client's name for it.")] = "",
    target: Annotated[str, typer.Option(help="Only of the provider's name for it.")] = "",
    mode: Annotated[str, typer.Option(help="Only streaming, or only whole.")] = "",
    kind: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    quick: Annotated[bool, typer.Option("--quick", help="Without latencies.")] = False,
    data: Data = DATA,
) -> None:
    """Prints sums of a time, a line for each group."""
    if context.invoked_subcommand is not None:
        return
    from droveway.cli import report as body
    from droveway.cli import terminal

    only = {
        "tenant": tenant, "key_id": key, "provider": provider, "model": model, "target": target,
        "mode": mode,
    }  # fmt: skip
    wanted = body.Wanted(by, since, until, only, not quick)
    body.show(data, wanted, kind, terminal.console())


@report_app.command("request")
def report_request(
    request_id: Annotated[str, typer.Argument(help="The x-request-id of an answer.")],
    json: Json = False,
    data: Data = DATA,
) -> None:
    """Shows what one request cost, line by line."""
    from droveway.cli import report_bill, terminal

    report_bill.show(data, request_id, None if json else terminal.console())
