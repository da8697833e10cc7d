"""Processes: that each service is there and takes work, that one version runs, that one decides."""

from collections.abc import Iterator, Sequence

from droveway.cli.doctor.evidence import SERVICES, Evidence, Unasked, known, ours
from droveway.cli.doctor.finding import Finding, broken, named, note, runbook, warning
from droveway.contracts.discovery import Stats, name_of

LAG_ROWS = 10_000
"""As the alert LedgerBehind has it."""


def check_presence(evidence: Evidence) -> Iterator[Finding]:
    """That each service has a process, and that one of them takes work."""
    if isinstance(evidence.broker, Unasked) or isinstance(evidence.services, Unasked):
        return
    if not _ours(evidence):
        advice = f"start them (`droveway up`, or your orchestrator); {runbook('ServiceAbsent')}"
        yield broken("no_service", "NATS is there, and no service of Droveway answers", advice)
        return
    for service in SERVICES:
        running = _of(_ours(evidence), service)
        if not running:
            advice = f"start it and read its log; {runbook('ServiceAbsent')}"
            yield broken("service_absent", f"no {service} runs: {_MEANS[service]}", advice)
        yield from _unready(service, running)


def check_versions(evidence: Evidence) -> Iterator[Finding]:
    """That one version of the package runs, a rolling update aside."""
    by_version: dict[str, list[str]] = {}
    for one in _ours(evidence):
        by_version.setdefault(one.version, []).append(one.id)
    if len(by_version) > 1:
        text = "; ".join(f"{version}: {named(ids, 3)}" for version, ids in by_version.items())
        advice = "finish the update: docs/guides/deploy.md; until then it is no trouble"
        yield warning("versions_mixed", f"processes are of different versions: {text}", advice)


def check_owner(evidence: Evidence) -> Iterator[Finding]:
    """That a limiter decides."""
    limiters = _of(_ours(evidence), "limiter")
    owners = [one.id for one in limiters if one.metadata.get("owner") == "true"]
    if limiters and not owners:
        text = "limiters run and none decides: requests are refused with 503 limiter_unavailable"
        advice = f"look again in a second; else {runbook('LimiterWithoutOwner')}"
        yield broken("limiter_without_owner", text, advice)
    if len(owners) > 1:
        text = f"{len(owners)} limiters say that they decide: {named(owners)}"
        yield warning("limiter_owners", text, "look again in a second: the log fences all but one")


def check_ledger(evidence: Evidence) -> Iterator[Finding]:
    """That the ledger keeps up with the rows."""
    told = [one.metadata.get("usage_lag_rows", "") for one in _of(_ours(evidence), "metrics")]
    lag_rows = max((int(rows) for rows in told if rows.isdigit()), default=0)
    if lag_rows > LAG_ROWS:
        text = f"the ledger is {lag_rows:,} rows behind: reports lag, limits and budgets don't"
        yield warning("ledger_behind", text, f"`droveway ledger status`; {runbook('LedgerBehind')}")


def check_handlers(evidence: Evidence) -> Iterator[Finding]:
    """Messages that processes failed at since they run."""
    for one in _ours(evidence):
        failing = [each for each in one.endpoints if each.num_errors]
        if failing:
            errors = sum(each.num_errors for each in failing)
            kinds = dict.fromkeys(each.last_error for each in failing if each.last_error)
            text = f"{one.id} failed at {errors} messages, last with {named(kinds)}"
            advice = f"its log has the cause; {runbook('HandlerFailing')}"
            yield note("messages_failed", text, advice, one.started)


def _unready(service: str, running: Sequence[Stats]) -> Iterator[Finding]:
    waiting = [one for one in running if one.metadata.get("unready")]
    if not waiting:
        return
    text = "; ".join(f"{one.id}: {one.metadata['unready']}" for one in waiting[:3])
    advice = "it has just begun, or its log and /readyz say what it waits for"
    count = f"{len(waiting)} of {len(running)} {service} processes aren't ready"
    if len(waiting) == len(running) and service != "metrics":  # no client waits for that one
        what = f"no {service} is ready, {_MEANS[service]}: {text}"
        yield broken("service_unready", what, advice)
    else:
        yield warning("service_unready", f"{count}: {text}", advice)


def _ours(evidence: Evidence) -> Sequence[Stats]:
    return ours(known(evidence.services))


def _of(services: Sequence[Stats], service: str) -> list[Stats]:
    return [one for one in services if one.name == name_of(service)]


_MEANS = {
    "gateway": "nobody takes requests",
    "router": "requests are refused with 503",
    "limiter": "requests are refused with 503 limiter_unavailable",
    "caller": "no provider is called",
    "metrics": "nothing is counted or shown; rows wait in USAGE",
}
