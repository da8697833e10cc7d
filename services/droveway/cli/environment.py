"""From the environment to a configuration: pure functions of a mapping.

`OPENAI_API_KEY=…` is all that a first run needs; each provider that has a key gets its route, and
the relays that serve any model stand behind as further tiers. Keys stay `${…}` references.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from droveway.cli.local_model import LOCAL
from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config, Credential, Price, Provider, Route, RouteTarget, Tier
from droveway.dialects.quirks import QUIRKS
from droveway.runtime.api_key import hash_key, parse_key
from droveway.runtime.errors import SettingsError

SIMULATOR = "simulator"
SIMULATOR_KEY = "SIMULATOR_API_KEY"
"""The simulator wants some key, as any provider does; `up` sets one."""
_KEY_SUFFIX = "_API_KEY"
_NOT_PROVIDERS = frozenset({"DROVEWAY"})


class Known(NamedTuple):
    """What we know of a provider by its name."""

    base_url: str
    patterns: tuple[str, ...] = ()
    """Models that are its own; without any it is a relay that serves all models."""
    models: tuple[str, ...] = ()
    """Listed by `GET /v1/models`; others are served all the same."""
    kind: str = ""
    """Its quirks, where it isn't just like its dialect's own API."""
    dialect: Literal["openai", "anthropic"] = "openai"


KNOWN: Mapping[str, Known] = {
    "OPENAI": Known(
        "https://api.openai.com/v1",
        ("gpt-*", "o1*", "o3*", "o4*", "chatgpt-*", "text-embedding-*"),
        ("gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4o"),
    ),
    "ANTHROPIC": Known(
        "https://api.anthropic.com/v1",
        ("claude-*",),
        ("claude-haiku-4-5", "claude-sonnet-4-5"),
        dialect="anthropic",
    ),
    "DEEPSEEK": Known(
        "https://api.deepseek.com",
        ("deepseek-*",),
        ("deepseek-chat", "deepseek-reasoner"),
        kind="deepseek",
    ),
    "GEMINI": Known(QUIRKS["gemini"].base_url, ("gemini-*",), ("gemini-2.5-flash",), kind="gemini"),
    "MOONSHOT": Known(QUIRKS["moonshot"].base_url, ("kimi-*", "moonshot-*"), kind="moonshot"),
    "DASHSCOPE": Known(QUIRKS["dashscope"].base_url, ("qwen*",), kind="dashscope"),
    "ZHIPU": Known(QUIRKS["zhipu"].base_url, ("glm-*",), kind="zhipu"),
    "ARK": Known(QUIRKS["ark"].base_url, ("doubao-*",), kind="ark"),
    "MINIMAX": Known(QUIRKS["minimax"].base_url, ("MiniMax-*",), kind="minimax"),
    "SILICONFLOW": Known(QUIRKS["siliconflow"].base_url, kind="siliconflow"),
    "OPENROUTER": Known(QUIRKS["openrouter"].base_url, kind="openrouter"),
    "HOLYSHEEP": Known("https://api.holysheep.ai/v1", models=("gpt-4o-mini", "gpt-4.1")),
}

_SIMULATED_PRICES = {
    "gpt-4o": Price(input=2.5, output=10, cached_input=1.25),
    "gpt-4o-mini": Price(input=0.15, output=0.6, cached_input=0.075),
    "gpt-4.1": Price(input=2, output=8, cached_input=0.5),
}


def configuration(
    environment: Mapping[str, str],
    client_key: str,
    simulator_port: int,
    nats_user: str = "",
    local: Provider | None = None,
) -> Config:
    """The configuration of a gateway that was told nothing but its environment.

    Args:
        environment: Variables in order of appearance; empty ones count as unset.
        client_key: The first key; only its hash and id get in.
        simulator_port: Where the simulator listens; it is the provider if there is no other.
        nats_user: Public key of the client key's NATS user; empty: it has none.
        local: The local model, when it was asked for; it goes before all others.

    Raises:
        SettingsError: A variable can't be used; the message names it.
    """
    own = (local,) if local else ()
    providers = (*own, *_providers(environment)) or (simulator(simulator_port),)
    return Config(
        providers=providers,
        routes=(*_routes(providers),),
        keys=(
            Key(
                id=parse_key(client_key).id,
                sha256=hash_key(client_key),
                nats_user=nats_user,
            ),
        ),
        default_limits=(_limit(environment),),
    )


def credential_variables(environment: Mapping[str, str], config: Config) -> frozenset[str]:
    """Variables that hold provider keys: not for processes that don't talk to providers."""
    referred = {
        credential.api_key[2:-1]
        for provider in config.providers
        for credential in provider.credentials
        if credential.api_key.startswith("${")
    }
    return frozenset(name for name in environment if name.endswith(_KEY_SUFFIX) or name in referred)


def _providers(environment: Mapping[str, str]) -> Iterator[Provider]:
    for variable, value in environment.items():
        name = variable.removesuffix(_KEY_SUFFIX)
        if not value or name == variable or name in _NOT_PROVIDERS:
            continue
        known = KNOWN.get(name)
        base_url = environment.get(f"{name}_BASE_URL") or (known.base_url if known else "")
        if base_url and name.isidentifier() and name.isupper() and len(name) <= 64:
            yield Provider(
                id=name.lower(),
                base_url=base_url.rstrip("/"),
                credentials=(Credential(api_key=f"${{{variable}}}"),),
                models=known.models if known else (),
                dialect=known.dialect if known else "openai",
                kind=known.kind if known else "",
            )


def _routes(providers: tuple[Provider, ...]) -> Iterator[Route]:
    relays = [provider for provider in providers if not _patterns(provider)]
    others = [provider for provider in providers if provider.id != LOCAL]
    for provider in providers:
        # Who asks the local model doesn't want to be answered from elsewhere.
        behind = [] if provider.id == LOCAL else relays
        for pattern in _patterns(provider):
            yield _route(pattern, [provider, *behind])
    yield _route("*", relays or others[:1] or [providers[0]])


def _patterns(provider: Provider) -> tuple[str, ...]:
    if provider.id == LOCAL:
        return provider.models
    known = KNOWN.get(provider.id.upper())
    return known.patterns if known else ()


def _route(model: str, providers: list[Provider]) -> Route:
    return Route(
        model=model,
        tiers=tuple(Tier(targets=(RouteTarget(provider=one.id),)) for one in providers),
    )


def _limit(environment: Mapping[str, str]) -> Limit:
    given = {
        "requests": environment.get("API_REQUEST_LIMIT") or "1000",
        "window_s": environment.get("API_REQUEST_INTERVAL") or "60",
    }
    try:
        return msgspec.convert(given, Limit, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"API_REQUEST_LIMIT={given['requests']!r} (requests) per "
            f"API_REQUEST_INTERVAL={given['window_s']!r} (seconds): {error}"
        ) from None


def simulator(port: int) -> Provider:
    """The simulator as a provider: a first run without any key, and without any cost."""
    from droveway.simulator.catalogue import MODELS

    prices = dict(_SIMULATED_PRICES)
    for model in MODELS:
        if model.prices is not None:
            prices[model.id] = Price(
                input=model.prices.input_per_mtok_usd,
                output=model.prices.output_per_mtok_usd,
                cached_input=model.prices.cached_input_per_mtok_usd,
            )
    return Provider(
        id=SIMULATOR,
        base_url=f"http://127.0.0.1:{port}/v1",
        credentials=(Credential(api_key=f"${{{SIMULATOR_KEY}}}"),),
        models=(*(model.id for model in MODELS), *_SIMULATED_PRICES),
        prices=prices,
    )
