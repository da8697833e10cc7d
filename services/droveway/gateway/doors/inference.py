"""What all doors do with a request for inference: check it, hold it, ask for its answer, once.

A door brings bytes and headers in and an answer out; everything between is here, so that a request
is refused, counted, limited and remembered alike by whichever way it came.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec

from droveway.contracts import relay
from droveway.contracts.access import Key
from droveway.contracts.inference import Body, InferenceRequested, user_hash
from droveway.dialects.capability import needs_of
from droveway.dialects.estimate import body_tokens
from droveway.gateway.adaptation import Adaptation
from droveway.gateway.adapted import Frames
from droveway.gateway.adapters import Adapters
from droveway.gateway.auth import RawHeaders
from droveway.gateway.continuing import Continuing
from droveway.gateway.doors.held import HeldBytes
from droveway.gateway.doors.options import Options, read_options
from droveway.gateway.idempotency import Idempotency
from droveway.gateway.journal import Journal
from droveway.gateway.json_caps import JsonCaps, read_json_object
from droveway.gateway.live_routers import LiveRouters
from droveway.gateway.operations import Asked, Operation, user_of
from droveway.gateway.pending import AskFailed, Pending
from droveway.gateway.prompt_prefix import PromptPrefixes
from droveway.gateway.refusal import Refusal, no_such_model, refuse, refusing
from droveway.gateway.remainder import Original
from droveway.gateway.settings import GatewaySettings
from droveway.otel.context import format_traceparent
from droveway.runtime.bus import Bus
from droveway.runtime.deadline import Deadline
from droveway.runtime.relay import RelayHub
from droveway.runtime.spool import Spool

encode_json = msgspec.json.Encoder().encode
Answer = Callable[[Frames], Awaitable[None]]
"""A door's own part: takes the frames of a request that was published, answers the client."""


