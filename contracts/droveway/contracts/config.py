"""The operator's one YAML file: providers, routes, keys.

Secrets stay references (`${NAME}` or `file:/path`) until the caller, the only service that talks to
providers, resolves them. Client keys are SHA-256 hashes. `check` finds what types can't.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec

from droveway.contracts.access import (
    Admin,
    CnyPerUsd,
    Count,
    Key,
    Limit,
    Name,
    QueueSeconds,
    Strict,
    Tenant,
)
from droveway.contracts.envelope import Id

Positive = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
"""Seconds, up to a day: an infinite time-out is none."""
ApiVersion = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.-]{0,64}$(?!\n)")]
Wait = Annotated[float, msgspec.Meta(ge=0, le=3_600)]
"""Seconds."""
Usd = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
"""US dollars per million tokens."""
CredentialChoice = Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9_-]{1,64}|\*)$(?!\n)")]
Dialect = Literal["openai", "anthropic"]
Thinking = Literal["unknown", "never", "budget", "adaptive", "either", "effort", "always"]

PROVIDER_KINDS: Mapping[str, Dialect] = MappingProxyType(
    {
        "openai": "openai",
        "deepseek": "openai",
        "gemini": "openai",
        "moonshot": "openai",
        "dashscope": "openai",
        "zhipu": "openai",
        "ark": "openai",
        "siliconflow": "openai",
        "minimax": "openai",
        "azure": "openai",
        "openrouter": "openai",
        "one-api": "openai",
        "llama-cpp": "openai",
        "vllm": "openai",
        "anthropic": "anthropic",
    }
)
"""Kinds of providers, each with the dialect that it speaks; `dialects.quirks` has the rest."""


class Credential(Strict, frozen=True, kw_only=True):
    """One key of one provider."""

    id: Id = "main"
    api_key: str = ""
    """`${NAME}` (environment of the caller) or `file:/path`; empty for a provider without keys."""
    limits: tuple[Limit, ...] = ()
    """What the provider grants this key; each attempt counts."""


class Timeouts(Strict, frozen=True, kw_only=True):
    """Phases of an upstream call, in seconds."""

    connect_s: Positive = 3.0
    write_s: Positive = 30.0
    first_token_s: Positive = 60.0
    """Request sent to first token; the next target is tried after it."""
    idle_s: Positive = 30.0
    """Silence between two reads once the answer has begun."""
    total_s: Positive = 600.0


class PhaseTimeouts(Strict, frozen=True, kw_only=True):
    """Phases of an upstream call where they differ from the provider's, in seconds."""

    connect_s: Positive | None = None
    write_s: Positive | None = None
    first_token_s: Positive | None = None
    idle_s: Positive | None = None
    total_s: Positive | None = None


class LongPrice(Strict, frozen=True, kw_only=True):
    """US dollars per million tokens of a request with a long input, all of its tokens."""

    above_input_tokens: Count
    """For requests with more input than this."""
    input: Usd
    output: Usd
    cached_input: Usd | None = None
    """Read from a cache; left out: as `input`."""
    cache_write: Usd | None = None
    """Written to a cache for five minutes; left out: as `input`."""
    cache_write_1h: Usd | None = None
    """Written to a cache for an hour; left out: as `cache_write`."""


class Price(Strict, frozen=True, kw_only=True):
    """US dollars per million tokens; overrides the built-in price list."""

    input: Usd
    output: Usd
    cached_input: Usd | None = None
    """Read from a cache; left out: as `input`."""
    cache_write: Usd | None = None
    """Written to a cache for five minutes; left out: as `input`."""
    cache_write_1h: Usd | None = None
    """Written to a cache for an hour; left out: as `cache_write`."""
    batch: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    """What a batch costs of the same."""
    long: tuple[LongPrice, ...] = ()
    """Prices of requests with a long input, from the shortest on."""


