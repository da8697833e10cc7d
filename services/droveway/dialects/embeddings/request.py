"""Embeddings: what is asked, what goes upstream, and the one answer in the form that was asked for.

Both forms of a vector, a list of numbers and base64 of little-endian 32-bit floats, hold the same
numbers. OpenAI's SDKs ask for base64 unless told otherwise; other clients mean numbers when they
say nothing. Source: OpenAI API reference, embeddings, 2026-11.
"""

from typing import Any

import msgspec

from droveway.dialects.chat import passing as openai_chat
from droveway.dialects.chat.caps import ChatCaps
from droveway.dialects.field_checks import Check, check_fields, check_model, identifier, wrong
from droveway.dialects.field_checks import one_of as _one_of

PATH = "/embeddings"
MAX_INPUTS = 2_048
"""Texts or token lists in one request."""
MAX_DIMENSIONS = 1_000_000
"""Largest `dimensions`; models have some thousands."""

_CAPS = ChatCaps()
_INPUT = f"a string, an array of 1 to {MAX_INPUTS} strings, or one of tokens or token arrays"
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_word = msgspec.json.Decoder(str | None)


def check(request: dict[str, Any], caps: ChatCaps = _CAPS) -> None:
    """Check the fields of an embeddings request; others are left to the provider.

    Raises:
        Untranslatable: With the field as `param`.
    """
    check_model(request.get("model"), caps)
    _check_input(request.get("input"))
    check_fields(request, _CHECKS, caps)


def upstream_body(body: bytes, model: str, *, base64: bool) -> bytes:
    """The client's body for the provider: its own model name, in the form that it answers in.

    Keys keep their order and values their bytes; of a key that stands twice the last value counts.

    Args:
        body: The client's request.
        model: The provider's name of the model.
        base64: Ask for base64, which is a third of the size. Otherwise nothing but numbers is asked
            for: a provider that doesn't know base64 needn't know the parameter.

    Raises:
        msgspec.DecodeError: The body isn't a request.
    """
    fields = openai_chat.forwarded(body, model)
    asked = _asked(fields.get("encoding_format"))
    if base64 and asked != "base64":
        fields["encoding_format"] = msgspec.Raw(b'"base64"')
    elif not base64 and asked != "float":
        fields.pop("encoding_format", None)
    return msgspec.json.encode(fields)


def encoding_asked(body: bytes) -> str | None:
    """The form of vectors that a request wants; None: it doesn't say.

    Raises:
        msgspec.DecodeError: The body isn't a request.
    """
    return _asked(_fields.decode(body).get("encoding_format"))


def _asked(encoding_format: msgspec.Raw | None) -> str | None:
    try:
        return None if encoding_format is None else _word.decode(encoding_format)
    except msgspec.DecodeError:
        return None


def _check_input(given: object) -> None:
    if isinstance(given, str) and given:
        return
    if not isinstance(given, list) or not given:
        raise wrong("input", given, _INPUT)
    if type(given[0]) is int:
        _check_tokens("input", given)
        return
    if len(given) > MAX_INPUTS:
        raise wrong("input", given, _INPUT)
    if isinstance(given[0], list):
        for index, tokens in enumerate(given):
            _check_tokens(f"input[{index}]", tokens)
        return
    for index, text in enumerate(given):
        if not isinstance(text, str) or not text:
            raise wrong(f"input[{index}]", text, "a string that is not empty")


def _check_tokens(param: str, tokens: object) -> None:
    if not isinstance(tokens, list) or not tokens:
        raise wrong(param, tokens, "an array of tokens that is not empty")
    if set(map(type, tokens)) == {int} and min(tokens) >= 0:
        return
    for index, token in enumerate(tokens):
        if type(token) is not int or token < 0:
            raise wrong(f"{param}[{index}]", token, "a token: an integer from 0 on")


def _dimensions(param: str, value: Any, _caps: ChatCaps) -> None:
    if type(value) is not int or not 1 <= value <= MAX_DIMENSIONS:
        raise wrong(param, value, f"an integer from 1 to {MAX_DIMENSIONS}, or null")


_CHECKS: dict[str, Check] = {
    "encoding_format": _one_of("float", "base64"),
    "dimensions": _dimensions,
    "user": identifier,
}
