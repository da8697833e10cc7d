"""Legacy completions, embeddings and models as they are asked for and answered.

Source: OpenAI API reference, completions, embeddings and models, 2026-11.
"""

from droveway.dialects.completions import request as completions_request
from droveway.dialects.embeddings import request as embeddings
from droveway.gateway.openapi.chat import IDENTIFIER, MODEL, SAMPLING
from droveway.gateway.openapi.shapes import (
    COUNT,
    FLAG,
    NULL,
    TEXT,
    WHOLE,
    Schema,
    either,
    items,
    nullable,
    record,
    ref,
    request,
    said,
    text,
    whole,
    words,
)

_TOKENS = items(COUNT, 1)
COMPLETION_FIELDS: dict[str, Schema] = SAMPLING | {
    "suffix": said(TEXT | {"maxLength": 0}, "Only empty: chat models write no middles."),
    "echo": said(FLAG | {"enum": [False]}, "Only false."),
    "logprobs": whole(0, completions_request.MAX_LOGPROBS),
    "best_of": said(whole(1, 1), "Only 1."),
}
EMBEDDING_FIELDS: dict[str, Schema] = {
    "encoding_format": words("float", "base64"),
    "dimensions": whole(1, embeddings.MAX_DIMENSIONS),
    "user": IDENTIFIER,
}

REQUESTS: dict[str, Schema] = {
    "CompletionRequest": request(
        {"model": MODEL, "prompt": either(text(1), items(text(1), 1, 1))},
        COMPLETION_FIELDS,
        "A legacy completion, which a chat model answers. Other fields go to the provider.",
    ),
    "EmbeddingsRequest": request(
        {
            "model": MODEL,
            "input": either(
                text(1),
                items(text(1), 1, embeddings.MAX_INPUTS),
                _TOKENS,
                items(_TOKENS, 1, embeddings.MAX_INPUTS),
            ),
        },
        EMBEDDING_FIELDS,
        "What to embed. Other fields go to the provider.",
    ),
}

_CHOICE = record(
    {"text": TEXT, "index": COUNT, "finish_reason": nullable(TEXT)}, {"logprobs": NULL}
)
_COMPLETION: dict[str, Schema] = {
    "id": TEXT,
    "object": {"const": "text_completion"},
    "created": WHOLE,
    "model": TEXT,
    "choices": items(_CHOICE),
}
_VECTOR = record(
    {
        "object": {"const": "embedding"},
        "index": COUNT,
        "embedding": either(items({"type": "number"}), said(TEXT, "base64 of 32-bit floats")),
    }
)

ANSWERS: dict[str, Schema] = {
    "Completion": record(
        _COMPLETION, {"usage": nullable(ref("ChatUsage"))}, "Whole, or one event of a stream."
    ),
    "Embeddings": record(
        {
            "object": {"const": "list"},
            "model": TEXT,
            "data": items(_VECTOR, 1),
            "usage": record({"prompt_tokens": COUNT, "total_tokens": COUNT}),
        },
    ),
    "Model": record(
        {
            "id": TEXT,
            "object": {"const": "model"},
            "type": {"const": "model"},
            "created": WHOLE,
            "created_at": TEXT | {"format": "date-time"},
            "display_name": TEXT,
            "owned_by": TEXT,
        },
        {"max_input_tokens": nullable(COUNT), "max_tokens": nullable(COUNT)},
        "In OpenAI's and in Anthropic's shape at once.",
    ),
    "Models": record(
        {
            "object": {"const": "list"},
            "data": items(ref("Model")),
            "has_more": {"const": False},
            "first_id": nullable(TEXT),
            "last_id": nullable(TEXT),
        },
    ),
}
