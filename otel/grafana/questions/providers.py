"""Which provider fails? Attempts by outcome, who is left alone, what is left of their limits."""

from grafana.model import Dashboard, Panel, Query, Row, Step
from grafana.promql import DESTINATION, most, quantile, rate, share, total

_ATTEMPTS = "ai_api_upstream_requests_total"
_DURATION = "ai_api_upstream_duration_seconds"
_BAD = f'{DESTINATION},outcome=~"failed|interrupted"'

_OUTCOMES = (
    Panel(
        title="Destination up",
        description="1 while a credential of the provider may be used; 0 while all are left alone.",
        queries=(
            Query(most("ai_api_destination_up", "destination", DESTINATION), "{{destination}}"),
        ),
        unit="bool_on_off",
        kind="stat",
        width=8,
        maximum=1,
        steps=(Step("red"), Step("green", 1)),
    ),
    Panel(
        title="Attempts that failed",
        description="Share of each provider's attempts that failed or broke off.",
        queries=(
            Query(
                share(
                    rate(_ATTEMPTS, "destination", _BAD),
                    rate(_ATTEMPTS, "destination", DESTINATION),
                ),
                "{{destination}}",
            ),
        ),
        unit="percent",
        width=16,
        maximum=100,
        steps=(Step("green"), Step("yellow", 1), Step("red", 5)),
    ),
    Panel(
        title="Attempts by outcome",
        description="Attempts at providers per second.",
        queries=(
            Query(
                rate(_ATTEMPTS, "destination, outcome", DESTINATION),
                "{{destination}} {{outcome}}",
            ),
        ),
        unit="reqps",
        stacked=True,
    ),
    Panel(
        title="Failures by status",
        description="Attempts that failed, per second, by the provider's HTTP status; 0: it gave "
        "none, for example a time-out.",
        queries=(
            Query(rate(_ATTEMPTS, "destination, status", _BAD), "{{destination}} {{status}}"),
        ),
        unit="reqps",
        stacked=True,
    ),
    Panel(
        title="Failovers",
        description="Attempts that requests needed beyond their first, per second, by the provider "
        "that was tried.",
        queries=(
            Query(rate("ai_api_failovers_total", "destination", DESTINATION), "{{destination}}"),
        ),
        unit="reqps",
        stacked=True,
    ),
    Panel(
        title="Time of attempts",
        description="Dispatch to end, of all attempts.",
        queries=(
            Query(quantile(0.5, _DURATION, "destination", DESTINATION), "P50 {{destination}}"),
            Query(quantile(0.95, _DURATION, "destination", DESTINATION), "P95 {{destination}}"),
        ),
        unit="s",
    ),
)
_CAPACITY = (
    Row("Capacity"),
    Panel(
        title="Attempts in flight",
        description="Attempts that run at each provider, and their bound over all callers.",
        queries=(
            Query(
                total("droveway_upstream_in_flight", "destination", DESTINATION),
                "{{destination}}",
            ),
            Query(
                total("droveway_upstream_limit", "destination", DESTINATION),
                "{{destination}} bound",
            ),
        ),
        unit="none",
    ),
    Panel(
        title="Connections",
        description="Open connections, and calls that wait for one.",
        queries=(
            Query(
                total("droveway_upstream_connections_open", "destination", DESTINATION),
                "{{destination}} open",
            ),
            Query(
                total("droveway_upstream_connections_waiting", "destination", DESTINATION),
                "{{destination}} waiting",
            ),
        ),
        unit="none",
    ),
)
_CREDENTIALS = (
    Row("Credentials"),
    Panel(
        title="Cooldown",
        description="For how long a credential is left alone since its provider limited or "
        "refused it; 0: in use.",
        queries=(
            Query(
                most(
                    "droveway_credential_cooldown_seconds", "destination, credential", DESTINATION
                ),
                "{{destination}} {{credential}}",
            ),
        ),
        unit="s",
    ),
    Panel(
        title="Refused: every target is limited",
        description="Requests per second answered 429 as all of their targets are left alone.",
        queries=(Query(rate("droveway_cooldowns_refused_total"), "refused"),),
        unit="reqps",
    ),
    Panel(
        title="Requests left",
        description="As the provider said last, the least of all callers; none: it didn't say.",
        queries=(
            Query(
                f"min by (destination, credential) "
                f"(droveway_credential_remaining_requests{{{DESTINATION}}})",
                "{{destination}} {{credential}}",
            ),
        ),
        unit="none",
    ),
    Panel(
        title="Tokens left",
        description="As the provider said last, the least of all callers; none: it didn't say.",
        queries=(
            Query(
                f"min by (destination, credential) "
                f"(droveway_credential_remaining_tokens{{{DESTINATION}}})",
                "{{destination}} {{credential}}",
            ),
        ),
        unit="none",
    ),
)

PROVIDERS = Dashboard(
    uid="droveway-providers",
    title="Which provider fails?",
    description="Attempts at providers: outcomes, failovers, times, capacity, credentials.",
    content=(*_OUTCOMES, *_CAPACITY, *_CREDENTIALS),
)
