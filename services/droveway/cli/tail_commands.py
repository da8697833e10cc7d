"""What can be typed after `droveway tail` and `droveway top`."""

from typing import Annotated

import typer

from droveway.cli.keys_commands import DATA, Data


def tail(
    tenant: Annotated[str, typer.Option(help="Only of this one.")] = "",
    key: Annotated[str, typer.Option(help="Only of the key with this id.")] = "",
    model: Annotated[str, typer.Option(help="Only of this one; gpt-* for all that begin so.")] = "",
    provider: Annotated[str, typer.Option(help="Only those that this one was asked.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only what went wrong.")] = False,
    since: Annotated[str, typer.Option(help="Begin in the past, like 5m, 2h or 1d.")] = "",
    json: Annotated[bool, typer.Option("--json", help="A JSON object per line.")] = False,
    data: Data = DATA,
) -> None:
    """Shows each request as it ends, and what services tell, until interrupted."""
    from droveway.cli import tail as body
    from droveway.cli.tail_durations import duration_of
    from droveway.cli.tail_lines import Filter

    chosen = Filter(body.tenant_of(tenant), key, model, provider, failed)
    ago = duration_of(since, "--since", 0, body.LONGEST_SINCE_S) if since else None
    body.run(body.Wish(chosen, ago, json), data)


def top(
    once: Annotated[bool, typer.Option("--once", help="One picture, and end.")] = False,
    every: Annotated[str, typer.Option(help="Between two pictures, like 1s.")] = "1s",
    window: Annotated[str, typer.Option(help="What it is about, like 60s or 5m.")] = "60s",
    json: Annotated[bool, typer.Option("--json", help="A JSON object per picture.")] = False,
    data: Data = DATA,
) -> None:
    """Shows requests, tokens, money and services as they are now, until interrupted."""
    from droveway.cli import top as body
    from droveway.cli.tail_durations import duration_of

    every_s = duration_of(every, "--every", 0.2, 3_600).total_seconds()
    window_s = int(duration_of(window, "--window", 1, 3_600).total_seconds())
    body.run(body.Wish(once, every_s, window_s, json), data)
