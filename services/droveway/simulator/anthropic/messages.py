"""`POST /v1/messages` and `/v1/messages/count_tokens`: what is asked, what is answered."""

from collections.abc import Iterator, Mapping

import msgspec

from droveway.simulator.anthropic.answer import Answer, parts, question, stop_reason
from droveway.simulator.anthropic.cache import BreakpointCache
from droveway.simulator.anthropic.checks import check_prompt, check_request, check_version
from droveway.simulator.anthropic.content import ImageBlock
from droveway.simulator.anthropic.dialect import ANTHROPIC
from droveway.simulator.anthropic.events import events
from droveway.simulator.anthropic.request import MessageRequest, Prompt, decode
from droveway.simulator.anthropic.segments import segments, total_tokens
from droveway.simulator.anthropic.signatures import Signer
from droveway.simulator.anthropic.whole import message
from droveway.simulator.book import Entry
from droveway.simulator.delivery import stream, whole
from droveway.simulator.errors import ApiError
from droveway.simulator.faults import Faults
from droveway.simulator.settings import Settings
from droveway.simulator.speech import Speaker
from droveway.simulator.steps import Step, Timing
from droveway.simulator.tokens import OutputTokens

VERSION_HEADER = "anthropic-version"
NO_PREFILL = (
    "This model does not support assistant message prefill. "
    "The conversation must end with a user message."
)

_prompts = msgspec.json.Decoder(Prompt)
_requests = msgspec.json.Decoder(MessageRequest)


class Messages:
    """Reads message requests."""

    dialect = ANTHROPIC
    name = "messages"

    def __init__(self, settings: Settings, cache: BreakpointCache) -> None:
        self._settings = settings
        self._cache = cache
        self._signer = Signer(settings.seed)
        self._speaker = Speaker(
            seed=settings.seed,
            answer_tokens=settings.answer_tokens,
            max_answer_tokens=settings.max_answer_tokens,
        )

    def read(self, body: bytes, headers: Mapping[str, str], entry: Entry, /) -> "MessageJob":
        """Decode a request and check all that Anthropic checks.

        Raises:
            ApiError: 400 that names the place; 404, the model is the missing one.
        """
        version = check_version(headers.get(VERSION_HEADER))
        request = decode(body, _requests)
        _tell(entry, request)
        entry.stream = request.stream
        check_prompt(request, version, self._signer)
        check_request(request, version)
        return MessageJob(
            model=request.model,
            request=request,
            body=body,
            request_id=entry.id,
            owner=f"{request.model} of {entry.key_fingerprint}",
            speaker=self._speaker,
            signer=self._signer,
            cache=self._cache,
            settings=self._settings,
        )


class MessageJob(msgspec.Struct, kw_only=True):
    """A message to be answered."""

    model: str
    request: MessageRequest
    body: bytes
    request_id: str
    owner: str
    speaker: Speaker
    signer: Signer
    cache: BreakpointCache
    settings: Settings

    def steps(self, faults: Faults) -> Iterator[Step]:
        """Answer it.

        Raises:
            ApiError: 400, the model continues no turn of its own and was asked to.
        """
        if "no-prefill" in faults.flags and self.request.messages[-1].role == "assistant":
            raise ApiError(400, NO_PREFILL)
        answer = self._answer(faults)
        words, timing = ANTHROPIC.words(self.request_id, faults), Timing.of(self.settings, faults)
        if self.request.stream:
            return stream(events(answer, faults), words, faults, timing)
        usage = answer.usage
        body = message(answer, faults)
        return whole(body, usage.output_tokens, usage, words, faults, timing)

    def _answer(self, faults: Faults) -> Answer:
        request, serial = self.request, self.request_id.removeprefix("req_")
        speech = self.speaker.answer(question(request, faults), faults)
        usage = self.cache.usage(self.owner, segments(self.body), speech.token_count)
        if speech.reasoning:
            details = OutputTokens(len(speech.reasoning))
            usage = msgspec.structs.replace(usage, output_tokens_details=details)
        return Answer(
            id=f"msg_{serial}",
            model=self.model,
            parts=parts(request, speech, serial, self.signer, faults),
            stop_reason=stop_reason(request, speech, faults),
            stop_sequence=speech.stop,
            usage=usage,
        )


class CountTokens:
    """Reads requests whose prompt is only counted."""

    dialect = ANTHROPIC
    name = "count_tokens"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._signer = Signer(settings.seed)

    def read(self, body: bytes, headers: Mapping[str, str], entry: Entry, /) -> "CountJob":
        """Decode a prompt and check all that Anthropic checks.

        Raises:
            ApiError: 400 that names the place; 404, the model is the missing one.
        """
        version = check_version(headers.get(VERSION_HEADER))
        prompt = decode(body, _prompts)
        _tell(entry, prompt)
        check_prompt(prompt, version, self._signer)
        return CountJob(prompt.model, total_tokens(segments(body)), entry.id, self._settings)


class CountJob(msgspec.Struct):
    """A count to be answered."""

    model: str
    input_tokens: int
    request_id: str
    settings: Settings

    def steps(self, faults: Faults) -> Iterator[Step]:
        """Answer it."""
        body = msgspec.json.encode({"input_tokens": self.input_tokens})
        words, timing = ANTHROPIC.words(self.request_id, faults), Timing.of(self.settings, faults)
        return whole(body, 0, None, words, faults, timing)


def _tell(entry: Entry, prompt: Prompt) -> None:
    entry.model = prompt.model
    blocks = (block for turn in prompt.messages for block in turn.blocks)
    entry.images = sum(isinstance(block, ImageBlock) for block in blocks)
