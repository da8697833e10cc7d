"""How large the parts of a chat completion request may be; each cap ends in a 400 that names it."""

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]


class ChatCaps(msgspec.Struct, frozen=True, kw_only=True):
    """Caps of a chat completion request's fields, and of the requests that become one."""

    max_model_chars: Count = 256
    """Characters of `model`."""

    max_messages: Count = 10_000
    """Elements of `messages`."""

    max_content_parts: Count = 1_000
    """Parts of one message's `content`."""

    max_tools: Count = 128
    """Elements of `tools`, of `functions` and of one message's `tool_calls`."""

    max_stop_items: Count = 16
    """Elements of `stop`."""

    max_stop_chars: Count = 1_024
    """Characters of one stop sequence."""

    max_choices: Count = 128
    """Largest `n`."""

    max_logit_bias_keys: Count = 1_024
    """Members of `logit_bias`."""

    max_output_tokens: Count = 2_000_000
    """Largest `max_tokens` and `max_completion_tokens`, in tokens."""

    max_metadata_pairs: Count = 16
    """Members of `metadata`."""

    max_metadata_key_chars: Count = 64
    """Characters of a name in `metadata`."""

    max_metadata_value_chars: Count = 512
    """Characters of a value in `metadata`."""

    max_top_logprobs: Count = 20
    """Largest `top_logprobs`."""

    max_schema_depth: Count = 40
    """Levels of objects and arrays in a JSON Schema, the outermost one included: ten of properties,
    each below an `anyOf`."""

    max_name_chars: Count = 256
    """Characters of a tool's, a function's or a schema's `name`."""

    max_identifier_chars: Count = 1_024
    """Characters of `user`, `safety_identifier` and `prompt_cache_key`."""

    max_url_chars: Count = 8_192
    """Characters of an image's or a document's `https://` address, which is never fetched here."""

    max_data_chars: Count = 14_000_000
    """Characters of an image, recording or file within the request: 10 MB before base64."""
