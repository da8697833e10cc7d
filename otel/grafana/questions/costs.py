"""What does it cost? Money and tokens, mirrored from the ledger."""

from grafana.model import Dashboard, Panel, Query, Row, Step
from grafana.promql import CHOSEN, per_minute, rate, share

_TOKENS = "ai_api_tokens_total"


def _within(metric: str, window: str, by: str = "", match: str = CHOSEN) -> str:
    labels = f" by ({by}) " if by else ""
    matching = f"{{{match}}}" if match else ""
    return f"sum{labels}(increase({metric}{matching}[{window}]))"


def _type(name: str) -> str:
    return f'{CHOSEN},type="{name}"'


def _stat(title: str, description: str, expr: str, unit: str, decimals: int = 2) -> Panel:
    return Panel(
        title=title,
        description=description,
        queries=(Query(expr, title),),
        unit=unit,
        kind="stat",
        width=6,
        height=4,
        decimals=decimals,
    )


_AT_A_GLANCE = (
    _stat(
        "Last hour",
        "US dollars of the last 60 minutes.",
        _within("ai_api_cost_total", "1h"),
        "currencyUSD",
        4,
    ),
    _stat(
        "In the chosen time",
        "US dollars between the dashboard's begin and end.",
        _within("ai_api_cost_total", "$__range"),
        "currencyUSD",
    ),
    _stat(
        "In the chosen time, yuan",
        "The same at the configured rate of each account.",
        _within("ai_api_cost_cny_total", "$__range"),
        "currencyCNY",
    ),
    Panel(
        title="Read from cache",
        description="Share of input tokens that providers read from their cache, which costs less.",
        queries=(
            Query(
                share(
                    rate(_TOKENS, match=_type("cache_read")), rate(_TOKENS, match=_type("input"))
                ),
                "cached",
            ),
        ),
        unit="percent",
        kind="stat",
        width=6,
        height=4,
        decimals=1,
        maximum=100,
    ),
)
_MONEY = (
    Row("Money"),
    Panel(
        title="By model",
        description="US dollars per hour, over the hour before each point.",
        queries=(Query(_within("ai_api_cost_total", "1h", "model"), "{{model}}"),),
        unit="currencyUSD",
        stacked=True,
    ),
    Panel(
        title="By provider",
        description="US dollars per hour, over the hour before each point.",
        queries=(Query(_within("ai_api_cost_total", "1h", "destination"), "{{destination}}"),),
        unit="currencyUSD",
        stacked=True,
    ),
    Panel(
        title="By tenant",
        description="US dollars per hour, over the hour before each point; destination and model "
        "don't filter it.",
        queries=(
            Query(
                _within("droveway_tenant_cost_usd_total", "1h", "tenant", match=""), "{{tenant}}"
            ),
        ),
        unit="currencyUSD",
        stacked=True,
    ),
    Panel(
        title="Budgets",
        description="Thresholds of budgets that were reached, within the hour before each point.",
        queries=(
            Query(
                _within("droveway_budget_events_total", "1h", "scope, share", match=""),
                "{{scope}} at {{share}}",
            ),
        ),
        unit="none",
        steps=(Step("green"), Step("red", 1)),
    ),
    Panel(
        title="Models in the chosen time",
        description="What each model of each provider came to between begin and end.",
        queries=(
            Query(_within("ai_api_cost_total", "$__range", "destination, model"), "USD"),
            Query(
                _within(
                    _TOKENS, "$__range", "destination, model", f'{CHOSEN},type=~"input|output"'
                ),
                "tokens",
            ),
        ),
        unit="none",
        kind="table",
        width=24,
        decimals=4,
    ),
)
_USED = (
    Row("Tokens"),
    Panel(
        title="Input and output",
        description="Tokens per minute; cached ones are part of the input.",
        queries=(Query(per_minute(_TOKENS, "type", f'{CHOSEN},type=~"input|output"'), "{{type}}"),),
        unit="none",
        stacked=True,
    ),
    Panel(
        title="Cache",
        description="Input tokens per minute that were read from and written to providers' caches.",
        queries=(Query(per_minute(_TOKENS, "type", f'{CHOSEN},type=~"cache_.+"'), "{{type}}"),),
        unit="none",
    ),
    Panel(
        title="Cost of a thousand requests",
        description="US dollars, by model; the last hour's cost through its requests.",
        queries=(
            Query(
                f"1000 * {_within('ai_api_cost_total', '1h', 'model')} / "
                f"({_within('ai_api_requests_total', '1h', 'model')} > 0)",
                "{{model}}",
            ),
        ),
        unit="currencyUSD",
    ),
    Panel(
        title="Without a price",
        description="Tokens per minute of models that no price is known for; they are in the cost "
        "at the default price.",
        queries=(
            Query(
                per_minute("ai_api_unpriced_tokens_total", "destination, model", CHOSEN),
                "{{destination}} {{model}}",
            ),
        ),
        unit="none",
        steps=(Step("green"), Step("yellow", 1)),
    ),
)

COSTS = Dashboard(
    uid="droveway-costs",
    title="What does it cost?",
    description="Money and tokens by model, provider and tenant; exact sums: `droveway report`.",
    since="now-24h",
    content=(*_AT_A_GLANCE, *_MONEY, *_USED),
)
