"""The OpenAPI document of the HTTP API, made from the code, and the page that shows it."""
