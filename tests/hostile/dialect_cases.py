"""Hostile fields of every request that takes a body, with the answer of each.

`row` numbers the kinds of input: 23 models, 24 bounds of output, 25 sizes, 27 streaming, 28 images.
"""

import json
from typing import Any, NamedTuple

from tests.hostile.http_cases import KEY, bearer, request
from tests.hostile.world import CANARY

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
SAID = [{"role": "user", "content": CANARY}]
HONEST: dict[str, dict[str, Any]] = {
    CHAT: {"model": "numbered-3", "messages": SAID},
    MESSAGES: {"model": "numbered-3", "max_tokens": 64, "messages": SAID},
    RESPONSES: {"model": "numbered-3", "input": CANARY, "store": False},
    COMPLETIONS: {"model": "numbered-3", "prompt": CANARY},
    EMBEDDINGS: {"model": "text-embedding-3-small", "input": CANARY},
}
"""The least that each path takes."""
TOKENS = {
    CHAT: ("max_tokens", "max_completion_tokens"),
    MESSAGES: ("max_tokens",),
    RESPONSES: ("max_output_tokens",),
    COMPLETIONS: ("max_tokens",),
    EMBEDDINGS: ("dimensions",),
}
"""What bounds the size of an answer."""
NARROW = bearer(b"<narrow>")
"""A key that may use models named `gpt-*`."""
NAMES = ("*", ">", "a.b", "a b", "../x", "a\r\nx: y", "\0", "a\tb", "dw.call.>", "\u202e", "gpt")
"""Models that nobody has; as a subject each would mean something, or be none."""


class Case(NamedTuple):
    """One request that is refused before anybody else hears of it."""

    row: int
    name: str
    path: str
    fields: dict[str, Any]
    """In the place of the honest ones."""
    param: str | None
    code: str = "invalid_request"
    status: int = 400
    key: bytes = KEY

    @property
    def id(self) -> str:
        return f"C{self.row} {self.path.removeprefix('/v1/')} {self.name}"

    @property
    def wire(self) -> bytes:
        """The request as it is sent, but for its keys."""
        return post(self.path, self.fields, self.key)


def post(path: str, fields: dict[str, Any], key: bytes = KEY) -> bytes:
    """An honest request but for `fields`."""
    body = json.dumps(HONEST[path] | fields, separators=(",", ":")).encode()
    return request(path=path.encode(), body=body, key=key)


def nested(levels: int) -> dict[str, Any]:
    """A JSON Schema of that many objects, each within the one before."""
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"not": schema}
    return schema


def tool(path: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A function in the words of the path."""
    if path == MESSAGES:
        return {"name": "f", "input_schema": schema}
    function = {"name": "f", "parameters": schema}
    if path == RESPONSES:
        return {"type": "function", **function}
    return {"type": "function", "function": function}


def image(path: str, url: str) -> dict[str, Any]:
    """A user's turn that has an image."""
    if path == RESPONSES:
        part: dict[str, Any] = {"type": "input_image", "image_url": url}
        return {"input": [{"role": "user", "content": [part]}]}
    if path == MESSAGES:
        part = {"type": "image", "source": {"type": "url", "url": url}}
    else:
        part = {"type": "image_url", "image_url": {"url": url}}
    return {"messages": [{"role": "user", "content": [part]}]}


def models(path: str) -> list[Case]:
    unlike: dict[str, Any] = {"empty": "", "10 kB": "m" * 10_000, "null": None, "number": 5}
    return [
        *(Case(23, name, path, {"model": model}, "model") for name, model in unlike.items()),
        *(
            Case(23, repr(name), path, {"model": name}, "model", "model_not_found", 404, NARROW)
            for name in NAMES
        ),
    ]


def bounds(path: str) -> list[Case]:
    values: list[Any] = [-1, 10**12, "5", True, 1.5]
    if path != MESSAGES:  # which has 0 for filling the provider's cache only
        values.append(0)
    cases = [
        Case(24, f"{param} {value!r}", path, {param: value}, param)
        for param in TOKENS[path]
        for value in values
    ]
    if path == MESSAGES:
        cases.append(Case(24, "max_tokens null", path, {"max_tokens": None}, "max_tokens"))
    return cases


def streams(path: str) -> list[Case]:
    values: tuple[Any, ...] = ("true", 1, {}, [])
    cases = [
        Case(27, f"stream {value!r}", path, {"stream": value}, "stream")
        for value in values
        if path != EMBEDDINGS  # which has none
    ]
    if path in (CHAT, COMPLETIONS, RESPONSES):
        wrong = {"stream": True, "stream_options": 5}
        cases.append(Case(27, "stream_options 5", path, wrong, "stream_options"))
    return cases


def images(path: str) -> list[Case]:
    return [
        Case(28, address[:24], path, image(path, address), _IMAGE_PARAM[path])
        for address in ("file:///etc/passwd", "http://169.254.169.254/", "ftp://a/b", "//a/b")
    ]


_IMAGE_PARAM = {
    CHAT: "messages[0].content[0].image_url.url",
    MESSAGES: "messages[0].content[0].source.url",
    RESPONSES: "input[0].content[0].image_url",
}
MANY = ["x"] * 10_000
BIAS = {str(token): 1 for token in range(10_000)}
SIZES = [
    Case(25, "n", CHAT, {"n": 1_000_000}, "n"),
    Case(25, "n", COMPLETIONS, {"n": 1_000_000}, "n"),
    Case(25, "best_of", COMPLETIONS, {"best_of": 1_000_000}, "best_of"),
    Case(25, "stop", CHAT, {"stop": MANY}, "stop"),
    Case(25, "stop", COMPLETIONS, {"stop": MANY}, "stop"),
    Case(25, "stop", MESSAGES, {"stop_sequences": MANY}, "stop_sequences"),
    Case(25, "logit_bias", CHAT, {"logit_bias": BIAS}, "logit_bias"),
    Case(25, "logit_bias", COMPLETIONS, {"logit_bias": BIAS}, "logit_bias"),
    Case(25, "messages", CHAT, {"messages": [{"role": "user"}] * 10_001}, "messages"),
    Case(25, "messages", MESSAGES, {"messages": []}, "messages"),
    Case(25, "input", RESPONSES, {"input": [{}] * 10_001}, "input"),
    Case(25, "prompt", COMPLETIONS, {"prompt": MANY}, "prompt"),
    Case(25, "input", EMBEDDINGS, {"input": MANY}, "input"),
    *(
        Case(25, "tools", path, {"tools": [tool(path, {})] * count}, "tools")
        for path, count in ((CHAT, 129), (RESPONSES, 129))
    ),
    Case(25, "tools", MESSAGES, {"tools": [{}] * 10_001}, "tools"),
    *(
        Case(25, "schema", path, {"tools": [tool(path, nested(levels))]}, param)
        for path, levels, param in (
            (CHAT, 41, "tools[0].function.parameters"),
            (RESPONSES, 41, "tools[0].parameters"),
            (MESSAGES, 64, None),
        )
    ),
]
_FILE = {"type": "input_file", "file_url": "https://169.254.169.254/"}
CASES = [
    *(case for path in HONEST for case in (*models(path), *bounds(path), *streams(path))),
    *SIZES,
    *(case for path in _IMAGE_PARAM for case in images(path)),
    Case(
        28, "file_url", RESPONSES, {"input": [{"role": "user", "content": [_FILE]}]},
        "input[0].content[0].file_url",
    ),
]  # fmt: skip
