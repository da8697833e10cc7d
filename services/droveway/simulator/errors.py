"""Errors in OpenAI's words: status, type, code, parameter and message.

Source: platform.openai.com/docs/guides/error-codes and openai-python 3.54.
"""

import msgspec


class ApiError(Exception):
    """The request ends with this status and OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(message, kind=kind, code=code, param=param)


def error_body(
    message: str,
    *,
    kind: str = "server_error",
    code: str | None = None,
    param: str | None = None,
) -> bytes:
    """Encode `{"error": {...}}` as OpenAI does, before the first byte and in a stream alike."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return msgspec.json.encode({"error": error})


_REFUSALS = {
    400: ("The request is invalid.", "invalid_request_error", None),
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    403: (
        "Country, region, or territory not supported.",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    404: (
        "The model does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
    ),
    413: ("The request body is too large.", "invalid_request_error", None),
    429: ("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    500: ("The server had an error while processing your request.", "server_error", "server_error"),
    502: ("Bad gateway.", "server_error", "bad_gateway"),
    503: (
        "That model is currently overloaded with other requests.",
        "service_unavailable_error",
        "server_is_overloaded",
    ),
    529: ("Overloaded.", "overloaded_error", "server_is_overloaded"),
}


def refusal(status: int) -> ApiError:
    """Refuse with a status and what OpenAI says beside it."""
    message, kind, code = _REFUSALS[status]
    return ApiError(status, message, kind=kind, code=code)


def model_not_found(model: str) -> ApiError:
    """Refuse a model as OpenAI refuses one that doesn't exist."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return ApiError(404, message, code="model_not_found", param="model")
