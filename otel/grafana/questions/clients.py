"""Are clients served? What the gateway saw of them, from first byte to last."""

from grafana.model import Dashboard, Panel, Query, Row, Step
from grafana.promql import (
    CHOSEN,
    DESTINATION,
    WINDOW,
    most,
    quantile,
    rate,
    share,
    total,
)

_REQUESTS = "ai_api_requests_total"
_DURATION = "ai_api_request_duration_seconds"
_FIRST = "ai_api_time_to_first_token_seconds"
_COUNTED = f'{CHOSEN},status!="499"'


def _quantiles(metric: str, match: str, exemplars: bool = False) -> tuple[Query, ...]:
    return tuple(
        Query(quantile(q, metric, match=match), f"P{q * 100:.0f}", exemplars)
        for q in (0.5, 0.95, 0.99)
    )


def _success(by: str = "") -> str:
    good = rate(_REQUESTS, by, f'{CHOSEN},status=~"2.."')
    return share(good, rate(_REQUESTS, by, _COUNTED))


_AT_A_GLANCE = (
    Panel(
        title="Success rate",
        description="Share of requests answered 2xx. Clients that left (499) aren't counted.",
        queries=(Query(_success(), "success"),),
        unit="percent",
        kind="stat",
        width=6,
        height=4,
        decimals=2,
        maximum=100,
        steps=(Step("red"), Step("yellow", 95), Step("green", 99.5)),
    ),
    Panel(
        title="Requests",
        description="Requests that ended, per second.",
        queries=(Query(rate(_REQUESTS, match=CHOSEN), "requests"),),
        unit="reqps",
        kind="stat",
        width=6,
        height=4,
    ),
    Panel(
        title="First token, P95",
        description="Of streamed answers: how long a client looks at nothing. Queueing included.",
        queries=(Query(quantile(0.95, _FIRST, match=CHOSEN), "P95"),),
        unit="s",
        kind="stat",
        width=6,
        height=4,
        steps=(Step("green"), Step("yellow", 0.5), Step("red", 2)),
    ),
    Panel(
        title="In flight",
        description="Requests that the gateways are answering now.",
        queries=(Query(total("ai_api_inflight"), "in flight"),),
        unit="none",
        kind="stat",
        width=6,
        height=4,
    ),
)
_ANSWERS = (
    Row("Answers"),
    Panel(
        title="Answers by status",
        description="Per second, by the HTTP status that clients got; 499: the client left first.",
        queries=(Query(rate(_REQUESTS, "status", CHOSEN), "{{status}}"),),
        unit="reqps",
        stacked=True,
    ),
    Panel(
        title="Errors by class",
        description="Per second, by class and provider; provider `none`: refused before routing.",
        queries=(
            Query(
                rate("ai_api_errors_total", "class, destination", DESTINATION),
                "{{class}} {{destination}}",
            ),
        ),
        unit="reqps",
        stacked=True,
    ),
    Panel(
        title="Success rate by model",
        description="Share of requests answered 2xx, by the model that the client asked for.",
        queries=(Query(_success("model"), "{{model}}"),),
        unit="percent",
        maximum=100,
        steps=(Step("red"), Step("yellow", 95), Step("green", 99.5)),
    ),
    Panel(
        title="Refusals by a limit",
        description="Requests refused by a limit of ours, per second, by what the limit counts.",
        queries=(Query(rate("ai_api_limit_rejections_total", "kind"), "{{kind}}"),),
        unit="reqps",
        stacked=True,
    ),
)
_OBJECTIVES = (
    Row("Objectives"),
    Panel(
        title="Burn of the error budgets",
        description="Bad requests of the last hour as a multiple of what the objective allows; at "
        "14.4 a budget of 30 days is gone in two. From the recording rules.",
        queries=(
            Query(
                "max by (slo) "
                "(slo:droveway_bad:ratio_rate1h / on (slo) slo:droveway_allowed:ratio)",
                "{{slo}}",
            ),
        ),
        unit="none",
        steps=(Step("green"), Step("yellow", 1), Step("red", 14.4)),
    ),
    Panel(
        title="Alerts that fire",
        description="By name and severity, over all of this Prometheus's alerts.",
        queries=(
            Query(
                'count by (alertname, severity) (ALERTS{alertstate="firing"})',
                "{{alertname}} {{severity}}",
            ),
        ),
        unit="none",
        stacked=True,
    ),
)
_TIMES = (
    Row("How long it took"),
    Panel(
        title="Whole request",
        description="First byte of the request to last byte of the answer. Points are traces.",
        queries=_quantiles(_DURATION, CHOSEN, exemplars=True),
        unit="s",
    ),
    Panel(
        title="First token",
        description="First byte of the request to first content, queueing included. Points are "
        "traces.",
        queries=_quantiles(_FIRST, CHOSEN, exemplars=True),
        unit="s",
        steps=(Step("green"), Step("yellow", 0.5), Step("red", 2)),
    ),
    Panel(
        title="Per output token",
        description="Time between two tokens of a streamed answer, as its client saw it.",
        queries=_quantiles("ai_api_time_per_output_token_seconds", CHOSEN),
        unit="s",
    ),
    Panel(
        title="Our own share of the time",
        description="What Droveway added to the provider's time.",
        queries=_quantiles("ai_api_overhead_seconds", DESTINATION),
        unit="s",
    ),
    Panel(
        title="Distribution of whole requests",
        description="How many requests took how long; two bands are two kinds of requests.",
        queries=(
            Query(f"sum by (le) (increase({_DURATION}_bucket{{{CHOSEN}}}[{WINDOW}]))", "{{le}}"),
        ),
        unit="s",
        kind="heatmap",
    ),
    Panel(
        title="First token by model, P95",
        description="Which model keeps its clients waiting.",
        queries=(Query(quantile(0.95, _FIRST, "model", CHOSEN), "{{model}}"),),
        unit="s",
    ),
)
_DOOR = (
    Row("At the door"),
    Panel(
        title="Connections",
        description="Open HTTP connections by what they do.",
        queries=(Query(total("droveway_http_connections", "phase"), "{{phase}}"),),
        unit="none",
        stacked=True,
    ),
    Panel(
        title="Refused at the HTTP edge",
        description="Connections and requests refused or cut before they were counted, per second.",
        queries=(Query(rate("droveway_http_refused_total", "code"), "{{code}}"),),
        unit="reqps",
        stacked=True,
    ),
    Panel(
        title="Keys",
        description="Requests with a good key and with a bad one, per second.",
        queries=(
            Query(rate("droveway_auth_accepted_total"), "accepted"),
            Query(rate("droveway_auth_rejected_total"), "rejected"),
        ),
        unit="reqps",
    ),
    Panel(
        title="Busiest key on the bus",
        description="Open requests over NATS of the key that has most, beside its bound.",
        queries=(
            Query(most("droveway_key_share_largest"), "largest share"),
            Query(most("droveway_key_share_limit"), "bound"),
        ),
        unit="none",
    ),
)

CLIENTS = Dashboard(
    uid="droveway-clients",
    title="Are clients served?",
    description="Answers, errors and times as clients saw them at the gateway.",
    content=(*_AT_A_GLANCE, *_ANSWERS, *_OBJECTIVES, *_TIMES, *_DOOR),
)
