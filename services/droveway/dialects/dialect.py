"""The names by which messages tell what a request's body and its answer are written in."""

CHAT = "openai.chat"
EMBEDDINGS = "openai.embeddings"
MESSAGES = "anthropic.messages"
COUNT_TOKENS = "anthropic.count_tokens"