class Inference:
    """Serves requests for all doors of one gateway, whose bounds they share."""

    def __init__(
        self,
        bus: Bus,
        hub: RelayHub,
        spool: Spool,
        settings: GatewaySettings,
        allows: Callable[[Key, str], bool],
        adapters: Adapters,
        prefixes: PromptPrefixes,
    ) -> None:
        self._bus = bus
        self._hub = hub
        self._spool = spool
        self._settings = settings
        self._allows = allows
        self._adapters = adapters
        self._prefixes = prefixes
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
        return read_options(headers, self._settings)

    async def serve(
        self, operation: Operation, body: bytes, options: Options, journal: Journal, key: Key,
        answer: Answer,
    ) -> None:  # fmt: skip
        """Checks the body, publishes the request and lets `answer` take it from there.

        Raises:
            Refusal: An error is to be answered, in band if the answer has begun.
            ClientGone: The client has left.
        """
        request, asked = self._checked(operation, body, journal, key)
        with self._opened():
            async with self._idempotency.claim(
                key.id, options.token, operation.name, body
            ) as claim:
                try:
                    adaptation = await self._adapted(operation, request, key)
                    if adaptation is not None:
                        request = adaptation.request
                        journal.warnings = adaptation.warnings
                        body = encode_json(request)
                        asked = asked._replace(needs=needs_of(request))
                    asked = asked._replace(prefix=self._prefixes.of(key.tenant, request))
                    message = self._message(operation, asked, body, options, journal, key)
                    claim.outcome = "cancelled"  # however it is left from here, it may have cost
                    await self._run(message, body, options.deadline, journal, answer, adaptation)
                except Refusal as refusal:
                    if refusal.final or not journal.accepted:
                        claim.outcome = journal.outcome  # nothing runs any more
                    raise
                claim.outcome = journal.outcome

    async def ask(
        self, operation: Operation, asked: Asked, body: bytes, options: Options, journal: Journal,
        key: Key, answer: Answer,
    ) -> None:  # fmt: skip
        """The same for a request that was checked, and that may be asked twice.

        Raises:
            Refusal: There is no answer.
            ClientGone: The client has left.
        """
        with self._opened():
            message = self._message(operation, asked, body, options, journal, key)
            await self._run(message, body, options.deadline, journal, answer, None)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        if self._spool.full:
            raise refuse("ledger_unavailable")
        if self.open_requests >= self._settings.max_open_requests:
            raise refuse("overloaded")
        self.open_requests += 1
        try:
            yield
        finally:
            self.open_requests -= 1

    def _checked(
        self, operation: Operation, body: bytes, journal: Journal, key: Key
    ) -> tuple[dict[str, Any], Asked]:
        with refusing():
            request = read_json_object(body, self._caps)
            journal.stream = request.get("stream") is True
            asked = operation.read(request)
        asked = asked._replace(user=user_of(operation, request))
        journal.stream = asked.stream
        model: str = request["model"]
        if not self._allows(key, model):
            raise no_such_model(model)
        journal.model = model
        return request, asked

    async def _adapted(
        self, operation: Operation, request: dict[str, Any], key: Key
    ) -> Adaptation | None:
        if not operation.adapted:
            return None
        with refusing():
            return await self._adapters.adapt(operation, request, key)

    def _message(
        self, operation: Operation, asked: Asked, body: bytes, options: Options, journal: Journal,
        key: Key,
    ) -> InferenceRequested:  # fmt: skip
        return InferenceRequested(
            request_id=journal.request_id,
            relay_id=bytes(16),  # each publication gets its own
            door=self._bus.instance,
            traceparent=format_traceparent(journal.enqueue_span),
            tenant=key.tenant,
            key_id=key.id,
            dialect=operation.dialect,
            api_version=options.api_version,
            api_features=options.api_features,
            model=journal.model,
            stream=journal.stream,
            include_usage=asked.include_usage,
            body=self._carried(body),
            needs=asked.needs,
            input_estimate_tokens=0 if operation.free else body_tokens(body),
            max_output_tokens=asked.max_output_tokens,
            choices=asked.choices,
            user=user_hash(key.tenant, user=asked.user or options.user, key_id=key.id),
            prefix=asked.prefix,
            region=options.region,
            max_queue_ms=_max_queue_ms(options, key),
            remaining_ms=0,  # set at each publication
            first_token_ms=int(options.first_token_s * 1000),
            idle_ms=None if options.idle_s is None else int(options.idle_s * 1000),
        )

    def _carried(self, body: bytes) -> Body:
        """The body in the message, or kept here for the caller to pull."""
        if len(body) <= relay.INLINE_BYTES:
            return Body(size_bytes=len(body), inline=body)
        relay_id = self._hub.offer(body)
        return Body(size_bytes=len(body), pull_from=self._bus.instance, relay_id=relay_id)

    async def _run(
        self, message: InferenceRequested, body: bytes, deadline: Deadline, journal: Journal,
        answer: Answer, adaptation: Adaptation | None,
    ) -> None:  # fmt: skip
        journal.input_estimate_tokens = message.input_estimate_tokens

        def ask(request: InferenceRequested) -> Pending:
            return Pending(self._bus, self._hub, self._routers, request, deadline)

        pending = Continuing(ask, Original(message, body, self._carried), journal)
        try:
            pending.publish()
            journal.mark("enqueued")
            await answer(pending if adaptation is None else adaptation.over(pending, journal))
        except AskFailed as error:
            journal.saw_failed(error.tried)
            raise Refusal(
                error.failure, error.tried, final=error.by_router, spent=error.spent
            ) from None
        finally:
            journal.accepted = pending.accepted
            if pending.accepted:
                journal.mark("accepted", pending.accepted_s)
            journal.standing = pending.standing
            pending.close()


def _max_queue_ms(options: Options, key: Key) -> int | None:
    """As the client says, else as its key does; None: it doesn't wait for its own limits."""
    if options.max_queue_ms is not None or not key.queue_s:
        return options.max_queue_ms
    return int(key.queue_s * 1000)
