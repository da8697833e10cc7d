"""How providers differ from the API whose dialect they speak: `quirks.json`, one entry a kind.

`apply` fits a request to one: it works on the raw top-level fields, so that whatever a quirk
doesn't touch keeps its bytes and its place, and prompt caches hit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from droveway.contracts.config import Dialect, Provider
from droveway.dialects.models import ModelFacts

Need = Literal[
    "tools", "images", "json_schema", "prefill", "continues", "audio", "files", "logprobs",
    "choices", "embeddings",
]  # fmt: skip
Fields = dict[str, msgspec.Raw]
"""A request's top-level fields, undecoded."""


class Quirk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of provider; what isn't stated is as OpenAI's own API has it."""

    dialect: Dialect = "openai"
    base_url: str
    """Where it usually is. Documentation: a provider's `base_url` is the operator's."""
    auth: Literal["bearer", "x-api-key", "api-key"] = "bearer"
    """How the key is sent: as `Authorization: Bearer`, or in the header of that name."""
    chat_path: str = "/chat/completions"
    embeddings_path: str = "/embeddings"
    """Empty: it has none."""
    query: str = ""
    """The query parameter that carries the provider's `api_version`, where one is set."""
    dropped: tuple[str, ...] = ()
    """Parameters that it refuses."""
    renamed: dict[str, str] = {}
    """Parameters that it has under another name."""
    stream_options: bool = True
    developer_role: bool = True
    """Else such messages go as `system`."""
    strict_tools: bool = True
    """`strict` of a tool is accepted."""
    forced_tools: bool = True
    """`tool_choice` may force a call; else it goes as `auto`."""
    base64_embeddings: bool = True
    """`encoding_format: base64` is honoured; else the caller encodes the vectors."""
    lacks: tuple[Need, ...] = ()
    """What it can't do, whatever the model."""
    going_on: dict[str, bool] = {}
    """Fields of a last message of the assistant that is to be gone on with, not answered."""
    going_on_top: dict[str, bool] = {}
    """The same of the request."""
    source: str
    notes: str = ""

    @property
    def changes(self) -> bool:
        """Whether `apply` can change anything."""
        takes_all = (
            self.stream_options and self.developer_role and self.strict_tools and self.forced_tools
        )
        return bool(self.dropped or self.renamed) or not takes_all

    def path(self, operation: Literal["chat", "embeddings"], api_version: str = "") -> str:
        """Path below the base URL, with the query if it wants one; empty: it doesn't do that."""
        path = self.chat_path if operation == "chat" else self.embeddings_path
        return f"{path}?{self.query}={api_version}" if path and self.query and api_version else path


QUIRKS = msgspec.json.decode(
    Path(__file__).with_name("quirks.json").read_bytes(), type=dict[str, Quirk]
)
"""By kind; the same kinds as `config.PROVIDER_KINDS`."""


def quirk_of(provider: Provider) -> Quirk:
    """The quirks of a configured provider."""
    return QUIRKS[provider.kind_or_default]


def apply(quirk: Quirk, facts: ModelFacts, fields: Fields) -> tuple[Fields, tuple[str, ...]]:
    """A chat request's fields as the provider takes them, and what was taken from the client.

    1. Parameters that the model refuses are dropped, those that it has under another name renamed.
    2. The same for the provider, whose word is the last.
    3. Values that it doesn't know: the developer's role, `strict` tools, a forced tool choice.

    Args:
        quirk: The provider's.
        facts: The model's; `ModelFacts(name="")` changes nothing.
        fields: Not changed; the same ones come back where there is nothing to fit.

    Returns:
        The fields in their order, and a sentence for each parameter that lost its effect.
    """
    if not (quirk.changes or facts.changes):
        return fields, ()
    fitted = _renamed(_renamed(dict(fields), facts.renamed), quirk.renamed)
    warnings = _drop(fitted, facts.dropped, "model")
    warnings += _drop(fitted, quirk.dropped, "provider")
    if not quirk.stream_options:
        fitted.pop("stream_options", None)
    if not quirk.developer_role:
        _replace(fitted, "messages", b'"developer"', _as_system)
    if not quirk.strict_tools and _replace(fitted, "tools", b'"strict"', _without_strict):
        warnings.append("`tools[].function.strict` was dropped: the provider doesn't take it.")
    if not quirk.forced_tools and _is_forced(fitted.get("tool_choice")):
        fitted["tool_choice"] = msgspec.Raw(b'"auto"')
        warnings.append("`tool_choice` was sent as `auto`: the provider can't be made to call.")
    return fitted, tuple(warnings)


def going_on(quirk: Quirk, fields: Fields) -> Fields:
    """A chat request whose last message is the beginning of its answer, marked as such.

    Some providers would answer it otherwise.
    """
    marked = dict(fields)
    if quirk.going_on:
        messages = _objects.decode(fields["messages"])
        messages[-1] = msgspec.Raw(_encode(_fields.decode(messages[-1]) | _raw(quirk.going_on)))
        marked["messages"] = msgspec.Raw(_encode(messages))
    return marked | _raw(quirk.going_on_top)


def _raw(flags: dict[str, bool]) -> Fields:
    return {name: msgspec.Raw(b"true" if flag else b"false") for name, flag in flags.items()}


_encode = msgspec.json.Encoder().encode
_objects = msgspec.json.Decoder(list[msgspec.Raw])
_fields = msgspec.json.Decoder(Fields)
_NULL = b"null"


def _renamed(fields: Fields, names: dict[str, str]) -> Fields:
    """The same order; where both names are there, the provider's own holds."""
    if names.keys().isdisjoint(fields):
        return fields
    return {
        names.get(name, name): value
        for name, value in fields.items()
        if names.get(name, name) == name or names[name] not in fields
    }


def _drop(fields: Fields, names: tuple[str, ...], who: str) -> list[str]:
    """Takes them out; nobody is warned of a null, which says nothing."""
    found = [name for name in names if name in fields]
    told = [name for name in found if bytes(fields.pop(name)) != _NULL]
    return [f"`{name}` was dropped: the {who} doesn't take it." for name in told]


def _replace(
    fields: Fields, name: str, trace: bytes, change: Callable[[Fields], Fields | None]
) -> bool:
    """Changes elements of an array; the others keep their bytes. Whether there was anything."""
    value = fields.get(name)
    if value is None or trace not in (text := bytes(value)):
        return False
    try:
        elements = [(one, change(_fields.decode(one))) for one in _objects.decode(text)]
    except msgspec.DecodeError:
        return False  # not of the shape that the door has checked: the provider says what is wrong
    if not any(changed for _, changed in elements):
        return False
    changed_elements = [one if changed is None else changed for one, changed in elements]
    fields[name] = msgspec.Raw(msgspec.json.encode(changed_elements))
    return True


def _as_system(message: Fields) -> Fields | None:
    role = message.get("role")
    if role is None or bytes(role) != b'"developer"':
        return None
    return message | {"role": msgspec.Raw(b'"system"')}


def _without_strict(tool: Fields) -> Fields | None:
    function = tool.get("function")
    if function is None or "strict" not in (inner := _fields.decode(function)):
        return None
    del inner["strict"]
    return tool | {"function": msgspec.Raw(msgspec.json.encode(inner))}


def _is_forced(choice: msgspec.Raw | None) -> bool:
    return choice is not None and bytes(choice) not in (b'"auto"', b'"none"', _NULL)
