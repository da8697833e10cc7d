"""Durations as they are typed: `5m`, `1.5s`, `2h`, `1d`."""

import re
from datetime import timedelta

from droveway.runtime.errors import SettingsError

_FORM = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def duration_of(text: str, option: str, least_s: float, most_s: float) -> timedelta:
    """The duration that was typed for `option`.

    Raises:
        SettingsError: It has another form, or isn't between `least_s` and `most_s`.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise SettingsError(f"{option} {text[:20]!r}: expected a number with s, m, h or d, like 5m")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not least_s <= seconds <= most_s:
        raise SettingsError(f"{option} {text}: expected {least_s:g}s to {most_s:g}s")
    return timedelta(seconds=seconds)
