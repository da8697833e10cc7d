"""Faults on demand, and the grammar that asks for them.

A request names faults in the header `x-simulator-fault`, else in its model name, else the
setting `fault` applies. One or more faults make a spec:

    header, setting   name[=value][,name[=value]...]          429=2,times=3
    model name        fault-name[-value][+name[-value]...]    fault-429-2+times-3

Values are percent-decoded, so that a date fits: `429=Wed%2C 21 Oct 2026 07:28:00 GMT`.

    instead of an answer (one at most)
        400 401 403 404 413 500 502    that status with OpenAI's error object
        429 503 529 [=text]            the same; the text becomes `retry-after`
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
        error-after=n   an error object, then the end
    beside an answer (any)
        malformed-after=n  slow-first-token=ms  huge-line=bytes  1xx=n  numbered=n
        no-done  no-finish  no-usage  sloppy=<shape> or just <shape>, see SHAPES
        times=n         the other faults strike the first n requests of this spec, model and
                        header `x-simulator-scope`; later ones are answered well
"""

from collections import OrderedDict
from collections.abc import Iterable
from urllib.parse import unquote

import msgspec

STATUSES = ("400", "401", "403", "404", "413", "429", "500", "502", "503", "529")
RETRY_STATUSES = ("429", "503", "529")
INSTEAD = (
    "html",
    "json-error-200",
    "redirect",
    "silence",
    "reset-before-headers",
    "reset-after-headers",
    "close-before-headers",
)
ENDINGS = ("cut-after", "fin-after", "end-after", "stall-after", "error-after")
OMISSIONS = ("no-done", "no-finish", "no-usage")
SHAPES = (
    "null-content",  # `content: null` where "" is meant
    "no-role",
    "no-id",
    "int-created-missing",
    "usage-everywhere",  # running usage in every chunk, asked for or not
    "delta-missing",  # the finishing choice has no `delta`
    "crlf",
    "no-space",  # `data:{...}`
    "bom",
    "comments",
    "blank-lines-before-json",  # of a whole answer
    "gzip",  # though identity was asked for
    "one-byte",  # each byte is a write of its own
    "two-terminals",  # finish chunk and [DONE] twice
    "after-done",  # a chunk behind [DONE]
    "set-cookie",
    "duplicate",  # each content chunk twice
)
NUMBERS = {
    **dict.fromkeys(ENDINGS, 1_000_000),
    "malformed-after": 1_000_000,
    "slow-first-token": 3_600_000,
    "huge-line": 67_108_864,
    "1xx": 100,
    "numbered": 1_000_000,
    "times": 1_000_000,
}
"""Faults that take a whole number, with the largest."""
NAMES = (*STATUSES, *INSTEAD, *OMISSIONS, *SHAPES, *NUMBERS, "sloppy")


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
    flags: frozenset[str] = frozenset()
    """Of OMISSIONS and SHAPES."""
    numbers: dict[str, int] = {}

    @property
    def after_chunks(self) -> int:
        """Content chunks before the ending strikes."""
        return self.numbers.get(self.ending, 0)

    def spared(self) -> "Faults":
        """What remains when the faults don't strike: what is said, not what goes wrong."""
        numbers = {name: n for name, n in self.numbers.items() if name == "numbered"}
        return Faults(numbers=numbers)


def parse_faults(spec: str) -> Faults:
    """Read the spec of a header or of the setting; an empty one has no faults.

    Raises:
        FaultError: the spec isn't of the grammar.
    """
    items = [item.strip() for item in spec.split(",") if item.strip()]
    pairs = [item.partition("=") for item in items]
    return _faults(spec.strip(), ((name.strip(), text) for name, _, text in pairs))


def parse_model_faults(model: str) -> Faults:
    """Read the spec in a model name `fault-<spec>`; another name has no faults.

    Raises:
        FaultError: the spec isn't of the grammar.
    """
    if not model.startswith("fault-"):
        return Faults()
    spec = model.removeprefix("fault-")
    return _faults(spec, (_split_name(item) for item in spec.split("+")))


class FailFirst:
    """Counts the requests of each spec, model and scope; knows at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    def strikes(self, faults: Faults, model: str, scope: str) -> bool:
        """Say whether the faults strike this request, which counts."""
        times = faults.numbers.get("times")
        if times is None:
            return True
        key = (faults.spec, model, scope)
        count = self._counts.pop(key, 0) + 1
        self._counts[key] = count
        if len(self._counts) > self._limit:
            self._counts.popitem(last=False)
        return count <= times

    def clear(self) -> None:
        """Forget every count."""
        self._counts.clear()


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
    retry_after: str | None = None
    for name, quoted in items:
        text = unquote(quoted)
        if name in NUMBERS:
            numbers[name] = _number(name, text)
            endings += [name] if name in ENDINGS else []
        elif name in RETRY_STATUSES and text:
            struck.append(name)
            retry_after = _header_text(name, text)
        elif name == "sloppy":
            flags.add(_shape(text))
        elif text or name not in NAMES:
            raise _unknown(f"{name}={text}" if text else name)
        elif name in SHAPES or name in OMISSIONS:
            flags.add(name)
        else:
            struck.append(name)
    return Faults(
        spec=spec,
        instead=_only(struck),
        retry_after=retry_after,
        ending=_only(endings),
        flags=frozenset(flags),
        numbers=numbers,
    )


def _number(name: str, text: str) -> int:
    limit = NUMBERS[name]
    if not (text.isascii() and text.isdigit()) or int(text) > limit:
        raise FaultError(f"fault {name} takes a whole number of 0 to {limit}, not {text!r}")
    return int(text)


def _header_text(name: str, text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise FaultError(f"fault {name} takes printable ASCII text, not {text!r}")
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
