"""What can be typed after `droveway providers`."""

from typing import Annotated

import typer

from droveway.cli.keys_commands import DATA, Data, Json

providers_app = typer.Typer(help="Providers: how they fare, off and on.", no_args_is_help=True)

Target = Annotated[str, typer.Argument(help="A provider, or one model of it: openai/gpt-5.")]


@providers_app.command("list")
def providers_list(
    provider: Annotated[str, typer.Argument(help="Only this one.")] = "",
    json: Json = False,
    data: Data = DATA,
) -> None:
    """Shows how targets fare as each router sees them, what cools, and what is off."""
    from droveway.cli import providers, terminal

    providers.listing(data, provider, None if json else terminal.console())


@providers_app.command("disable")
def providers_disable(
    target: Target,
    reason: Annotated[str, typer.Option(help="For whoever asks why.")] = "",
    data: Data = DATA,
) -> None:
    """Switches a provider or a model of it off: it gets nothing until it is enabled."""
    from droveway.cli.providers import disable

    disable(data, target, reason)


@providers_app.command("enable")
def providers_enable(target: Target, data: Data = DATA) -> None:
    """Switches a provider, with all its models, or one model of it on again."""
    from droveway.cli.providers import enable

    enable(data, target)


@providers_app.command("reset")
def providers_reset(
    target: Annotated[str, typer.Argument(help="As for disable; else all.")] = "",
    data: Data = DATA,
) -> None:
    """Closes breakers and ends cooldowns at once, in all routers and callers."""
    from droveway.cli.providers import reset

    reset(data, target)
