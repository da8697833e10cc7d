"""The one catalogue of error codes: bodies, docs/errors.md and advice are made from it.

A code outside it can't be built. Codes and texts follow what OpenAI answers where it has one, so
that clients' own handling works.
"""

import msgspec

from droveway.contracts.envelope import Millis


class ErrorCode(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a request can end badly."""

    code: str
    status: int
    """HTTP status before the first byte of an answer; afterwards it is told in band."""
    type: str
    message: str
    """What the client reads when the occurrence has no better words."""
    retry: bool = False
    """Whether the same request may succeed when the client tries again."""
    elsewhere: bool = False
    """Whether another target may serve it: the router tries on."""
    cause: str
    fix: str


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One occurrence of an error, as services hand it on.

    Never carries a secret, nor an address but the client's own.
    """

    code: str
    message: str = ""
    param: str | None = None
    retry_after_ms: Millis | None = None
    elsewhere: bool = False
    status: int = 0
    """Overrides the catalogue's status where a provider's own is passed on; else 0."""
    type: str = ""
    """Overrides the catalogue's type where a provider's own is passed on."""
    provider_code: str = ""
    """The provider's own code, which the client gets instead of ours when there is one."""


_BAD = "invalid_request_error"
_SERVER = "server_error"

_ENTRIES = (
    ErrorCode(
        code="invalid_api_key", status=401, type=_BAD,
        message="Incorrect API key provided",
        cause="No key, a malformed key, or one that this gateway doesn't know.",
        fix="Send `Authorization: Bearer <key>`; look for blanks, a wrong base_url, a revoked key.",
    ),
    ErrorCode(
        code="key_not_activated", status=401, type=_BAD,
        message="This API key is not activated yet",
        cause="The key exists but its state is `not_activated`.",
        fix="Ask the operator to activate it.",
    ),
    ErrorCode(
        code="key_disabled", status=401, type=_BAD,
        message="This API key is invalid or has been revoked",
        cause="The operator disabled the key.",
        fix="Ask the operator for a new key.",
    ),
    ErrorCode(
        code="key_expired", status=401, type=_BAD,
        message="This API key has expired",
        cause="The key's expiry date has passed.",
        fix="Ask the operator for a new key.",
    ),
    ErrorCode(
        code="tenant_disabled", status=401, type=_BAD,
        message="The account that this API key belongs to has been disabled",
        cause="The key's tenant has the state `disabled`.",
        fix="Ask the operator.",
    ),
    ErrorCode(
        code="address_not_allowed", status=403, type="permission_error",
        message="This API key may not be used from this address",
        cause="The key's `addresses` don't hold the client's; over NATS no address is known.",
        fix="Use the key from an address on its list, or have the list extended; behind proxies "
        "the operator sets `trusted_proxies`.",
    ),
    ErrorCode(
        code="insufficient_role", status=403, type="permission_error",
        message="The admin key's role doesn't allow this",
        cause="The operation, or a field of it, needs a higher role: viewer, operator, admin.",
        fix="Use an admin key of that role.",
    ),
    ErrorCode(
        code="already_exists", status=409, type="conflict_error",
        message="There is an entry of that id, or with that hash, already",
        cause="Ids and hashes of keys and ids of tenants are unique.",
        fix="Choose another id, or change the entry that is there.",
    ),
    ErrorCode(
        code="read_only_entry", status=409, type="conflict_error",
        message="This entry stands in the operator's file and can only be changed there",
        cause="Entries of the configuration file aren't changed by the administration.",
        fix="Edit the file; it is adopted within a second.",
    ),
    ErrorCode(
        code="tenant_in_use", status=409, type="conflict_error",
        message="Keys name this tenant; without it they would go on without its limits",
        cause="A tenant is deleted only when no key of the file or the store names it.",
        fix="Delete its keys or give them to another tenant; `disabled` stops all of them at once.",
    ),
    ErrorCode(
        code="revision_changed", status=412, type="conflict_error",
        message="The entry has changed since it was read",
        cause="`If-Match` doesn't name the present revision: somebody else was faster.",
        fix="Read the entry again, then change it with the new `etag`.",
    ),
    ErrorCode(
        code="revision_required", status=428, type=_BAD,
        message="Send `If-Match` with the entry's etag, or `If-Match: *` to overwrite",
        cause="A change must say which revision it is meant for.",
        fix="Read the entry and send its `etag` as `If-Match`.",
    ),
    ErrorCode(
        code="audit_unavailable", status=503, type=_SERVER, retry=True,
        message="The change can't be recorded at the moment, so it was not made",
        cause="The stream AUDIT is full, missing or doesn't answer.",
        fix="Try again; operators enlarge AUDIT. A full one lets keys be disabled and deleted.",
    ),
    ErrorCode(
        code="conflicting_credentials", status=400, type=_BAD,
        message="Authorization and x-api-key carry different keys: send one of them",
        cause="Two different keys came with one request.",
        fix="Send the key once.",
    ),
    ErrorCode(
        code="too_many_failed_logins", status=429, type="rate_limit_error", retry=True,
        message="Too many requests with an invalid API key from this address",
        cause="Guessing of keys is slowed down per address.",
        fix="Correct the key, then wait a second.",
    ),
    ErrorCode(
        code="bad_request", status=400, type=_BAD,
        message="The HTTP request is malformed",
        cause="The request breaks HTTP/1.1 (RFC 9112) or is ambiguous.",
        fix="Use a standard HTTP client; one Host, one Content-Length, no bare line feeds.",
    ),
    ErrorCode(
        code="invalid_json", status=400, type=_BAD,
        message="The body is not a JSON object",
        cause="The body can't be parsed as one UTF-8 JSON object.",
        fix="Send `{...}` as UTF-8 JSON, without NaN, trailing text or lone surrogates.",
    ),
    ErrorCode(
        code="invalid_request", status=400, type=_BAD,
        message="A parameter is missing or out of range",
        cause="`param` names the field and the message what would be right.",
        fix="Correct that parameter.",
    ),
    ErrorCode(
        code="unsupported_parameter", status=400, type=_BAD,
        message="A parameter asks for what nothing here can do",
        cause="`param` names the field: no target of the model, or not this gateway, supports it.",
        fix="Leave it out, or ask another model; `models` of the configuration corrects the table.",
    ),
    ErrorCode(
        code="invalid_idempotency_key", status=400, type=_BAD,
        message="Idempotency-Key must be 1 to 255 printable ASCII characters",
        cause="The header is empty, too long or has control characters.",
        fix="Send a UUID.",
    ),
    ErrorCode(
        code="idempotency_key_reused", status=422, type=_BAD,
        message="This Idempotency-Key was used with another body",
        cause="One key names one request.",
        fix="Use a new key for a new body.",
    ),
    ErrorCode(
        code="idempotency_in_progress", status=409, type="conflict_error",
        message="A request with this Idempotency-Key is still running",
        cause="The first request under the key hasn't ended.",
        fix="Wait for it; its answer goes to whoever sent it first.",
    ),
    ErrorCode(
        code="already_completed", status=409, type="conflict_error",
        message="The request with this Idempotency-Key has already ended",
        cause="Answers aren't kept at rest, so it can't be replayed.",
        fix="Use a new key to ask again; the earlier outcome is in the ledger.",
    ),
    ErrorCode(
        code="model_not_found", status=404, type=_BAD,
        message="The model does not exist or you do not have access to it",
        cause="No route of the configuration names the model, or the key may not use it.",
        fix="`GET /v1/models` lists what the key may use.",
    ),
    ErrorCode(
        code="previous_response_not_found", status=400, type=_BAD,
        message="The response that this request goes on from is not there",
        cause="It was never stored, its time is over, or another key asked for it.",
        fix="Send the whole conversation as `input`.",
    ),
    ErrorCode(
        code="not_found", status=404, type=_BAD,
        message="There is no such object",
        cause="It was never stored, its time is over, it was deleted, or it is another key's.",
        fix="Check the id; responses asked with `store: false` aren't kept.",
    ),
    ErrorCode(
        code="unknown_url", status=404, type=_BAD,
        message="Unknown request URL",
        cause="The path isn't part of the API.",
        fix="Check base_url: it ends with /v1.",
    ),
    ErrorCode(
        code="method_not_allowed", status=405, type=_BAD,
        message="This method is not allowed here",
        cause="The path exists with another method; `Allow` lists them.",
        fix="Use a method from `Allow`.",
    ),
    ErrorCode(
        code="request_timeout", status=408, type=_BAD, retry=True,
        message="The request did not arrive in time",
        cause="Headers or body came too slowly.",
        fix="Send faster; see `header_timeout_s`, `body_base_s`, `body_min_bytes_per_s`.",
    ),
    ErrorCode(
        code="request_too_large", status=413, type=_BAD,
        message="The request body is too large",
        cause="The body exceeds `max_body_bytes`.",
        fix="Send less, or have the operator raise the limit.",
    ),
    ErrorCode(
        code="answer_too_large", status=400, type=_BAD,
        message="The answer doesn't fit one message: send the header droveway-flow, or stream",
        cause="A request over the bus wants its answer in one message; larger ones come in frames.",
        fix="Send `droveway-flow: none` and join the pieces, or set `stream`.",
    ),
    ErrorCode(
        code="uri_too_long", status=414, type=_BAD,
        message="The request URI is too long",
        cause="The request line exceeds `max_uri_bytes`.",
        fix="Send parameters in the body.",
    ),
    ErrorCode(
        code="unsupported_media_type", status=415, type=_BAD,
        message="Send application/json without a content-encoding",
        cause="Another content type, or a compressed body.",
        fix="Set `content-type: application/json`; don't compress.",
    ),
    ErrorCode(
        code="request_header_fields_too_large", status=431, type=_BAD,
        message="The request headers are too large or too many",
        cause="The header block exceeds `max_header_bytes` or `max_header_count`.",
        fix="Send fewer and smaller headers.",
    ),
    ErrorCode(
        code="not_implemented", status=501, type=_BAD,
        message="This transfer encoding is not supported",
        cause="A Transfer-Encoding other than chunked.",
        fix="Use chunked or Content-Length.",
    ),
    ErrorCode(
        code="rate_limit_exceeded", status=429, type="rate_limit_error", retry=True,
        message="Rate limit exceeded",
        cause="The key's limit on requests is used up for now.",
        fix="Wait as Retry-After says; a retry at that time passes.",
    ),
    ErrorCode(
        code="request_exceeds_limit", status=429, type="rate_limit_error",
        message="The request is larger than a limit as a whole, so it never fits",
        cause="Its input and `max_tokens` together are more than a limit on tokens allows at once.",
        fix="Lower `max_tokens` or shorten the input; or have the limit raised.",
    ),
    ErrorCode(
        code="insufficient_quota", status=429, type="insufficient_quota",
        message="You exceeded your current quota, please check your plan and billing details",
        cause="A budget of the key or its tenant is used up, or what is left can't pay for this.",
        fix="Wait for the budget's next period, or have it raised; `droveway budgets show` tells.",
    ),
    ErrorCode(
        code="connection_limit", status=503, type=_SERVER, retry=True,
        message="Too many open connections",
        cause="`max_connections` or `max_connections_per_address` is reached.",
        fix="Reuse connections; add gateways.",
    ),
    ErrorCode(
        code="service_unavailable", status=503, type=_SERVER, retry=True,
        message="The server is currently unavailable",
        cause="No router answered, or the bus is down.",
        fix="Try again as Retry-After says; operators see `/readyz`.",
    ),
    ErrorCode(
        code="limiter_unavailable", status=503, type=_SERVER, retry=True,
        message="The limiter is currently unavailable",
        cause="No limiter decided in time; without a decision nothing is spent.",
        fix="Try again; operators see the limiter's `/readyz`.",
    ),
    ErrorCode(
        code="ledger_unavailable", status=503, type=_SERVER, retry=True,
        message="Usage can't be recorded at the moment",
        cause="The spool of usage rows is full since the stream takes none.",
        fix="Try again; operators look at JetStream's storage.",
    ),
    ErrorCode(
        code="reports_unavailable", status=503, type=_SERVER, retry=True,
        message="Nobody can tell what was used at the moment",
        cause="No metrics service answered within a second, or its database didn't.",
        fix="Try again; operators see the metrics service's `/readyz`.",
    ),
    ErrorCode(
        code="overloaded", status=503, type=_SERVER, retry=True,
        message="Too many requests are running",
        cause="A bound on requests in flight, or on those that wait for room, is reached; or its "
        "turn wouldn't have come in time.",
        fix="Try again as Retry-After says; add replicas, or capacity at the providers.",
    ),
    ErrorCode(
        code="provider_busy", status=503, type=_SERVER, retry=True, elsewhere=True,
        message="All connections to the provider are in use",
        cause="The callers' bound for the provider, or a limit of its credential, is reached, and "
        "no place was free within `queue_s`.",
        fix="Try again; raise `max_in_flight`, add callers, credentials or targets.",
    ),
    ErrorCode(
        code="server_shutting_down", status=503, type=_SERVER, retry=True,
        message="The server is shutting down",
        cause="This replica is being replaced.",
        fix="Try again: another replica answers.",
    ),
    ErrorCode(
        code="provider_rate_limited", status=429, type="rate_limit_error", retry=True,
        elsewhere=True,
        message="The provider's rate limit is exceeded",
        cause="The provider answered 429.",
        fix="Wait as Retry-After says; add credentials or targets.",
    ),
    ErrorCode(
        code="provider_unavailable", status=503, type=_SERVER, retry=True, elsewhere=True,
        message="The provider is unavailable",
        cause="It can't be reached, or it answered with a server error.",
        fix="Try again; add a second target to the route.",
    ),
    ErrorCode(
        code="provider_auth_error", status=502, type=_SERVER, elsewhere=True,
        message="The provider refused the gateway's own credential",
        cause="The provider answered 401, 402 or 403 to the operator's key.",
        fix="The operator checks the credential and its account.",
    ),
    ErrorCode(
        code="provider_rejected", status=400, type=_BAD,
        message="The provider rejected the request",
        cause="The provider answered with a client error; its message is passed on.",
        fix="Correct the request as the message says.",
    ),
    ErrorCode(
        code="bad_upstream", status=502, type=_SERVER, elsewhere=True,
        message="The provider's answer could not be understood",
        cause="It was no JSON, no event stream, compressed, or larger than the caps.",
        fix="Check the provider's base_url.",
    ),
    ErrorCode(
        code="provider_no_response", status=502, type=_SERVER, retry=True, elsewhere=True,
        message="The provider closed the connection without an answer",
        cause="The connection ended after the request was sent.",
        fix="Try again; the provider may have billed the attempt.",
    ),
    ErrorCode(
        code="provider_timeout", status=504, type="timeout_error", retry=True, elsewhere=True,
        message="The provider did not answer in time",
        cause="No first token within the limit.",
        fix="Try again, raise `first_token_s`, or add a target.",
    ),
    ErrorCode(
        code="deadline_exceeded", status=504, type="timeout_error", retry=True,
        message="The request's deadline has passed",
        cause="The time that the client or the operator allows is over.",
        fix="Allow more time.",
    ),
    ErrorCode(
        code="stream_interrupted", status=502, type=_SERVER, retry=True,
        message="The answer was cut before its end",
        cause="The provider's connection or the caller ended in the middle of the answer.",
        fix="Ask again; what was received is a true prefix.",
    ),
    ErrorCode(
        code="stream_stalled", status=504, type="timeout_error", retry=True,
        message="The provider stopped sending in the middle of the answer",
        cause="No byte for `idle_s`.",
        fix="Ask again; what was received is a true prefix.",
    ),
    ErrorCode(
        code="all_targets_failed", status=503, type=_SERVER,
        message="All API providers failed",
        cause="Every target of the route failed before its first token; `details` lists them.",
        fix="See each attempt's code; `droveway trace <request id>` shows the times.",
    ),
    ErrorCode(
        code="targets_disabled", status=503, type=_SERVER,
        message="An operator has disabled every provider that serves this model",
        cause="All targets of the route, and of its fallbacks, were switched off.",
        fix="`droveway providers list` says by whom and why; `droveway providers enable` ends it.",
    ),
    ErrorCode(
        code="client_closed_request", status=499, type=_BAD,
        message="The client closed the connection",
        cause="Recorded when a client leaves before the end; nobody reads it.",
        fix="Nothing.",
    ),
    ErrorCode(
        code="internal_error", status=500, type=_SERVER, retry=True,
        message="The server had an error while processing the request",
        cause="A bug of ours.",
        fix="Report it with the request id.",
    ),
)  # fmt: skip

CATALOGUE: dict[str, ErrorCode] = {entry.code: entry for entry in _ENTRIES}
"""Every error code by its name."""


def failure(
    code: str,
    message: str = "",
    *,
    param: str | None = None,
    retry_after_ms: int | None = None,
    status: int = 0,
    type_: str = "",
    provider_code: str = "",
) -> Failure:
    """Builds an occurrence of `code`.

    Raises:
        KeyError: `code` isn't in the catalogue.
    """
    entry = CATALOGUE[code]
    return Failure(
        code=code,
        message=message or entry.message,
        param=param,
        retry_after_ms=retry_after_ms,
        elsewhere=entry.elsewhere,
        status=status,
        type=type_,
        provider_code=provider_code,
    )


def status_of(occurrence: Failure) -> int:
    """The HTTP status that `occurrence` has before the first byte."""
    return occurrence.status or CATALOGUE[occurrence.code].status
