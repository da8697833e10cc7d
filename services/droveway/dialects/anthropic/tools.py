"""Tools that the client runs, and which of them the model may or must call, both ways.

Tools that a provider runs itself have no equivalent elsewhere. Source: OpenAI API reference, chat
completions, and Anthropic, tool use, 2026-11.
"""

from typing import Any

from droveway.dialects.anthropic.request_fields import (
    drop_unknown,
    name_at,
    object_at,
    optional_list,
    text_at,
)
from droveway.dialects.untranslatable import Untranslatable

_NATIVE = frozenset(
    {
        "name", "description", "input_schema", "type", "strict", "cache_control",
        "eager_input_streaming",
    }
)  # fmt: skip
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_CHOICES_BACK = {native: choice for choice, native in _CHOICES.items()}


def put_native_tools(request: dict[str, Any], body: dict[str, Any]) -> None:
    """Adds a chat request's tools and choice to an Anthropic body.

    Raises:
        Untranslatable: A tool isn't a function, or the choice has no equivalent.
    """
    tools = [
        _native_tool(object_at(tool, f"tools[{place}]"), f"tools[{place}]")
        for place, tool in enumerate(optional_list(request, "tools"))
    ]
    for place, function in enumerate(optional_list(request, "functions")):
        path = f"functions[{place}]"
        tools.append(_native_function(object_at(function, path), path))
    choice = _native_choice(request)
    if not tools:
        if choice is not None and choice["type"] in ("any", "tool"):
            raise Untranslatable("tool_choice needs tools to choose from", "tool_choice")
        return
    body["tools"] = tools
    if request.get("parallel_tool_calls") is False:
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    if choice is not None:
        body["tool_choice"] = choice


def put_chat_tools(request: dict[str, Any], body: dict[str, Any], warnings: list[str]) -> None:
    """Adds an Anthropic request's tools and choice to a chat body.

    Raises:
        Untranslatable: A tool is one that the provider runs, or isn't formed as it has to be.
    """
    if tools := optional_list(request, "tools"):
        body["tools"] = [_chat_tool(tool, f"tools[{i}]", warnings) for i, tool in enumerate(tools)]
    if request.get("tool_choice") is None:
        return
    choice = object_at(request["tool_choice"], "tool_choice")
    kind = choice.get("type")
    if kind == "tool":
        name = name_at(choice.get("name"), "tool_choice.name")
        body["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif isinstance(kind, str) and kind in _CHOICES_BACK:
        body["tool_choice"] = _CHOICES_BACK[kind]
    else:
        raise Untranslatable(
            "tool_choice.type has to be one of auto, any, tool, none", "tool_choice.type"
        )
    if choice.get("disable_parallel_tool_use") is True:
        body["parallel_tool_calls"] = False


def _native_tool(tool: dict[str, Any], path: str) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise Untranslatable(f"{path}.type has to be function for this model", f"{path}.type")
    at = f"{path}.function"
    made = _native_function(object_at(tool.get("function"), at), at)
    if (control := tool.get("cache_control")) is not None:
        made["cache_control"] = control
    return made


def _native_function(function: dict[str, Any], path: str) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name_at(function.get("name"), f"{path}.name")}
    if description := function.get("description"):
        made["description"] = text_at(description, f"{path}.description")
    parameters = function.get("parameters")
    schema = {} if parameters is None else object_at(parameters, f"{path}.parameters")
    if not schema:
        schema = {"type": "object", "properties": {}}
    elif "type" not in schema:
        schema = {"type": "object"} | schema
    made["input_schema"] = schema
    if isinstance(function.get("strict"), bool):
        made["strict"] = function["strict"]
    return made


def _native_choice(request: dict[str, Any]) -> dict[str, Any] | None:
    param = "tool_choice" if request.get("tool_choice") is not None else "function_call"
    choice = request.get(param)
    if choice is None:
        return None
    if isinstance(choice, str):
        if native := _CHOICES.get(choice):
            return {"type": native}
    elif param == "function_call":
        name = object_at(choice, param).get("name")
        return {"type": "tool", "name": name_at(name, f"{param}.name")}
    elif isinstance(choice, dict) and choice.get("type") == "function":
        at = f"{param}.function"
        name = object_at(choice.get("function"), at).get("name")
        return {"type": "tool", "name": name_at(name, f"{at}.name")}
    raise Untranslatable(
        f"{param} has to be auto, none, required or a function for this model", param
    )


def _chat_tool(tool: object, path: str, warnings: list[str]) -> dict[str, Any]:
    fields = object_at(tool, path)
    if fields.get("type") not in (None, "custom"):
        raise Untranslatable(
            f"{path}.type: the model's provider has no such tool; only tools of type custom work",
            path,
        )
    function: dict[str, Any] = {"name": name_at(fields.get("name"), f"{path}.name")}
    if (description := fields.get("description")) is not None:
        function["description"] = text_at(description, f"{path}.description")
    function["parameters"] = object_at(fields.get("input_schema"), f"{path}.input_schema")
    if fields.get("strict") is not None:
        function["strict"] = fields["strict"]
    made: dict[str, Any] = {"type": "function", "function": function}
    if (control := fields.get("cache_control")) is not None:
        made["cache_control"] = control
    drop_unknown(fields, _NATIVE, warnings, f"{path}.")
    return made