class Provider(Strict, frozen=True, kw_only=True):
    """An upstream API."""

    id: Id
    base_url: str
    """Up to and including the version: `https://api.openai.com/v1`."""
    dialect: Dialect = "openai"
    """Whose API it speaks."""
    kind: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """In what it differs from that API: `openai`, `deepseek`, `gemini`, `moonshot`, `dashscope`,
    `zhipu`, `ark`, `siliconflow`, `minimax`, `azure`, `openrouter`, `one-api`, `llama-cpp`, `vllm`
    or `anthropic`; empty: in nothing."""
    api_version: ApiVersion = ""
    """Of Azure, its `api-version`; of Anthropic, the `anthropic-version` of every request that we
    translate; empty: the newest that serves the request."""
    pool: Id = "default"
    """Which callers serve it."""
    credentials: tuple[Credential, ...] = (Credential(),)
    models: tuple[Name, ...] = ()
    """Names listed by `GET /v1/models` for routes that take any model."""
    timeouts: Timeouts = Timeouts()
    max_in_flight: Count = 100
    """Per caller; when reached the answer is `Busy` and the router goes elsewhere."""
    max_keepalive: Count = 20
    """Idle connections that a caller keeps for the next calls; further ones are closed."""
    keepalive_s: Positive = 4.0
    """How long it keeps them: less than the provider does, or calls meet its close. Servers often
    keep theirs for 5 s, large providers for a minute and more."""
    allow_http: bool = False
    """Plain http to a host that isn't loopback."""
    proxy: str = ""
    """Where its calls go through: `http://host:port`, or `${NAME}` or `file:/path` of such an
    address, which may then hold a user and a password; empty: they go straight, whatever the
    caller's environment says."""
    ca_file: str = ""
    """A file of PEM certificates that its certificate is checked against; empty: as the callers'
    setting `ca_file` says."""
    prices: dict[Name, Price] = msgspec.field(default_factory=dict)
    """By model; a name that ends with `*` means all that begin so, the longest that fits holds."""

    @property
    def kind_or_default(self) -> str:
        """`kind`, or the one that has its dialect's name."""
        return self.kind or self.dialect


class RouteTarget(Strict, frozen=True, kw_only=True):
    """One place where a route's requests can go."""

    provider: Id
    model: str = ""
    """The provider's name for it; empty: as the client wrote it."""
    credential: CredentialChoice = "main"
    """`*`: each of the provider's credentials is a target of its own."""
    weight: Count = 1
    timeouts: PhaseTimeouts = PhaseTimeouts()
    """Left out: the route's."""


class Tier(Strict, frozen=True, kw_only=True):
    """Targets of equal priority, chosen by weight; the next tier is for when all of them failed."""

    targets: Annotated[tuple[RouteTarget, ...], msgspec.Meta(min_length=1)]


class Backoff(Strict, frozen=True, kw_only=True):
    """How long to wait before a target is asked again: `base_s * factor**n + plus_s`."""

    base_s: Wait = 0.5
    factor: Annotated[float, msgspec.Meta(ge=1, le=10)] = 2.0
    plus_s: Wait = 0.0
    jitter: Literal["full", "plus", "none"] = "full"
    """`full`: anything from 0 to that; `plus`: up to a second more; `none`: just that."""
    cap_s: Wait = 8.0


class Retry(Strict, frozen=True, kw_only=True):
    """When a request is tried again, always before its answer has begun.

    Another target is tried at once; waits are for one that is asked again since no other is left.
    A provider's `retry-after` holds where it is longer. A request that its provider refused as such
    (400) is never repeated.
    """

    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    """Upstream attempts of one request, the first one included."""
    same_target: Annotated[int, msgspec.Meta(ge=0, le=9)] = 1
    """How often one target may be asked again."""
    failed: Backoff | None = Backoff()
    """After a 5xx or a broken connection; null: not again."""
    rate_limited: Backoff | None = Backoff()
    """After a 429; null: not again."""
    timed_out: Backoff | None = None
    """After silence: what took too long once is seldom quick the next time."""
    max_wait_s: Wait = 2.0
    """What would have to wait for longer, by a provider's word too, is left to the client."""


