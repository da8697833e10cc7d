"""How many tokens a model's answers have: the 95th percentile, by a small histogram that forgets.

Buckets grow by a quarter of an octave's width at most, so what is told is at most 25 % too high.
"""

MAX_MODELS = 1_000
ENOUGH = 20
"""Answers; before that nothing is known."""
_MEMORY = 512
"""At so many answers all counts are halved: newer ones weigh more."""
_SHARE_PERCENT = 95
_LARGEST_OCTAVE = 24


def _bucket(tokens: int) -> int:
    """0 to 7 tokens have their own; then four buckets for each octave."""
    if tokens < 8:
        return max(0, tokens)
    octave = min(tokens.bit_length() - 1, _LARGEST_OCTAVE)
    return 8 + (octave - 3) * 4 + min(3, (tokens >> (octave - 2)) - 4)


def _upper(bucket: int) -> int:
    """The most tokens that the bucket holds."""
    if bucket < 8:
        return bucket
    octave, quarter = divmod(bucket - 8, 4)
    return ((quarter + 5) << (octave + 1)) - 1


class Learned:
    """Output tokens by model; bounded: the model that was longest unheard of is forgotten."""

    __slots__ = ("_counts", "_known")

    def __init__(self, counts: dict[str, dict[int, int]] | None = None) -> None:
        self._counts: dict[str, dict[int, int]] = {} if counts is None else counts
        self._known: dict[str, int | None] = {}

    def add(self, model: str, tokens: int) -> None:
        """One answer was so long."""
        counts = self._counts.pop(model, None) or {}
        bucket = _bucket(tokens)
        counts[bucket] = counts.get(bucket, 0) + 1
        if sum(counts.values()) >= _MEMORY:
            counts = {at: count // 2 for at, count in counts.items() if count > 1}
        self._counts[model] = counts
        self._known.pop(model, None)
        if len(self._counts) > MAX_MODELS:
            forgotten = next(iter(self._counts))
            del self._counts[forgotten]
            self._known.pop(forgotten, None)

    def output_tokens(self, model: str) -> int | None:
        """At most so many has an answer, nineteen times of twenty; None: too few are known."""
        if model in self._known:
            return self._known[model]
        counts = self._counts.get(model)
        if counts is None:
            return None
        self._known[model] = found = _percentile(counts)
        return found

    def state(self) -> dict[str, dict[int, int]]:
        """What `__init__` takes."""
        return self._counts


def _percentile(counts: dict[int, int]) -> int | None:
    total = sum(counts.values())
    if total < ENOUGH:
        return None
    wanted = -(-total * _SHARE_PERCENT // 100)
    for bucket in sorted(counts):
        wanted -= counts[bucket]
        if wanted <= 0:
            return _upper(bucket)
    raise AssertionError("the shares of all buckets are the whole")
