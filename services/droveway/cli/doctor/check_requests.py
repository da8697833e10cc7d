"""What the ledger tells of the last hour and day: requests that fail, tokens without a price."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from droveway.cli.doctor.evidence import Evidence, Unasked, stamp
from droveway.cli.doctor.finding import Finding, named, runbook, warning

FAILING_SHARE = 0.05
"""As the alert APIErrorRateHigh has it."""
FEWEST = 20
"""Requests; of fewer no share is judged."""


def check_failures(evidence: Evidence) -> Iterator[Finding]:
    """Whether more requests fail than ever should."""
    made = evidence.requests
    if made is None or isinstance(made, Unasked):
        return
    total = made.total
    failed = (total.failed or 0) + (total.interrupted or 0)
    ended = failed + (total.completed or 0)
    if ended < FEWEST or failed / ended < FAILING_SHARE:
        return
    codes = Counter(one.code or str(one.status) for one in made.errors)
    lately = f"; the last ones: {named(code for code, _ in codes.most_common())}" if codes else ""
    text = f"{failed} of {ended} requests failed ({100 * failed / ended:.1f}%){lately}"
    since = stamp(datetime.fromtimestamp(made.since_ms / 1_000, UTC))
    advice = f"`droveway tail --failed --since 1h`; {runbook('APIErrorRateHigh')}"
    yield warning("requests_failing", text, advice, since)


def check_prices(evidence: Evidence) -> Iterator[Finding]:
    """Models in use that nobody knows the price of."""
    made = evidence.unpriced
    if made is None or isinstance(made, Unasked):
        return
    unpriced = {line.group: line.unpriced_tokens for line in made.lines if line.unpriced_tokens}
    if unpriced:
        names = named("/".join(group) for group in sorted(unpriced, key=lambda one: -unpriced[one]))
        text = (
            f"{sum(unpriced.values()):,} tokens of the last day were counted at the default price, "
            f"since nobody knows that of {names}"
        )
        advice = f"give the provider `prices`: docs/guides/prices.md; {runbook('UnpricedTokens')}"
        yield warning("prices_unknown", text, advice)
