"""What types can't say of a limit that is spread evenly: what it spreads, and how much at once."""

from collections.abc import Iterator

from droveway.contracts.access import Limit

SPREAD = ("requests", "tokens", "input_tokens", "output_tokens")
"""What can be spread over a window; requests at the same time can't."""


def burst_findings(place: str, limits: tuple[Limit, ...]) -> Iterator[str]:
    """Bursts of nothing, of several kinds at once, or larger than their limit."""
    for index, limit in enumerate(limits):
        if limit.burst is None:
            continue
        numbers = {kind: number for kind in SPREAD if (number := getattr(limit, kind)) is not None}
        if len(numbers) != 1:
            found = f"stands beside {' and '.join(numbers)}" if numbers else "spreads nothing"
            yield (
                f"{place}[{index}].burst: {found}; it goes with exactly one of "
                f"{', '.join(SPREAD)}: write an entry for each"
            )
        for kind, number in numbers.items():
            if limit.burst > number:
                yield (
                    f"{place}[{index}].burst: {limit.burst} at once is more than {number} {kind} "
                    "in the whole window; lower it, or leave it out"
                )
