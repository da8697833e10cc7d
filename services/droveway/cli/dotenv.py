"""The `.env` file: plain `NAME=value` lines, read strictly.

A line that isn't understood is an error and not a guess: a half-read secret is hard to find.
There is no interpolation and no value over several lines.
"""

import re
from pathlib import Path

from droveway.runtime.errors import SettingsError

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<rest>.*)")
_SINGLE = re.compile(r"'(?P<value>[^']*)'\s*(?:#.*)?")
_DOUBLE = re.compile(r'"(?P<value>(?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_COMMENT = re.compile(r"(?:^|\s+)#.*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$"}


def read(path: Path) -> dict[str, str]:
    """The variables of the file at `path`, in its order; empty when there is no file.

    Raises:
        SettingsError: A line has another form; names the line, never its value.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: can't be read: {error}") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> dict[str, str]:
    """The variables of `text`; a later line wins over an earlier one of the same name.

    Raises:
        SettingsError: As `read`.
    """
    variables: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            raise SettingsError(f"{name}:{number}: expected NAME=value, a comment or nothing")
        variables[match["name"]] = _value(match["rest"], f"{name}:{number}: {match['name']}")
    return variables


def _value(rest: str, place: str) -> str:
    if rest[:1] not in ("'", '"'):
        return _COMMENT.sub("", rest)
    match = (_SINGLE if rest[0] == "'" else _DOUBLE).fullmatch(rest)
    if match is None:
        raise SettingsError(f"{place}: close the quote, and put nothing but a # comment after it")
    return match["value"] if rest[0] == "'" else _unescape(match["value"], place)


def _unescape(value: str, place: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise SettingsError(f"{place}: unknown escape \\{match[1]}; use single quotes instead")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", replace, value)
