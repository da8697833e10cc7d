"""`POST /v1/chat/completions`: from the client's bytes to the last byte of its answer."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from droveway.contracts import relay
from droveway.contracts.config import Key
from droveway.contracts.errors import failure
from droveway.contracts.inference import Body, InferenceRequested, Needs
from droveway.dialects import openai_chat
from droveway.gateway.auth import may_use
from droveway.gateway.doors.answering import answer_stream, answer_whole
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.doors.held import HeldBytes
from droveway.gateway.idempotency import Idempotency
from droveway.gateway.journal import Journal
from droveway.gateway.json_caps import BadRequest, JsonCaps, check_chat_request, read_json_object
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


class ChatDoor:
    """Answers chat completions; one instance per gateway."""

    def __init__(
        self,
        bus: Bus,
        hub: RelayHub,
        spool: Spool,
        settings: GatewaySettings,
        tasks: asyncio.TaskGroup,
        serves: Callable[[str], bool],
    ) -> None:
        self._bus = bus
        self._hub = hub
        self._spool = spool
        self._settings = settings
        self._tasks = tasks
        self._serves = serves
        self._idempotency = Idempotency(bus, settings.request_timeout_s)
        self._caps = JsonCaps()
        self.open_requests = 0
        self.held = HeldBytes(settings.max_held_bytes)

    async def serve(self, exchange: Exchange, journal: Journal, key: Key) -> None:
        """Answers one request.

        Raises:
            Refusal: Nothing was sent yet: an error is to be answered.
            ClientGone: The client has left.
        """
        exchange.check_json()
        token = self._idempotency.token(exchange.raw_headers)
        deadline = Deadline.after_ms(self._timeout_s(exchange) * 1000)
        with self.held.share() as share:
            body = await exchange.body(share.grow)
            journal.mark("body")
            await self._serve_body(body, token, deadline, exchange, journal, key)

    async def _serve_body(
        self,
        body: bytes,
        token: bytes | None,
        deadline: Deadline,
        exchange: Exchange,
        journal: Journal,
        key: Key,
    ) -> None:
        request = self._checked(body, journal, key)
        if self._spool.full:
            raise refuse("ledger_unavailable")
        if self.open_requests >= self._settings.max_open_requests:
            raise refuse("overloaded")
        self.open_requests += 1
        try:
            async with self._idempotency.claim(key.id, token, body) as claim:
                try:
                    message = self._message(request, body, exchange, journal, key)
                    claim.outcome = "cancelled"  # however it is left from here, it may have cost
                    await self._run(message, deadline, exchange, journal)
                except Refusal:
                    claim.outcome = journal.outcome
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
        self, request: dict[str, Any], body: bytes, exchange: Exchange, journal: Journal, key: Key
    ) -> InferenceRequested:
        options = request.get("stream_options") or {}
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
            include_usage=options.get("include_usage") is True,
            body=self._carried(body),
            needs=_needs(request),
            input_estimate_tokens=len(body) // 4,
            max_output_tokens=limit,
            remaining_ms=0,  # set at each publication
            first_token_ms=int(self._first_token_s(exchange) * 1000),
        )

    def _carried(self, body: bytes) -> Body:
        """The body in the message, or kept here for the caller to pull."""
        if len(body) <= relay.INLINE_BYTES:
            return Body(size_bytes=len(body), inline=body)
        relay_id = self._hub.offer(body)
        return Body(size_bytes=len(body), pull_from=self._bus.instance, relay_id=relay_id)

    async def _run(
        self,
        message: InferenceRequested,
        deadline: Deadline,
        exchange: Exchange,
        journal: Journal,
    ) -> None:
        pending = Pending(self._bus, self._hub, message, deadline)
        watch = self._tasks.create_task(_watch(exchange, pending))
        try:
            pending.publish()
            journal.mark("enqueued")
            if message.stream:
                await answer_stream(pending, self._settings.first_comment_s, exchange, journal)
            else:
                await answer_whole(pending, deadline, exchange, journal)
        except AskFailed as error:
            journal.attempts = max(journal.attempts, len(error.tried))
            raise Refusal(error.failure, error.tried) from None
        finally:
            watch.cancel()
            journal.accepted = pending.accepted
            if pending.accepted:
                journal.mark("accepted", pending.accepted_s)
            journal.window = pending.window
            pending.close()

    def _timeout_s(self, exchange: Exchange) -> float:
        asked = _seconds(exchange.text(b"x-request-timeout"))
        allowed = self._settings.request_timeout_s
        return allowed if asked is None else min(allowed, asked)

    def _first_token_s(self, exchange: Exchange) -> float:
        announced = _seconds(exchange.text(b"x-stainless-read-timeout"))
        allowed = self._settings.first_token_s
        return allowed if announced is None else min(allowed, _CLIENT_SHARE * announced)


async def _watch(exchange: Exchange, pending: Pending) -> None:
    """Tells the pending request when its client leaves, in both modes."""
    await exchange.wait_gone()
    pending.client_gone()


def _seconds(text: str | None) -> float | None:
    """A positive, finite number of seconds; anything else counts as not said."""
    with contextlib.suppress(ValueError):
        value = float(text) if text else 0.0
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
