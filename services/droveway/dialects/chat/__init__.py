"""OpenAI chat completions: checked, read, written, and passed on as they came."""
