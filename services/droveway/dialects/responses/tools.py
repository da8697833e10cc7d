"""Tools, their choice and the answer's form: flat in the Responses API, nested in chat completions.

Source: OpenAI API reference, responses and chat completions, 2026-11.
"""

from typing import Any

from droveway.dialects.anthropic.request_fields import object_at
from droveway.dialects.chat.caps import ChatCaps
from droveway.dialects.field_checks import (
    Check,
    boolean,
    check_fields,
    name,
    objects,
    schema,
    string,
    wrong,
)
from droveway.dialects.responses.content import word_at
from droveway.dialects.untranslatable import Untranslatable

_CAPS = ChatCaps()
_CHOICES = ("auto", "none", "required")
_FORMATS = ("text", "json_object", "json_schema")
_FUNCTION: dict[str, Check] = {"description": string, "parameters": schema, "strict": boolean}
_SCHEMA: dict[str, Check] = {"description": string, "schema": schema, "strict": boolean}


def chat_tools(tools: object) -> list[dict[str, Any]]:
    """Function tools as chat completions have them.

    Whether `strict` is said or not stays as it is, although the two APIs differ in what its absence
    means: most providers know no other than that of chat completions.

    Raises:
        Untranslatable: A tool isn't a function, or isn't one that can be read.
    """
    objects("tools", tools, _CAPS.max_tools)
    assert isinstance(tools, list)
    return [_function(tool, f"tools[{index}]") for index, tool in enumerate(tools)]


def chat_tool_choice(choice: object) -> str | dict[str, Any]:
    """Which tool the model may or must call.

    Raises:
        Untranslatable: It chooses what isn't a function, or among several.
    """
    if isinstance(choice, str):
        return word_at(choice, "tool_choice", _CHOICES)
    if not isinstance(choice, dict):
        raise wrong("tool_choice", choice, f"{', '.join(_CHOICES)} or an object")
    if choice.get("type") != "function":
        text = "`tool_choice.type` must be function: no other tool can be chosen here, nor several."
        raise Untranslatable(text, "tool_choice.type")
    name("tool_choice.name", choice.get("name"), _CAPS)
    return {"type": "function", "function": {"name": choice["name"]}}


def response_format(text: dict[str, Any]) -> dict[str, Any] | None:
    """The answer's form in a request's `text`; None for plain text.

    Raises:
        Untranslatable: It is none that is known.
    """
    if text.get("format") is None:
        return None
    form = object_at(text["format"], "text.format")
    kind = word_at(form.get("type"), "text.format.type", _FORMATS)
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": kind}
    name("text.format.name", form.get("name"), _CAPS)
    if form.get("schema") is None:
        raise wrong("text.format.schema", None, "a JSON Schema object")
    check_fields(form, _SCHEMA, _CAPS, "text.format.")
    return {"type": kind, kind: _present(form, ("name", "description", "schema", "strict"))}


def _function(tool: dict[str, Any], param: str) -> dict[str, Any]:
    if tool.get("type") != "function":
        text = f"`{param}.type` must be function: built-in and custom tools don't run here."
        raise Untranslatable(text, f"{param}.type")
    name(f"{param}.name", tool.get("name"), _CAPS)
    check_fields(tool, _FUNCTION, _CAPS, f"{param}.")
    function = _present(tool, ("name", "description", "parameters", "strict"))
    return {"type": "function", "function": function} | _present(tool, ("cache_control",))


def _present(fields: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: fields[name] for name in names if fields.get(name) is not None}
