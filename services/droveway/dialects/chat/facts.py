"""What chat completions of a provider say: the few fields that decide are read, all else passes."""

from droveway.contracts.envelope import MALFORMED
from droveway.contracts.errors import Failure, failure
from droveway.dialects.chat import chunk as openai_chunk
from droveway.dialects.chat.passing import failure_in_band
from droveway.dialects.events import MAX_NAME_CHARS
from droveway.dialects.facts import Facts


class ChatFacts(Facts):
    """Facts of one answer in OpenAI's chat dialect, whole or chunk by chunk."""

    def read(self, answer: openai_chunk.Chunk) -> bool:
        """Takes in one chunk, or a whole answer; whether it bears content."""
        has_content = False
        counts = answer.usage
        for choice in answer.choices or ():
            counts = counts or choice.usage
            index = choice.index or 0
            part = choice.delta or choice.message
            if part is not None and (size := part.size_bytes()):
                has_content = True
                self.content_bytes += size
            if index in self._finished:
                continue
            if choice.finish_reason:
                self.finish(index, choice.finish_reason)
                has_content = True
            else:
                self._open.add(index)
        if counts is not None and (usage := counts.counted()) is not None:
            self.usage = usage
        if answer.model:
            self.model = answer.model[:MAX_NAME_CHARS]
        if answer.id and not self.response_id:
            self.response_id = answer.id[:MAX_NAME_CHARS]
        return has_content

    def read_body(self, body: bytes) -> Failure | None:
        """Takes in a whole answer; the failure when it isn't one."""
        try:
            answer = openai_chunk.decode(body)
        except MALFORMED:
            return failure("bad_upstream", "The provider's answer is no chat completion")
        if answer.is_error():
            return failure_in_band(body)
        self.read(answer)
        if not self._finished and not answer.choices:
            return failure("bad_upstream", "The provider's answer has no choices")
        if not self.finished:
            return failure("bad_upstream", "The provider's answer has no finish_reason")
        return None
