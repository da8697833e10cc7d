"""The simulator is a provider that speaks the OpenAI dialect and keeps its own book.

It answers `POST /v1/chat/completions` and `GET /v1/models` for first runs without a key, for
tests and for fault tests: seeded text, token timing, usage, prices and scripted faults.
It consumes HTTP, publishes nothing, and owns one thing, its book (`GET /book`): what arrived,
what was sent and who left early, told from the provider's side of the wire.
It has no part in the gateway's logic, so that its book may be held against the gateway's.

One request goes through `app` (routes) -> `chat` (what was asked) -> `faults` (what goes wrong)
-> `answer` (what is said) -> `stream` or `whole` (as which bytes, when) -> `wire` (the socket).
"""
