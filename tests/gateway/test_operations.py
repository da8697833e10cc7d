"""What a request may use at most is known before it runs: all of its choices together."""

from typing import Any

import pytest

from droveway.gateway.operations import CHAT, COMPLETIONS, EMBEDDINGS, Operation

ASK = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
PROMPT = {"model": "m", "prompt": "hello"}


@pytest.mark.parametrize(
    ("operation", "request_", "bound", "choices"),
    [
        (CHAT, ASK, None, 1),
        (CHAT, ASK | {"max_tokens": 100}, 100, 1),
        (CHAT, ASK | {"max_tokens": 100, "n": 128}, 12_800, 128),
        (CHAT, ASK | {"n": 4}, None, 4),
        (CHAT, ASK | {"max_tokens": 100, "max_completion_tokens": 10}, 100, 1),
        (COMPLETIONS, PROMPT | {"max_tokens": 100, "n": 3}, 300, 3),
        (EMBEDDINGS, {"model": "m", "input": "hello"}, 0, 1),
    ],
)
def test_all_choices_are_reserved(
    operation: Operation, request_: dict[str, Any], bound: int | None, choices: int
) -> None:
    asked = operation.read(request_)
    assert (asked.max_output_tokens, asked.choices) == (bound, choices)
