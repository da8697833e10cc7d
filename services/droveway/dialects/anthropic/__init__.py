"""Anthropic messages: checked, read, written, and translated from and to chat completions."""
