"""What types can't say of the configuration's kinds of providers, models and aliases."""

from collections.abc import Iterator, Mapping

from droveway.contracts.config import PROVIDER_KINDS, Config, Provider
from droveway.contracts.patterns import best_match


def kind_findings(place: str, provider: Provider) -> Iterator[str]:
    """A kind that isn't known, or one that speaks another dialect."""
    known = PROVIDER_KINDS.get(provider.kind_or_default)
    if known is None:
        kinds = ", ".join(PROVIDER_KINDS)
        yield f"{place}.kind: {provider.kind!r} isn't known; known: {kinds}"
    elif known != provider.dialect:
        yield (
            f"{place}.kind: {provider.kind!r} speaks {known}, not {provider.dialect}; write "
            f"dialect: {known}, or leave kind out for an API in {provider.dialect}'s form"
        )


def model_findings(config: Config) -> Iterator[str]:
    """Models that stand twice, stars inside names, and aliases that lead nowhere."""
    seen: set[str] = set()
    for index, model in enumerate(config.models):
        if "*" in model.name[:-1]:
            yield f"models[{index}].name: {model.name!r}: * may only stand at the end"
        if model.name in seen:
            yield f"models[{index}].name: {model.name!r} stands twice; each must be unique"
        seen.add(model.name)
    routes = [route.model for route in config.routes]
    for name, target in config.aliases.items():
        yield from _alias_findings(f"aliases.{name}", name, target, config.aliases, routes)


def _alias_findings(
    place: str, name: str, target: str, aliases: Mapping[str, str], routes: list[str]
) -> Iterator[str]:
    if "*" in name[:-1]:
        yield f"{place}: * may only stand at the end of a name"
    elif "*" in target:
        yield f"{place}: {target!r}: an alias stands for one model, so its target has no *"
    elif name in routes and not name.endswith("*"):
        yield f"{place}: a route has this name, so the alias would never hold; remove one of them"
    elif (end := end_of(target, aliases)) is None:
        yield f"{place}: {target!r} is an alias that leads back to itself; name a model"
    elif best_match(routes, end) is None:
        yield f"{place}: no route serves {end!r}; add one, or name a model that has one"


def end_of(name: str, aliases: Mapping[str, str]) -> str | None:
    """The name at which a chain of aliases ends; None if it is a loop."""
    seen = {name}
    while (pattern := best_match(aliases, name)) is not None and aliases[pattern] != name:
        name = aliases[pattern]
        if name in seen:
            return None
        seen.add(name)
    return name
