"""The six panels that a reader of the monitoring tutorial expects, on expressions that hold.

Titles, sizes, thresholds, units and the uid are the tutorial's. Its expressions divided each
series by itself (always 100 %), took quantiles per series and showed dollars per second as per
hour; here series are added up first. 499, a client that left, is no error of ours.
"""

from grafana.model import Dashboard, Panel, Query, Step
from grafana.promql import CHOSEN, per_minute, quantile, rate, share

_REQUESTS = "ai_api_requests_total"
_ALL = rate(_REQUESTS, match=CHOSEN, window="5m")


def _status(status: str) -> str:
    return rate(_REQUESTS, match=f"{CHOSEN},{status}", window="5m")


def _latency(q: float) -> Query:
    seconds = quantile(q, "ai_api_request_duration_seconds", match=CHOSEN, window="5m")
    return Query(f"{seconds} * 1000", f"P{q * 100:.0f}", exemplars=True)


OVERVIEW = Dashboard(
    uid="holysheep-ai-monitor",
    file="ai-api-monitor",
    title="AI API 监控大盘",
    description="The whole gateway on one screen: latency, errors, requests, tokens, cost.",
    since="now-1h",
    content=(
        Panel(
            title="请求延迟 P50/P95/P99",
            description="First byte of the request to last byte of the answer.",
            queries=(_latency(0.5), _latency(0.95), _latency(0.99)),
            unit="ms",
            steps=(Step("green"), Step("yellow", 500), Step("red", 2000)),
        ),
        Panel(
            title="错误率追踪",
            description="Share of requests answered 4xx or 5xx, without clients that left (499).",
            queries=(
                Query(share(_status('status=~"4..",status!="499"'), _ALL), "4xx错误率"),
                Query(share(_status('status=~"5.."'), _ALL), "5xx错误率"),
            ),
            unit="percent",
            steps=(Step("green"), Step("yellow", 1), Step("red", 5)),
        ),
        Panel(
            title="请求量 (RPM)",
            description="Requests that ended, per minute.",
            queries=(Query(per_minute(_REQUESTS, match=CHOSEN, window="5m"), "RPM"),),
            unit="none",
            kind="stat",
            width=6,
            height=4,
            decimals=1,
        ),
        Panel(
            title="Token消耗 (TPM)",
            description="Input and output tokens per minute; cached ones are part of the input.",
            queries=(
                Query(
                    per_minute(
                        "ai_api_tokens_total",
                        match=f'{CHOSEN},type=~"input|output"',
                        window="5m",
                    ),
                    "TPM",
                ),
            ),
            unit="none",
            kind="stat",
            width=6,
            height=4,
            decimals=0,
        ),
        Panel(
            title="当前成本 ($/小时)",
            description="US dollars of the last 60 minutes.",
            queries=(Query(f"sum(increase(ai_api_cost_total{{{CHOSEN}}}[1h]))", "$/小时"),),
            unit="currencyUSD",
            kind="stat",
            width=6,
            height=4,
            decimals=4,
        ),
        Panel(
            title="成功率",
            description="Share of requests answered 2xx; clients that left (499) aren't counted.",
            queries=(Query(share(_status('status=~"2.."'), _status('status!="499"')), "成功率"),),
            unit="percent",
            kind="gauge",
            width=6,
            height=4,
            maximum=100,
            steps=(Step("red"), Step("yellow", 95), Step("green", 99)),
        ),
    ),
)
