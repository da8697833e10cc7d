"""The upstream call itself: one request out, its answer checked, committed and relayed."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import NoReturn

import msgspec

from droveway.caller.answers import Gathered, answer_for
from droveway.caller.attempt import AttemptRecord
from droveway.caller.credential_limits import CredentialLimits
from droveway.caller.delivery import CallFailed, Delivery
from droveway.caller.failures import failure_of_status
from droveway.caller.outgoing import Outgoing, outgoing
from droveway.caller.phases import Phases
from droveway.caller.sse_parser import SseCaps, SseParser
from droveway.caller.upstream_errors import UpstreamError
from droveway.caller.upstream_response import UpstreamResponse
from droveway.caller.upstreams import Found
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.errors import Failure, failure
from droveway.dialects import dialect
from droveway.dialects.chat import passing as openai_chat
from droveway.dialects.estimate import body_tokens
from droveway.dialects.events import InBandError
from droveway.dialects.repaired import is_text, repaired
from droveway.dialects.untranslatable import Untranslatable
from droveway.runtime.relay import Sender

MAX_ERROR_BYTES = 256 * 1024
MAX_EVENT_BYTES = 768 * 1024
"""One event is at least one message of the bus, whose `max_payload` is 1 MiB by default."""
MAX_MALFORMED_EVENTS = 1_000
"""Events of one stream that are skipped since they can't be read; with one more it is refused."""
_BOM = b"\xef\xbb\xbf"


