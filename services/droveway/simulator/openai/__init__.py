"""OpenAI's dialect: chat completions and embeddings, exact or with the oddities of its kin."""
