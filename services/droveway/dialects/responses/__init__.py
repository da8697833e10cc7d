"""OpenAI's Responses, which are asked as chat completions and told in their own words."""
