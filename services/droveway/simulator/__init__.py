"""The simulator is a provider that speaks two dialects and keeps its own book.

It answers OpenAI's `POST /v1/chat/completions` and `/v1/embeddings`, Anthropic's
`POST /v1/messages` and `/v1/messages/count_tokens`, and `GET /v1/models` in the shape of whoever
asks: for first runs without a key, for tests and for fault tests. It has seeded text, token
timing, usage, prices, scripted faults, and the oddities of several providers; what the real API
refuses, it refuses.
It consumes HTTP, publishes nothing, and owns one thing, its book (`GET /book`): what arrived,
what was sent and who left early, told from the provider's side of the wire.
It has no part in the gateway's logic, so that its book may be held against the gateway's.

One request goes through `app` (routes) -> `front` (book, key, faults) -> `openai.chat`,
`openai.embeddings` or `anthropic.messages` (what was asked) -> `speech` (what is said) ->
`delivery` (as which bytes, when) -> `wire` (the socket).
"""
