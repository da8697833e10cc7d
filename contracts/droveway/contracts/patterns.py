"""Names of models in the configuration: one that ends with `*` stands for all that begin so."""

from collections.abc import Collection


def covers(pattern: str, name: str) -> bool:
    """Whether `pattern` is the name, or ends with `*` and begins it."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == name


def best_match(patterns: Collection[str], name: str) -> str | None:
    """The pattern for `name`: itself, else the longest prefix; None if none covers it."""
    if name in patterns:  # most often; prefixes cost more, and rows are many
        return name
    found = [pattern for pattern in patterns if covers(pattern, name)]
    return max(found, key=len, default=None)
