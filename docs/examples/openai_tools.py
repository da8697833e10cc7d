"""The whole loop of a tool: the model's calls, their results, the final answer (openai-python).

Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import json
import os
from typing import Any

import openai

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "A city's weather.", "parameters": PARAMETERS}

client = openai.OpenAI(
    base_url=f"{os.environ['DROVEWAY_URL']}/v1", api_key=os.environ["DROVEWAY_KEY"]
)
messages: list[Any] = [{"role": "user", "content": "Do I need an umbrella in Lisbon?"}]


def get_weather(city: str) -> dict[str, Any]:
    """What a weather service would say."""
    return {"city": city, "sky": "clear", "celsius": 21}


def ask() -> Any:
    """The model's next message, which is part of the conversation from then on."""
    answer = client.chat.completions.create(
        model=os.environ.get("DROVEWAY_MODEL", "sim-small"),
        messages=messages,
        tools=[{"type": "function", "function": WEATHER}],
    )
    messages.append(answer.choices[0].message)
    return answer.choices[0].message


message = ask()
while message.tool_calls:
    for call in message.tool_calls:  # each call has its result before the model's next turn
        result = json.dumps(get_weather(**json.loads(call.function.arguments)))
        print(call.function.name, call.function.arguments, "->", result)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    message = ask()
print(message.content)
