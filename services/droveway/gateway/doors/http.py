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
from droveway.gateway import answers, sse
from droveway.gateway.answers import Headers
from droveway.gateway.auth import may_use
from droveway.gateway.doors.exchange import Exchange
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

_COMPLETIONS = "chat.completions"
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
        self.held_bytes = 0

    async def serve(self, exchange: Exchange, journal: Journal, key: Key) -> None:
        """Answers one request.

        Raises:
            Refusal: Nothing was sent yet: an error is to be answered.
            ClientGone: The client has left.
        """
        exchange.check_json()
        token = self._idempotency.token(exchange.raw_headers)
        deadline = Deadline.after_ms(self._timeout_s(exchange) * 1000)
        body = await exchange.body()
        journal.mark("body")
        request = self._checked(body, journal, key)
        if self._spool.full:
            raise refuse("ledger_unavailable")
        if self.open_requests >= self._settings.max_open_requests:
            raise refuse("overloaded")
        async with self._idempotency.claim(key.id, token, body) as claim:
            self.open_requests += 1
            try:
                message = self._message(request, body, exchange, journal, key)
                claim.outcome = "cancelled"  # however it is left from here on, it may have cost
                await self._run(message, deadline, exchange, journal)
                claim.outcome = journal.outcome
            except Refusal:
                claim.outcome = journal.outcome
                raise
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
        if self.held_bytes + len(body) > self._settings.max_held_bytes:
            raise refuse("overloaded")
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
        self.held_bytes += message.body.size_bytes
        watch = self._tasks.create_task(_watch(exchange, pending))
        try:
            pending.publish()
            journal.mark("enqueued")
            if message.stream:
                await self._stream(pending, exchange, journal)
            else:
                await self._whole(pending, deadline, exchange, journal)
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
            self.held_bytes -= message.body.size_bytes

    async def _whole(
        self, pending: Pending, deadline: Deadline, exchange: Exchange, journal: Journal
    ) -> None:
        frame = await pending.first(deadline.remaining_s() + 1)
        pieces: list[bytes] = []
        while not isinstance(frame, relay.Completed):
            if isinstance(frame, relay.Interrupted):
                journal.end(frame)
                raise Refusal(frame.failure)
            if frame is not None:
                journal.saw(frame.origin)
                pieces.extend(frame.events)
            frame = await pending.next(deadline.remaining_s() + 1)
        journal.saw(frame.origin)
        journal.end(frame)
        body = b"".join((*pieces, frame.body))
        journal.answer_bytes, journal.events = len(body), 1
        journal.status = 200
        headers = [*_served_headers(journal, pending), *_usage_headers(frame.usage)]
        journal.mark("first_byte")
        await exchange.answer(200, body, headers)

    async def _stream(self, pending: Pending, exchange: Exchange, journal: Journal) -> None:
        patience_s = self._settings.first_comment_s
        frame = await pending.first(patience_s)
        if isinstance(frame, relay.Interrupted):
            journal.end(frame)
            raise Refusal(frame.failure)
        journal.status = 200
        if frame is None:
            await exchange.start(200, [*sse.HEADERS, *answers.window_headers(pending.window)])
            while frame is None:
                await exchange.write(sse.KEEP_ALIVE)
                frame = await pending.first(patience_s)
        else:
            journal.saw(_origin(frame))
            await exchange.start(200, [*sse.HEADERS, *_served_headers(journal, pending)])
        while True:
            data, terminal = _gather(frame, pending, journal) if frame else (sse.KEEP_ALIVE, None)
            if isinstance(terminal, relay.Interrupted):
                journal.end(terminal)
                await exchange.write(data + sse.frame([answers.error_body(terminal.failure)]))
                return  # the body stays without its last chunk: no client takes it for whole
            if terminal is not None:
                journal.end(terminal)
                await exchange.write(data + sse.DONE, last=True)
                return
            await exchange.write(data)
            journal.mark("first_byte")
            frame = await pending.next(patience_s)

    def _timeout_s(self, exchange: Exchange) -> float:
        asked = _seconds(exchange.text(b"x-request-timeout"))
        allowed = self._settings.request_timeout_s
        return allowed if asked is None else min(allowed, asked)

    def _first_token_s(self, exchange: Exchange) -> float:
        announced = _seconds(exchange.text(b"x-stainless-read-timeout"))
        allowed = self._settings.first_token_s
        return allowed if announced is None else min(allowed, _CLIENT_SHARE * announced)


def _gather(
    frame: relay.Frame, pending: Pending, journal: Journal
) -> tuple[bytes, relay.Completed | relay.Interrupted | None]:
    """All frames that are there, as one write, and the terminal if it is among them."""
    pieces: list[bytes] = []
    ready: relay.Frame | None = frame
    terminal: relay.Completed | relay.Interrupted | None = None
    while ready is not None:
        if not isinstance(ready, relay.Chunk):
            terminal = ready
            break
        if ready.origin is not None:
            journal.saw(ready.origin)
        pieces.append(sse.frame(ready.events))
        journal.events += len(ready.events)
        ready = pending.next_ready()
    data = b"".join(pieces)
    journal.answer_bytes += len(data)
    return data, terminal


async def _watch(exchange: Exchange, pending: Pending) -> None:
    """Tells the pending request when its client leaves, in both modes."""
    await exchange.wait_gone()
    pending.client_gone()


def _origin(frame: relay.Frame) -> relay.Origin | None:
    return None if isinstance(frame, relay.Interrupted) else frame.origin


def _served_headers(journal: Journal, pending: Pending) -> Headers:
    headers = answers.window_headers(pending.window)
    elapsed_us = journal.elapsed_us()
    headers.append((b"openai-processing-ms", b"%d" % (elapsed_us // 1000)))
    headers.append((b"x-droveway-trace-id", journal.span.trace_id.hex().encode()))
    if (origin := journal.origin) is not None:
        overhead_us = max(0, elapsed_us - origin.upstream_us)
        headers += [
            (b"x-droveway-provider", origin.provider.encode()),
            (b"x-droveway-model", _header_value(origin.model)),
            (b"x-droveway-attempts", b"%d" % origin.attempt),
            (b"x-droveway-overhead-ms", b"%.2f" % (overhead_us / 1000)),
        ]
    return headers


def _usage_headers(usage: relay.Usage) -> Headers:
    return [(b"x-droveway-cached-tokens", b"%d" % usage.cache_read_tokens)]


def _header_value(text: str) -> bytes:
    """A provider's words as a header value: printable ASCII, bounded."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:200]).encode()


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
