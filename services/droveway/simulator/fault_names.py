"""The names of the faults, the oddities and the numbers; `faults` says what they do."""

STATUSES = (
    "400", "401", "402", "403", "404", "408", "409", "413", "422", "429",
    "500", "502", "503", "504", "529",
)  # fmt: skip
RETRY_STATUSES = ("429", "503", "529")
REFUSALS = {"insufficient-quota": 429, "context-length": 400}
"""Refusals that share a status with others and mean something else."""
INSTEAD = (
    "html",
    "json-error-200",
    "redirect",
    "silence",
    "reset-before-headers",
    "reset-after-headers",
    "close-before-headers",
    *REFUSALS,
)
ENDINGS = (
    "cut-after", "fin-after", "end-after", "stall-after", "error-after", "junk-after",
    "flood-after",
)  # fmt: skip
OMISSIONS = ("no-done", "no-finish", "no-usage")
FRAMING = (
    "crlf",
    "cr",
    "stray-lines",  # fields that no standard knows, before each event
    "no-space",  # `data:{...}`
    "bom",
    "comments",
    "blank-lines-before-json",  # of a whole answer
    "gzip",  # though identity was asked for
    "gzip-unsaid",  # the same without a word of it
    "untyped",  # no content type
    "unframed",  # neither length nor chunks: the connection's end is the body's
    "one-byte",  # each byte is a write of its own
    "set-cookie",
)
"""Oddities that don't care what the bytes say; every dialect has them."""
SHAPES = (
    "null-content",  # `content: null` where "" is meant
    "no-role",
    "no-id",
    "usage-everywhere",  # running usage in every chunk, asked for or not
    "two-terminals",  # finish chunk and [DONE] twice; message_stop twice
    "after-done",  # a chunk behind the last
    "duplicate",  # each content chunk twice
    "text-before-calls",  # some words, then the tool calls
    "integer-error-code",  # `code` is the status
    "strict",  # chat requests are checked as OpenAI checks them, see openai/strict
    *FRAMING,
    # chat completions only
    "int-created-missing",
    "delta-missing",  # the finishing choice has no `delta`
    "no-role-chunk",  # the first chunk is content
    "new-id-per-chunk",
    "tool-index-missing",
    "event-lines",  # `event: message` before each `data:`
    "whole-calls",  # a tool call comes in one chunk, arguments and all
    "prompt-filter",  # a first chunk without choices, as Azure sends
    "timings",  # as llama.cpp adds
    "thought-signature",  # as Gemini adds to tool calls
    "deepseek-usage",  # prompt_cache_hit_tokens and prompt_cache_miss_tokens
    # messages only
    "no-event-lines",  # `data:` alone, as careless relays send
    "late-usage",  # message_start has zeros, message_delta has the truth
    "early-usage",  # message_delta has output_tokens alone
    "redacted-thinking",  # a redacted block before the thinking
    "no-prefill",  # the last turn must be the user's, as with newer models
    # embeddings only
    "floats",  # base64 isn't known
    "empty-data",
)
BUNDLES = {
    "azure": ("prompt-filter",),
    "deepseek": ("deepseek-usage", "blank-lines-before-json", "comments"),
    "gemini": ("usage-everywhere", "tool-index-missing", "whole-calls", "thought-signature"),
    "llamacpp": ("null-content", "integer-error-code", "timings"),
}
"""The oddities of one provider, by its name."""
NUMBERS = {
    **dict.fromkeys(ENDINGS, 1_000_000),
    "malformed-after": 1_000_000,
    "slow-first-token": 3_600_000,
    "huge-line": 67_108_864,
    "1xx": 100,
    "numbered": 1_000_000,
    "reasoning": 100_000,
    "dimensions": 4096,
    "times": 1_000_000,
    "skip": 1_000_000,
    "percent": 100,
    "permille": 1000,
    "remaining": 1_000_000,
    "reset": 3_600_000,
    "mib": 1_024,
}
"""Faults that take a whole number, with the largest."""
RESET_MS = 1_000
"""Until limits are whole again, when `remaining` comes without `reset`."""
SAID = ("numbered", "reasoning", "dimensions")
"""Numbers of what is said, which goes on when the faults don't strike."""
TEXTS = ("sloppy", "finish", "flood", "odd", "encoding")
"""Faults that take a word."""
FLOOD_MIB = 128
"""Size of a flood, when `mib` doesn't say."""
NAMES = (*STATUSES, *INSTEAD, *OMISSIONS, *SHAPES, *BUNDLES, *NUMBERS, *TEXTS)
