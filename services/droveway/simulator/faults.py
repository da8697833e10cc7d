"""Faults on demand, and the grammar that asks for them.

A request names faults in the header `x-simulator-fault`, else in its model name, else the
setting `fault` applies. One or more faults make a spec:

    header, setting   name[=value][,name[=value]...]          429=2,times=3
    model name        fault-name[-value][+name[-value]...]    fault-429-2+times-3
                      quirk-...   the same, for what a provider does every day
                      numbered-n, embed-n, embed-floats-n     without a prefix
                      reasoning-<model name>                  think first, then as that name

Values are percent-decoded, so that a date fits: `429=Wed%2C 21 Oct 2026 07:28:00 GMT`.

    instead of an answer (one at most)
        400 401 402 403 404 408 409 413 422 500 502 504   that status with the dialect's error
        429 503 529 [=text]            the same; the text becomes `retry-after`
        insufficient-quota             429 that no waiting ends
        context-length                 400, the prompt is too long
        html                           200 with an HTML page
        json-error-200                 200 with an error object
        redirect                       302 to /book
        silence                        nothing, the connection stays open
        reset-before-headers           RST        reset-after-headers   200, then RST
        close-before-headers           FIN
    in the midst of an answer, after n content chunks or, if there are fewer, after the last
    (one at most; a whole answer is struck in the middle of its body)
        cut-after=n     RST            fin-after=n     FIN without the last chunk
        stall-after=n   nothing more   end-after=n     the body ends well, the answer doesn't
        error-after=n   an error object or event, then the end
        junk-after=n    bytes that are no chunk, then FIN
        flood-after=n   a flood, then the end
    beside an answer (any)
        malformed-after=n  slow-first-token=ms  huge-line=bytes  1xx=n
        numbered=n      the answer is `t0 t1 ...` of n tokens
        reasoning=n     n tokens of reasoning come first
        dimensions=n    length of an embedding nobody gave a length
        finish=word     the reason to finish, in the dialect's own words
        flood=kind      line (unless given), comments, blanks, events or junk, see floods.FLOODS
        mib=n           how much of it; 128 unless given
        odd=kind        beside each piece of content bytes of floods.ODD_BYTES: overlong, nul ...
        encoding=word   such a content encoding is told; the bytes are as ever
        remaining=n     rate limit headers in the dialect's own words: n requests are left
        reset=ms        until these are whole again; 1000 unless given
        no-done  no-finish  no-usage  sloppy=<shape> or just <shape>, see fault_names.SHAPES
        azure  deepseek  gemini  llamacpp      several shapes, see fault_names.BUNDLES
        times=n         the other faults strike the first n requests of this spec, model and
                        header `x-simulator-scope`; later ones are answered well
        skip=n          the first n are answered well before
        percent=n       so many in a hundred are struck, evenly spread
        permille=n      the same of a thousand
A fault that means nothing to a dialect does nothing there.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from urllib.parse import unquote

import msgspec

from droveway.simulator.fault_names import (
    BUNDLES,
    ENDINGS,
    NAMES,
    NUMBERS,
    OMISSIONS,
    RETRY_STATUSES,
    SAID,
    SHAPES,
)
from droveway.simulator.floods import FLOODS, ODD_BYTES

_PREFIXES = ("fault-", "quirk-")
_SAID_BY_NAME = (
    (re.compile(r"numbered-(\d{1,7})", re.IGNORECASE), "numbered", ()),
    (re.compile(r"embed-floats-(\d{1,4})"), "dimensions", ("floats",)),
    (re.compile(r"embed-(\d{1,4})"), "dimensions", ()),
)
"""Model names that need no prefix: the number that they give and the shapes beside it."""
REASONING_PREFIX = "reasoning-"
REASONING_TOKENS = 8
"""What a model thinks whose name only says that it reasons."""
_WORDS: Mapping[str, Collection[str]] = MappingProxyType(
    {"finish": (), "encoding": (), "flood": FLOODS, "odd": ODD_BYTES}
)
"""Faults that take a word, and which ones; of none: any."""


class FaultError(ValueError):
    """A fault spec isn't of the grammar; the message lists the known faults."""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong with one answer; the default goes well."""

    spec: str = ""
    instead: str = ""
    """One of STATUSES or INSTEAD."""
    retry_after: str | None = None
    ending: str = ""
    """One of ENDINGS."""
    finish: str = ""
    """The reason to finish; empty: the true one."""
    flood: str = "line"
    """One of floods.FLOODS."""
    odd: str = ""
    """One of floods.ODD_BYTES."""
    encoding: str = ""
    """The content encoding that is told."""
    flags: frozenset[str] = frozenset()
    """Of OMISSIONS and SHAPES."""
    numbers: dict[str, int] = {}

    @property
    def after_chunks(self) -> int:
        """Content chunks before the ending strikes."""
        return self.numbers.get(self.ending, 0)

    def spared(self) -> "Faults":
        """What remains when the faults don't strike: what is said, not what goes wrong."""
        return Faults(numbers={name: n for name, n in self.numbers.items() if name in SAID})

    def saying(self, said: "Faults") -> "Faults":
        """Add what a model name says of the answer; what the spec says wins."""
        flags, numbers = self.flags | said.flags, {**said.numbers, **self.numbers}
        return msgspec.structs.replace(self, flags=flags, numbers=numbers)