class UpstreamCall:
    """One attempt's way from the request's bytes to the last relayed frame."""

    def __init__(
        self,
        record: AttemptRecord,
        found: Found,
        limits: CredentialLimits,
        sender: Sender,
        on_commit: Callable[[], None],
        on_end: Callable[[], None],
        max_answer_bytes: int,
        after_finish_s: float,
    ) -> None:
        self._record = record
        self._call = record.call
        self._upstream = found.upstream
        self._models = found.models
        self._limits = limits
        self._credential = (record.call.target.provider, record.call.target.credential)
        self._counts = record.call.dialect == dialect.COUNT_TOKENS
        """Providers limit counts apart: what they say of them holds for no other request."""
        self._delivery = Delivery(record, sender, on_commit, on_end)
        self._max_answer_bytes = max_answer_bytes
        self._after_finish_s = after_finish_s
        self._has_content = False

    async def run(self, body: bytes) -> None:
        """Makes the call and relays its answer to its end.

        Raises:
            CallFailed: The provider's answer is an error or can't be understood.
            UpstreamError: The connection failed, or a phase took too long.
            SseCapExceeded: The stream went over a cap.
            RelayCut: The door has gone.
        """
        record, call = self._record, self._call
        record.input_estimate_tokens = body_tokens(body)
        sent = self._outgoing(body)
        record.warnings = sent.warnings
        record.sent()
        record.request_sent = True
        async with self._upstream.transport.send(
            "POST", sent.path, sent.headers, sent.body, self._phases()
        ) as response:
            record.headers(response.status)
            if not 200 <= response.status < 300:
                await self._refused(response)
            if not self._counts:
                self._limits.answered(self._credential, response.headers)
            if call.stream or (call.gathered and _may_be_events(_content_type(response))):
                await self._relay_stream(response)
            else:
                await self._relay_whole(response)

    def _outgoing(self, body: bytes) -> Outgoing:
        call, upstream = self._call, self._upstream
        try:
            sent = outgoing(call, body, upstream, self._models.facts(call.target.model))
            self._answer = answer_for(call, upstream.provider, body)
            self._record.facts = self._answer.facts
            if call.dialect == dialect.CHAT:
                self._answer.facts.expected_choices = openai_chat.choices_asked(body)
        except Untranslatable as error:
            misfit = failure(error.code, error.message, param=error.param)
            # Nothing was sent; a target of another dialect or model may have words for it.
            raise CallFailed(msgspec.structs.replace(misfit, elsewhere=True)) from None
        except msgspec.DecodeError as error:  # doors check bodies, so only a foreign one gets here
            raise CallFailed(failure("invalid_json", str(error)[:200])) from None
        return sent

    def _phases(self) -> Phases:
        timeouts, call = self._upstream.provider.timeouts, self._call
        streamed = call.stream or call.gathered
        total_s = max(0.001, call.remaining_ms / 1000)
        first_s = max(0.001, call.first_token_ms / 1000)
        return Phases(
            pool_wait_s=min(2.0, total_s),
            connect_s=min(_seconds(call.connect_ms, timeouts.connect_s), total_s),
            write_s=_seconds(call.write_ms, timeouts.write_s),
            first_byte_s=first_s if streamed else total_s,
            first_token_s=first_s if streamed else None,
            idle_s=_seconds(call.idle_ms, timeouts.idle_s),
            total_s=total_s,
        )

    async def _refused(self, response: UpstreamResponse) -> NoReturn:
        body = b""
        with contextlib.suppress(UpstreamError):  # the status says enough
            body = await response.read_all(MAX_ERROR_BYTES)
        occurrence = failure_of_status(response.status, response.headers, body)
        if self._counts:
            raise CallFailed(occurrence)
        raise CallFailed(
            self._limits.failed(self._credential, response.status, response.headers, occurrence)
        )

    async def _relay_whole(self, response: UpstreamResponse) -> None:
        came = (await response.read_all(self._max_answer_bytes)).removeprefix(_BOM).strip()
        body = self._whole(came)
        self._record.token()
        await self._delivery.whole(body)

    def _whole(self, came: bytes) -> bytes:
        """The answer as the client sees it; read once more, repaired, where it can't be as it is.

        Raises:
            CallFailed: It is an error, or none that can be read.
        """
        input_tokens = self._record.input_estimate_tokens
        problem = failure("bad_upstream", "The provider's answer is no UTF-8")
        form = came if is_text(came) else repaired(came)
        while form is not None:
            try:
                return self._answer.whole(form, input_tokens)
            except InBandError as error:
                problem = error.failure
            unread = problem.code == "bad_upstream" and not self._record.facts.content_bytes
            form = repaired(came) if form is came and unread else None
        raise CallFailed(problem)

    async def _relay_stream(self, response: UpstreamResponse) -> None:
        if not _may_be_events(_content_type(response)):
            await self._not_a_stream(response)
        facts = self._record.facts
        try:
            async with asyncio.timeout(None) as after_finish:
                await self._relay_events(response, after_finish)
        except UpstreamError:
            if not facts.whole:
                raise  # with every finish reason there, only usage can be missing
        except TimeoutError:
            pass  # set only once the finish reason had come
        if not (facts.finished if self._answer.done else facts.whole):
            # Before commit nobody has seen anything of it, so another target may serve it.
            code = "stream_interrupted" if self._record.committed else "provider_no_response"
            raise CallFailed(failure(code, "The provider ended without finishing"))
        used = self._record.used()
        if isinstance(self._answer, Gathered):
            await self._delivery.whole(self._answer.body(used))
            return
        if last := self._answer.close(used):
            await self._delivery.send(last)
        self._delivery.end(used)

    async def _relay_events(
        self, response: UpstreamResponse, after_finish: asyncio.Timeout
    ) -> None:
        record, loop = self._record, asyncio.get_running_loop()
        parser = SseParser(
            SseCaps(
                max_stream_bytes=self._max_answer_bytes,
                max_event_bytes=MAX_EVENT_BYTES,
                max_line_bytes=MAX_EVENT_BYTES,
            )
        )
        async for data in response.chunks():
            events: list[bytes] = []
            problem: Failure | None = None
            self._has_content = False
            for event in parser.feed(data):
                problem = self._take(event.data, events)
                if self._answer.done or problem is not None:
                    break
            if self._has_content:
                record.token()  # once: what one read brings came at one time
                response.first_token_seen()
            if events:
                after_finish.reschedule(None)  # a slow client isn't the provider's fault
                await self._delivery.forward(events, has_content=self._has_content)
            if problem is not None:
                raise CallFailed(problem)
            if self._answer.done:
                return
            if record.facts.whole and after_finish.when() is None:
                after_finish.reschedule(loop.time() + self._after_finish_s)

    async def _not_a_stream(self, response: UpstreamResponse) -> None:
        """A 200 that isn't an event stream: an error as JSON, or something else's page."""
        body = await response.read_all(MAX_ERROR_BYTES)
        with contextlib.suppress(ValueError):
            if isinstance(document := json.loads(body), dict) and document.get("error"):
                raise CallFailed(openai_chat.failure_in_band(body))
        raise CallFailed(failure("bad_upstream", "The provider's answer is no event stream"))

    def _take(self, data: bytes, events: list[bytes]) -> Failure | None:
        """Takes in one event and adds to `events` what the client is to see of it."""
        form = data if is_text(data) else repaired(data)
        while form is not None:
            try:
                if self._answer.take(form, events):
                    self._has_content = True
            except InBandError as error:
                return error.failure
            except MALFORMED:
                form = repaired(data) if form is data else None
            else:
                return None
        return self._skip()

    def _skip(self) -> Failure | None:
        """Leaves out an event that can't be read; the failure when that were too many."""
        self._record.malformed_events += 1
        if self._record.malformed_events <= MAX_MALFORMED_EVENTS:
            return None
        text = f"More than {MAX_MALFORMED_EVENTS} events of the provider's stream can't be read"
        return failure("bad_upstream", text)


def _seconds(limit_ms: int | None, otherwise_s: float) -> float:
    return otherwise_s if limit_ms is None else max(0.001, limit_ms / 1000)


def _content_type(response: UpstreamResponse) -> str:
    return response.headers.get("content-type", "")


def _may_be_events(content_type: str) -> bool:
    """Whether to read it as a stream of events: some providers leave the type out or wrong."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("", "text/event-stream", "text/plain", "application/octet-stream")
