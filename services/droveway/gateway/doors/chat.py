"""What all doors do with a chat completion: check it, hold it, ask for its answer, once.

A door brings bytes and headers in and an answer out; everything between is here, so that a request
is refused, counted, limited and remembered alike by whichever way it came.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from droveway.contracts import relay
from droveway.contracts.config import Key
from droveway.contracts.errors import failure
from droveway.contracts.inference import Body, InferenceRequested, Needs
from droveway.dialects import openai_chat
from droveway.gateway.auth import RawHeaders, may_use
from droveway.gateway.doors.held import HeldBytes
from droveway.gateway.idempotency import Idempotency
from droveway.gateway.journal import Journal
from droveway.gateway.json_caps import BadRequest, JsonCaps, check_chat_request, read_json_object
from droveway.gateway.live_routers import LiveRouters
from droveway.gateway.pending import AskFailed, Pending
from droveway.gateway.refusal import Refusal, refuse
from droveway.gateway.settings import GatewaySettings
from droveway.otel.context import format_traceparent
from droveway.runtime.bus import Bus
from droveway.runtime.deadline import Deadline
from droveway.runtime.relay import RelayHub
from droveway.runtime.spool import Spool

_CLIENT_SHARE = 0.4
"""Of the time-out that a client announces: what one attempt may take to its first token."""
_MAX_TIMEOUT_S = 86_400.0

Answer = Callable[[Pending], Awaitable[None]]
"""A door's own part: takes the frames of a request that was published, answers the client."""


class Options(NamedTuple):
    """What a client says beside the body."""

    token: bytes | None
    """Its `Idempotency-Key`."""
    deadline: Deadline
    first_token_s: float


class Chat:
    """Serves chat completions for all doors of one gateway, whose bounds they share."""

    def __init__(
        self,
        bus: Bus,
        hub: RelayHub,
        spool: Spool,
        settings: GatewaySettings,
        serves: Callable[[str], bool],
    ) -> None:
        self._bus = bus
        self._hub = hub
        self._spool = spool
        self._settings = settings
        self._serves = serves
        self._idempotency = Idempotency(bus, settings.request_timeout_s)
        self._caps = JsonCaps()
        self._routers = LiveRouters()
        self.open_requests = 0
        self.held = HeldBytes(settings.max_held_bytes)

    def options(self, headers: RawHeaders) -> Options:
        """Reads the headers (names in lower case) that both doors know; its clock starts here.

        Raises:
            Refusal: 400 for an `Idempotency-Key` that can't be one; else what is wrong is ignored.
        """
        asked = _seconds(headers, b"x-request-timeout")
        announced = _seconds(headers, b"x-stainless-read-timeout")
        allowed_s, first_s = self._settings.request_timeout_s, self._settings.first_token_s
        return Options(
            Idempotency.token(headers),
            Deadline.after_ms((allowed_s if asked is None else min(allowed_s, asked)) * 1000),
            first_s if announced is None else min(first_s, _CLIENT_SHARE * announced),
        )

    async def serve(
        self, body: bytes, options: Options, journal: Journal, key: Key, answer: Answer
    ) -> None:
        """Checks the body, publishes the request and lets `answer` take it from there.

        Raises:
            Refusal: An error is to be answered, in band if the answer has begun.
            ClientGone: The client has left.
        """
        request = self._checked(body, journal, key)
        if self._spool.full:
            raise refuse("ledger_unavailable")
        if self.open_requests >= self._settings.max_open_requests:
            raise refuse("overloaded")
        self.open_requests += 1
        try:
            async with self._idempotency.claim(key.id, options.token, body) as claim:
                try:
                    message = self._message(request, body, options, journal, key)
                    claim.outcome = "cancelled"  # however it is left from here, it may have cost
                    await self._run(message, options.deadline, journal, answer)
                except Refusal as refusal:
                    if refusal.final or not journal.accepted:
                        claim.outcome = journal.outcome  # nothing runs any more
                    raise
                claim.outcome = journal.outcome
        finally:
            self.open_requests -= 1

    def _checked(self, body: bytes, journal: Journal, key: Key) -> dict[str, Any]:
        try:
            request = read_json_object(body, self._caps)
            journal.stream = request.get("stream") is True
            check_chat_request(request, self._caps)
        except BadRequest as error:
            raise Refusal(failure(error.code, str(error), param=error.param)) from None
        model: str = request["model"]
        if not self._serves(model) or not may_use(key, model):
            text = f"The model `{model[:100]}` does not exist or you do not have access to it."
            raise refuse("model_not_found", text, param="model")
        journal.model = model
        return request

    def _message(
        self, request: dict[str, Any], body: bytes, options: Options, journal: Journal, key: Key
    ) -> InferenceRequested:
        streaming = request.get("stream_options") or {}
        limit = request.get("max_completion_tokens") or request.get("max_tokens")
        return InferenceRequested(
            request_id=journal.request_id,
            relay_id=bytes(16),  # each publication gets its own
            door=self._bus.instance,
            traceparent=format_traceparent(journal.enqueue_span),
            tenant=key.tenant,
            key_id=key.id,
            dialect=openai_chat.DIALECT,
            model=journal.model,
            stream=journal.stream,
            include_usage=streaming.get("include_usage") is True,
            body=self._carried(body),
            needs=_needs(request),
            input_estimate_tokens=len(body) // 4,
            max_output_tokens=limit,
            remaining_ms=0,  # set at each publication
            first_token_ms=int(options.first_token_s * 1000),
        )

    def _carried(self, body: bytes) -> Body:
        """The body in the message, or kept here for the caller to pull."""
        if len(body) <= relay.INLINE_BYTES:
            return Body(size_bytes=len(body), inline=body)
        relay_id = self._hub.offer(body)
        return Body(size_bytes=len(body), pull_from=self._bus.instance, relay_id=relay_id)

    async def _run(
        self, message: InferenceRequested, deadline: Deadline, journal: Journal, answer: Answer
    ) -> None:
        pending = Pending(self._bus, self._hub, self._routers, message, deadline)
        try:
            pending.publish()
            journal.mark("enqueued")
            await answer(pending)
        except AskFailed as error:
            journal.attempts = max(journal.attempts, len(error.tried))
            raise Refusal(error.failure, error.tried, final=error.by_router) from None
        finally:
            journal.accepted = pending.accepted
            if pending.accepted:
                journal.mark("accepted", pending.accepted_s)
            journal.window = pending.window
            pending.close()


def _seconds(headers: RawHeaders, header: bytes) -> float | None:
    """A positive, finite number of seconds; anything else counts as not said."""
    text = next((value for name, value in headers if name == header), b"")
    with contextlib.suppress(ValueError):
        value = float(text.decode("latin-1")) if text else 0.0
        if 0 < value < _MAX_TIMEOUT_S:
            return value
    return None


def _needs(request: dict[str, Any]) -> Needs:
    shape = request.get("response_format")
    return Needs(
        tools=bool(request.get("tools")),
        images=any(
            isinstance(part, dict) and part.get("type") == "image_url"
            for message in request["messages"]
            if isinstance(message, dict) and isinstance(message.get("content"), list)
            for part in message["content"]
        ),
        json_schema=isinstance(shape, dict) and shape.get("type") == "json_schema",
        prefill=request["messages"][-1].get("role") == "assistant",
    )