def parse_faults(spec: str) -> Faults:
    """Read the spec of a header or of the setting; an empty one has no faults.

    Raises:
        FaultError: the spec isn't of the grammar.
    """
    items = [item.strip() for item in spec.split(",") if item.strip()]
    pairs = [item.partition("=") for item in items]
    return _faults(spec.strip(), ((name.strip(), text) for name, _, text in pairs))


def parse_model_faults(model: str) -> Faults:
    """Read the spec in a model name `fault-<spec>` or `quirk-<spec>`; another name has no faults.

    Raises:
        FaultError: the spec isn't of the grammar.
    """
    model = model.removeprefix(REASONING_PREFIX)
    for prefix in _PREFIXES:
        if model.startswith(prefix):
            spec = model.removeprefix(prefix)
            return _faults(spec, (_split_name(item) for item in spec.split("+")))
    return Faults()


def said_by_name(model: str) -> Faults:
    """Read what a model name without a spec says of the answer; nothing goes wrong by it."""
    numbers: dict[str, int] = {}
    flags: set[str] = set()
    if model.startswith(REASONING_PREFIX):
        numbers["reasoning"] = REASONING_TOKENS
    for pattern, name, shapes in _SAID_BY_NAME:
        if match := pattern.fullmatch(model.removeprefix(REASONING_PREFIX)):
            numbers[name] = int(match[1])
            flags.update(shapes)
    return Faults(flags=frozenset(flags), numbers=numbers)


def _split_name(item: str) -> tuple[str, str]:
    for name in sorted(NAMES, key=len, reverse=True):
        if item == name:
            return name, ""
        if item.startswith((f"{name}-", f"{name}=")):
            return name, item[len(name) + 1 :]
    return item, ""


def _faults(spec: str, items: Iterable[tuple[str, str]]) -> Faults:
    struck: list[str] = []
    endings: list[str] = []
    flags: set[str] = set()
    numbers: dict[str, int] = {}
    texts: dict[str, str] = {}
    for name, quoted in items:
        text = unquote(quoted)
        if name in NUMBERS:
            numbers[name] = _number(name, text)
            endings += [name] if name in ENDINGS else []
        elif name == "sloppy":
            flags.add(_shape(text))
        elif name in _WORDS or (name in RETRY_STATUSES and text):
            texts[name] = _word(name, text)
            struck += [name] if name in RETRY_STATUSES else []
        elif text or name not in NAMES:
            raise _unknown(f"{name}={text}" if text else name)
        elif name in SHAPES or name in OMISSIONS or name in BUNDLES:
            flags.update(BUNDLES.get(name, (name,)))
        else:
            struck.append(name)
    instead = _only(struck)
    return Faults(
        spec=spec,
        instead=instead,
        retry_after=texts.get(instead),
        ending=_only(endings),
        finish=texts.get("finish", ""),
        flood=texts.get("flood", "line"),
        odd=texts.get("odd", ""),
        encoding=texts.get("encoding", ""),
        flags=frozenset(flags),
        numbers=numbers,
    )


def _number(name: str, text: str) -> int:
    limit = NUMBERS[name]
    if not (text.isascii() and text.isdigit()) or int(text) > limit:
        raise FaultError(f"fault {name} takes a whole number of 0 to {limit}, not {text!r}")
    return int(text)


def _word(name: str, text: str) -> str:
    if not (text and text.isascii() and text.isprintable()):
        raise FaultError(f"fault {name} takes printable ASCII text, not {text!r}")
    known = _WORDS.get(name, ())
    if known and text not in known:
        raise FaultError(f"fault {name} takes one of {', '.join(known)}, not {text!r}")
    return text


def _shape(text: str) -> str:
    if text not in SHAPES:
        raise FaultError(f"unknown shape {text!r}; known shapes: {', '.join(SHAPES)}")
    return text


def _only(names: list[str]) -> str:
    if len(names) > 1:
        raise FaultError(f"faults {' and '.join(names)} exclude each other; name one of them")
    return names[0] if names else ""


def _unknown(item: str) -> FaultError:
    return FaultError(f"unknown fault {item!r}; known faults: {', '.join(NAMES)}")
