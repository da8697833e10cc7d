"""What `droveway probe` prints: a line per request and one per model, for people or programs."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from droveway.cli.probe_request import Result

_NANO = 1e9
Told = dict[str, object]


def outcome(result: Result, nano_usd: int, price_source: str) -> Told:
    """One request, by names that stay: programs read them."""
    used = result.usage
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": result.model,
        "status": result.status,
        "error": result.error,
        "detail": result.detail,
        "first_token_ms": None if result.first_s is None else round(result.first_s * 1000, 1),
        "total_ms": round(result.total_s * 1000, 1),
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "cost_usd": nano_usd / _NANO,
        "price_source": price_source,
        "provider": result.provider,
        "request_id": result.request_id,
    }


def summary(model: str, results: Sequence[tuple[Result, int]]) -> Told:
    """One model's round; times are those of the requests that were answered."""
    good = [result for result, _ in results if not result.error]
    first = [one.first_s for one in good if one.first_s is not None]
    total = [one.total_s for one in good]
    tokens = sum(one.usage.input_tokens + one.usage.output_tokens for one, _ in results)
    return {
        "summary": model,
        "asked": len(results),
        "answered": len(good),
        "total_p50_ms": _quantile_ms(total, 0.5),
        "total_p95_ms": _quantile_ms(total, 0.95),
        "first_token_p50_ms": _quantile_ms(first, 0.5),
        "tokens": tokens,
        "cost_usd": sum(nano_usd for _, nano_usd in results) / _NANO,
        "errors": dict(Counter(result.error for result, _ in results if result.error)),
    }


def line(told: Told) -> str:
    """The same in words."""
    return _summary_line(told) if "summary" in told else _outcome_line(told)


def _outcome_line(told: Told) -> str:
    begin = f"{told['at']}  {told['model']}  {told['status'] or '---'}"
    end = f"all {_ms(told['total_ms'])}"
    if told["error"]:
        words = [begin, f"{told['error']}", end, f"{told['detail']}", f"{told['request_id']}"]
        return "  ".join(word for word in words if word)
    guessed = " at the default price" if told["price_source"] == "default" else ""
    return (
        f"{begin}  first {_ms(told['first_token_ms'])}  {end}  "
        f"{told['input_tokens']}+{told['output_tokens']} tokens  "
        f"${told['cost_usd']:.6f}{guessed}  by {told['provider'] or '?'}  {told['request_id']}"
    )


def _summary_line(told: Told) -> str:
    errors = told["errors"]
    assert isinstance(errors, dict)
    failed = "".join(f", {name} {count}" for name, count in sorted(errors.items()))
    return (
        f"{told['summary']}: {told['answered']} of {told['asked']} answered, "
        f"p50 {_ms(told['total_p50_ms'])}, p95 {_ms(told['total_p95_ms'])}, "
        f"first token p50 {_ms(told['first_token_p50_ms'])}, {told['tokens']} tokens, "
        f"${told['cost_usd']:.6f}{failed}"
    )


def _ms(value: object) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _quantile_ms(values_s: list[float], q: float) -> float | None:
    """By nearest rank; None of nothing."""
    if not values_s:
        return None
    return round(sorted(values_s)[max(0, math.ceil(q * len(values_s)) - 1)] * 1000, 1)