RetryPreset = Literal["standard", "full-jitter", "exponential", "plus-one", "plus-random"]
RETRY_PRESETS: Mapping[str, Retry] = MappingProxyType(
    {
        "standard": Retry(),
        "full-jitter": Retry(
            same_target=2,
            max_wait_s=60,
            failed=Backoff(base_s=1, cap_s=60),
            rate_limited=None,
            timed_out=Backoff(base_s=1, cap_s=60),
        ),
        "exponential": Retry(
            same_target=2,
            max_wait_s=60,
            failed=Backoff(base_s=1, jitter="none", cap_s=60),
            rate_limited=Backoff(base_s=1.5, jitter="none", cap_s=60),
            timed_out=Backoff(base_s=0, jitter="none"),
        ),
        "plus-one": Retry(
            same_target=2,
            max_wait_s=60,
            rate_limited=Backoff(base_s=1, plus_s=1, jitter="none", cap_s=60),
        ),
        "plus-random": Retry(
            same_target=2,
            max_wait_s=60,
            rate_limited=Backoff(base_s=1, jitter="plus", cap_s=60),
        ),
    }
)
"""Policies by name, each as a well-known client has it."""


class RetryBudget(Strict, frozen=True, kw_only=True):
    """How many attempts beyond requests' first ones a router makes: an outage stays one."""

    ratio: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.2
    """Of the requests of the last ten seconds."""
    per_s: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 10.0
    """That many are free."""


class Health(Strict, frozen=True, kw_only=True):
    """When a target is left alone, and when it is tried again; the last one always serves."""

    consecutive: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 3
    """So many failures in a row open it."""
    ratio: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.3
    """Such a share of failed or slow ones does, too."""
    min_outcomes: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10
    """So many must have been seen before a share counts."""
    window_s: Positive = 30.0
    slow_s: Positive = 20.0
    """A first token that took longer is a slow one."""
    open_s: Positive = 1.0
    """Then one request tries it; each time that it fails the wait doubles, to `open_cap_s`."""
    open_cap_s: Positive = 4.0


Strategy = Literal["weighted", "fastest", "cheapest", "cached"]
Midstream = Literal["error", "continue"]
Unstreamed = Literal["whole", "stream"]


class Fallbacks(Strict, frozen=True, kw_only=True):
    """Other models, each served as its own route says, for when a route's targets can't help."""

    failed: tuple[Name, ...] = ()
    """All of them failed."""
    rate_limited: tuple[Name, ...] = ()
    """All of them are rate limited: a cheaper model, say. Left out: as `failed`."""
    context: tuple[Name, ...] = ()
    """The prompt is too long for them: models with a larger window."""
    content: tuple[Name, ...] = ()
    """One refused the content. Left out: its reason is passed on, and not routed around."""


Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
"""To two decimals."""


class CanaryGuard(Strict, frozen=True, kw_only=True):
    """When a canary is rolled back by itself: judged by attempts, against the stable channel's."""

    min_requests: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100
    """So many attempts of each channel must have been seen first."""
    success_points: Percent = 5.0
    """So many percentage points worse it may be."""
    first_token_factor: Annotated[float, msgspec.Meta(ge=1, le=1_000)] = 2.0
    """So many times as long its P95 first token may take."""
    first_token_floor_s: Positive = 1.0
    """A quicker P95 is never too slow."""
    window_s: Positive = 600.0
    """Older attempts don't count."""


class Canary(Strict, frozen=True, kw_only=True):
    """A new channel beside a route's own targets, the stable one: who gets it, and when it ends.

    A request gets it by its tenant, by its region, or since its user is among the percent. Either
    channel stays the other's fallback.
    """

    targets: Annotated[tuple[RouteTarget, ...], msgspec.Meta(min_length=1)]
    percent: Percent = 0.0
    """Of users, always the same ones: more are added as it grows, none leaves."""
    regions: tuple[Name, ...] = ()
    """What clients say in `x-droveway-region`."""
    tenants: tuple[Id, ...] = ()
    guard: CanaryGuard | None = CanaryGuard()
    """null: it is rolled back by hand only."""


