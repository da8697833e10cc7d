"""Legacy completions, which are asked as chat completions."""
