"""Anthropic's dialect: messages and their tokens, in both of its API versions.

One request goes through `request` (what a message is) -> `checks` and `turns` (what else holds)
-> `cache` (what was read and written) -> `whole` or `events` (the answer).
Source: platform.claude.com/docs/en/api/messages and anthropic-python 2.12.
"""