class Route(Strict, frozen=True, kw_only=True):
    """What serves a model name; a name that ends with `*` serves all that begin so."""

    model: Name
    tiers: Annotated[tuple[Tier, ...], msgspec.Meta(min_length=1)]
    strategy: Strategy = "weighted"
    """In which order the targets of a tier are tried: by their weights' chance; by the time that
    they lately took to a first token; by what the request would cost; or so that prompts with the
    same beginning go to the same target, which has it cached."""
    fallbacks: Fallbacks = Fallbacks()
    retry: RetryPreset | Retry | None = None
    """Left out: the configuration's."""
    queue_s: QueueSeconds | None = None
    """How long a request waits for room at its targets, if there is none now; left out: as the
    routers' setting `queue_s` says. 0: it doesn't wait."""
    timeouts: PhaseTimeouts = PhaseTimeouts()
    """Left out: the provider's."""
    midstream: Midstream = "error"
    """What becomes of a stream that breaks off once its client has seen some of it: an `error`, or
    another target that can `continue` goes on from there."""
    unstreamed: Unstreamed = "whole"
    """How providers are asked for chats and messages that aren't streamed: `whole`, or as a
    `stream`, whose silence is noticed after `first_token_s` and `idle_s`, not only after `total_s`;
    then what a dialect has beside text, thoughts, calls and refusals is lost."""
    canary: Canary | None = None


class Cors(Strict, frozen=True, kw_only=True):
    """Which web pages may call the gateway; by default none."""

    origins: tuple[str, ...] = ()
    """`https://app.example.com`, or `*` for all."""
    max_age_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 600


class Model(Strict, frozen=True, kw_only=True):
    """Corrects the built-in table of models, or adds to it; what is left out stays as it is.

    A false ability makes requests that need it go to other targets, or be refused.
    """

    name: Name
    """One that ends with `*` means all that begin so; the longest that fits is laid on top."""
    family: Name | None = None
    context_tokens: Count | None = None
    """Input and output together."""
    max_output_tokens: Count | None = None
    """Stands for `max_tokens` where the client gives none and the provider wants one."""
    chat: bool | None = None
    tools: bool | None = None
    parallel_tools: bool | None = None
    images: bool | None = None
    audio: bool | None = None
    files: bool | None = None
    json_schema: bool | None = None
    prefill: bool | None = None
    """A last message of the assistant is accepted."""
    continues: bool | None = None
    """Such a message is gone on with from where it ends, not answered anew."""
    sampling: bool | None = None
    """`temperature`, `top_p` and `top_k` are honoured."""
    temperature_max: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    logprobs: bool | None = None
    choices: bool | None = None
    """`n` above 1."""
    thinking: Thinking | None = None
    """How it is asked to: by a token `budget`, `adaptive`, `either` of them, or by `effort`;
    `always`: it isn't asked."""
    dropped: tuple[Name, ...] | None = None
    """Parameters that it refuses: taken out, with a warning."""
    renamed: dict[Name, Name] | None = None
    """Parameters that it has under another name."""
    cache_min_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """A shorter prefix isn't cached."""
    cache_ttl: Literal["5m", "1h"] | None = None
    """Lifetime of what a client of OpenAI's dialect marks to be cached."""
    anthropic_version: ApiVersion | None = None
    """The newest version of Anthropic's API that serves it."""
    embeddings: bool | None = None
    embedding_dimensions: Count | None = None


class Config(Strict, frozen=True, kw_only=True):
    """The whole file."""

    version: Literal[1] = 1
    providers: Annotated[tuple[Provider, ...], msgspec.Meta(min_length=1)]
    routes: Annotated[tuple[Route, ...], msgspec.Meta(min_length=1)]
    keys: tuple[Key, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    limits: tuple[Limit, ...] = ()
    """Over all tenants together: of a model, say."""
    default_limits: tuple[Limit, ...] = ()
    """Of each key that has none of its own."""
    admins: tuple[Admin, ...] = ()
    """Who may use the administration's HTTP API; without one it isn't there."""
    cors: Cors = Cors()
    models: tuple[Model, ...] = ()
    """Corrections of and additions to the built-in table of models."""
    aliases: dict[Name, Name] = msgspec.field(default_factory=dict)
    """Other names for models: from, which may end with `*`, to; a name to itself keeps a spelling
    that the built-in aliases would correct."""
    price_book: Literal["real", "seeds"] = "real"
    """`real`: what the makers ask, by kind of token; `seeds`: one price for input and output alike,
    as older dashboards count it."""
    default_price: Price = Price(input=8.0, output=8.0)
    """Of a model that no price is known for."""
    retry: RetryPreset | Retry = "standard"
    """Of routes that have none of their own: a preset's name, or the fields."""
    retry_budget: RetryBudget = RetryBudget()
    health: Health = Health()
    usd_cny: CnyPerUsd = 7.3
    """Yuan for a dollar, wherever costs are shown in both."""
