"""Targets as routers see them: what is left alone, cools, or was switched off by somebody."""

from collections.abc import Iterator, Sequence

from droveway.cli.doctor.evidence import Evidence, known
from droveway.cli.doctor.finding import Finding, broken, named, note, runbook, warning
from droveway.contracts.health import EXHAUSTED, RATE_LIMITED, REFUSED
from droveway.contracts.providers import CredentialSeen, TargetSeen, switched_off

Key = tuple[str, str]
"""Provider, and its model or its credential."""
_WHY = {
    "slow": "its first tokens take too long",
    "cut": "its answers break off",
    RATE_LIMITED: "it is rate limited",
    EXHAUSTED: "its limit is used up until its reset",
    REFUSED: "the provider refuses it (401, 402 or 403)",
}


def check_targets(evidence: Evidence) -> Iterator[Finding]:
    """Targets that are left alone, each once, with how many routers do."""
    for (provider, model), views in targets(evidence).items():
        off = [one for one in views if one.state != "closed" and not one.disabled]
        if not off:
            continue
        worst = max(off, key=lambda one: one.for_ms)
        state = "left alone" if worst.state == "open" else "on trial"
        text = (
            f"{provider}/{model} is {state} in {len(off)} of {len(views)} routers: "
            f"{_WHY.get(worst.why, worst.why or 'it fails')}, "
            f"{worst.failed} of {worst.outcomes} attempts failed"
        )
        alert = "ProviderLatencySpike" if worst.why == "slow" else "ProviderUnavailable"
        advice = f"`droveway providers list {provider}`; {runbook(alert)}"
        yield warning("target_open", text, advice, evidence.ago(worst.for_ms))


def check_credentials(evidence: Evidence) -> Iterator[Finding]:
    """Credentials that are spared; the longest cooldown that a router tells of each."""
    for (provider, credential), views in credentials(evidence).items():
        worst = max(views, key=lambda one: one.cooldown_ms)
        text = (
            f"{provider}'s credential {credential} is spared for {worst.cooldown_ms / 1000:.0f} s "
            f"more: {_WHY.get(worst.why, worst.why)}"
        )
        if worst.why == REFUSED:
            advice = f"renew its key, then `droveway providers reset {provider}`"
            yield warning("credential_refused", text, advice)
        elif worst.why == EXHAUSTED:
            advice = f"ask {provider} for more, or add a credential; "
            yield warning("credential_exhausted", text, advice + runbook("RateLimitApproaching"))
        else:
            advice = f"it ends by itself; often: {runbook('RateLimitApproaching')}"
            yield note("credential_cooling", text, advice)


def check_switches(evidence: Evidence) -> Iterator[Finding]:
    """What operators have switched off, and why."""
    for one in known(evidence.switches):
        if not switched_off(one):
            continue
        whole = one.state == "disabled"
        what = one.id if whole else named(f"{one.id}/{model}" for model in one.disabled_models)
        reason = f": {one.reason}" if one.reason else ""
        text = f"{what} is switched off by {one.by or 'somebody'}{reason}"
        yield note("provider_disabled", text, f"`droveway providers enable {one.id}`", one.at)


def check_providers(evidence: Evidence) -> Iterator[Finding]:
    """Providers of which nothing works: where the routes aren't known, nothing may serve them."""
    if evidence.config is not None:
        return
    views = targets(evidence)
    for provider in dict.fromkeys(provider for provider, _ in views):
        own = [seen for (name, _), seen in views.items() if name == provider]
        if all(map(all_open, own)):
            text = f"all targets of {provider} that were tried are left alone"
            advice = f"`droveway providers list {provider}`; {runbook('ProviderUnavailable')}"
            yield broken("provider_unavailable", text, advice)


def targets(evidence: Evidence) -> dict[Key, list[TargetSeen]]:
    """What routers see of each target."""
    found: dict[Key, list[TargetSeen]] = {}
    for seen in known(evidence.providers):
        for one in seen.targets:
            found.setdefault((one.provider, one.model), []).append(one)
    return found


def credentials(evidence: Evidence) -> dict[Key, list[CredentialSeen]]:
    """What routers see of each credential that cools."""
    found: dict[Key, list[CredentialSeen]] = {}
    for seen in known(evidence.providers):
        for one in seen.credentials:
            found.setdefault((one.provider, one.credential), []).append(one)
    return found


def all_open(views: Sequence[TargetSeen]) -> bool:
    """No router sends it more than probes."""
    return bool(views) and all(one.state == "open" for one in views)
