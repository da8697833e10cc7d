"""`POST /v1/chat/completions`: what is asked, what is answered, how that is sent."""

import time
from collections.abc import Iterator, Mapping

import msgspec

from droveway.simulator import tokens
from droveway.simulator.book import Entry, fingerprint
from droveway.simulator.catalogue import MISSING_MODEL
from droveway.simulator.delivery import stream, whole
from droveway.simulator.faults import Faults
from droveway.simulator.openai.chat_request import ChatRequest, decode
from droveway.simulator.openai.chat_stream import chunks
from droveway.simulator.openai.chat_whole import Answer, completion
from droveway.simulator.openai.dialect import OPENAI, model_not_found
from droveway.simulator.openai.strict import check
from droveway.simulator.settings import Settings
from droveway.simulator.speech import Speaker
from droveway.simulator.steps import Step, Timing


class Chat:
    """Reads chat completion requests."""

    dialect = OPENAI
    name = "chat"

    def __init__(self, settings: Settings, cache: tokens.PrefixCache) -> None:
        self._settings = settings
        self._cache = cache
        self._speaker = Speaker(
            seed=settings.seed,
            answer_tokens=settings.answer_tokens,
            max_answer_tokens=settings.max_answer_tokens,
        )

    def read(self, body: bytes, _headers: Mapping[str, str], entry: Entry, /) -> "ChatJob":
        """Decode a request."""
        request = decode(body, self._settings.max_choices)
        entry.model, entry.stream = request.model, bool(request.stream)
        entry.images, entry.audios = request.images, request.audios
        entry.user_fingerprint = fingerprint(request.user) if request.user else None
        return ChatJob(
            model=request.model,
            request=request,
            body=body,
            serial=entry.id.removeprefix("req_"),
            speaker=self._speaker,
            cache=self._cache,
            settings=self._settings,
        )


class ChatJob(msgspec.Struct, kw_only=True):
    """A chat completion to be answered."""

    model: str
    request: ChatRequest
    body: bytes
    serial: str
    speaker: Speaker
    cache: tokens.PrefixCache
    settings: Settings

    def steps(self, faults: Faults) -> Iterator[Step]:
        """Answer it.

        Raises:
            ApiError: 404, the model is the missing one; 400, the tool choice is wrong, or a
                strict request isn't as OpenAI has it.
        """
        if self.model == MISSING_MODEL:
            raise model_not_found(self.model)
        if "strict" in faults.flags:
            check(self.body)
        answer = self._answer(faults)
        timing = Timing.of(self.settings, faults)
        words = OPENAI.words(self.serial, faults)
        if self.request.stream:
            events = chunks(answer, self.request.include_usage, faults)
            return stream(events, words, faults, timing)
        body, usage = completion(answer, faults), answer.usage
        return whole(body, usage.completion_tokens, usage, words, faults, timing)

    def _answer(self, faults: Faults) -> Answer:
        request = self.request
        question = request.question(faults.numbers.get("reasoning", 0))
        choices = [self.speaker.answer(question, faults, index) for index in range(request.n or 1)]
        prompt = request.prompt()
        usage = tokens.usage(
            prompt,
            request.images,
            self.cache.cached_tokens(request.model, prompt),
            sum(choice.token_count for choice in choices),
            audios=request.audios,
            reasoning_tokens=sum(len(choice.reasoning) for choice in choices),
        )
        return Answer(
            serial=self.serial,
            created=int(time.time()),
            model=request.model,
            choices=choices,
            usage=usage,
            top_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        )
