"""What an operator may turn: `DROVEWAY_GATEWAY_<FIELD>`."""

from typing import Annotated

import msgspec

from droveway.contracts.client import MAX_MESSAGE_BYTES
from droveway.contracts.jetstream import MAX_RESPONSE_BYTES
from droveway.runtime.settings import Count, DrainingSettings, Port, Seconds


class GatewaySettings(DrainingSettings, frozen=True, kw_only=True):
    """The gateway's settings; the HTTP edge's own bounds are fields of `HttpLimits`."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` in a container."""
    port: Port = 8080
    """Port to listen on; 0: any free one."""
    request_timeout_s: Seconds = 600.0
    """The longest that a request may take; `x-request-timeout` (seconds) can only shorten it."""
    first_token_s: Seconds = 20.0
    """One attempt's time to its first token; at most 40 % of the client's announced time-out."""
    first_comment_s: Seconds = 10.0
    """A streaming client that waits this long gets its headers and a comment, then one each."""
    max_queue_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 30.0
    """The most that a client's `x-droveway-max-queue-ms` can ask for: time in which its request may
    wait for room in its own limits."""
    max_open_requests: Count = 2_000
    """Requests in flight; beyond it 503 `overloaded`."""
    max_held_bytes: Count = 512 * 1024 * 1024
    """Request bodies in memory, from their first byte to the answer's end; beyond it 503
    `overloaded`."""
    max_message_bytes: Annotated[int, msgspec.Meta(ge=1024, le=MAX_MESSAGE_BYTES)] = (
        MAX_MESSAGE_BYTES
    )
    """A request over the bus, beyond it 413; and an answer that comes in one message, beyond it 400
    `answer_too_large`."""
    max_key_requests_per_s: Count = 500
    """Requests of one key over the bus to one gateway in a second; beyond it 503 `overloaded`, and
    beyond twice as many no answer."""
    max_key_open_requests: Count = 500
    """Requests of one key over the bus that one gateway has open; beyond it 503 `overloaded`."""
    client_stall_s: Seconds = 30.0
    """A client on the bus that grants no credit for this long, while frames wait for it, is cut."""
    spool_rows: Count = 10_000
    """Usage rows that may wait for JetStream; when full 503 `ledger_unavailable`."""
    store_responses: bool = True
    """Whether responses are kept unless a request says `store: false`; if not, none is, and
    `previous_response_id` is refused with 400 `unsupported_parameter`."""
    max_stored_bytes: Annotated[int, msgspec.Meta(ge=1024, le=MAX_RESPONSE_BYTES)] = 512 * 1024
    """A stored response with its conversation; a larger one is answered with a warning and not
    kept. How long they are kept, and how many, is set for the set-up job."""
    failed_logins_per_s: Count = 20
    """Requests with an unknown key per address and second, five seconds' worth at once; then 429
    before any hashing, while keys that bear a known id are still looked at."""
    admin_changes_per_s: Count = 10
    """Changes by one admin key through one gateway in a second, five seconds' worth at once; then
    429 `rate_limit_exceeded`."""
    accepted_key_prefixes: str = ""
    """Beginnings of keys that are looked up at all, with commas: `dw_,sk-`; empty: any."""
    key_min_length: Count = 20
    """A shorter string is no key, whatever the configuration says."""
    trusted_proxies: str = ""
    """Networks, with commas, of proxies whose `X-Forwarded-For` is believed; empty: none. It
    decides the address that a key's `addresses` and the slowing of guesses go by."""
    metrics_addresses: str = ""
    """Networks, with commas, of who may read `GET /api/metrics` on the client port; empty: nobody
    but admins. `/metrics` of the admin port is the same, and open to whoever reaches that."""
    compat: Annotated[str, msgspec.Meta(pattern=r"^(seeds)?$(?!\n)")] = ""
    """Whose habits beyond the API are met. `seeds`: whole answers of chat completions and responses
    over HTTP also have `usage.total_duration` (milliseconds), which some sample programs read."""
    max_models_labels: Annotated[int, msgspec.Meta(ge=1)] = 200
    """Distinct model names in metric labels besides those of the configuration; further ones count
    as `other`."""
    max_destinations_labels: Annotated[int, msgspec.Meta(ge=1)] = 50
    """The same of providers."""
    max_connections: Count = 2_000
    """Open HTTP connections; beyond it 503 `connection_limit`."""
    max_connections_per_address: Annotated[int, msgspec.Meta(ge=0)] = 500
    """Open HTTP connections per client address; 0: no bound, for a gateway behind one proxy."""
    max_body_bytes: Count = 20 * 1024 * 1024
    """Request body; beyond it 413."""
    connect_idle_s: Seconds = 10.0
    """A new connection that sends nothing for this long is closed."""
    body_base_s: Seconds = 10.0
    """For any request body to arrive; then 408, unless `body_min_bytes_per_s` allows more."""
    body_min_bytes_per_s: Count = 64 * 1024
    """A body that keeps up this rate may take longer than `body_base_s`."""
    header_timeout_s: Seconds = 10.0
    """For a request's headers to arrive; then 408."""
    keep_alive_idle_s: Seconds = 75.0
    """How long an idle connection is kept."""
    write_stall_s: Seconds = 30.0
    """A client that takes nothing for this long is cut."""
