"""`POST /v1/embeddings`: unit vectors that depend on the text and the seed alone.

Source: platform.openai.com/docs/api-reference/embeddings.
"""

import base64
import hashlib
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import msgspec

from droveway.simulator import tokens
from droveway.simulator.book import Entry
from droveway.simulator.catalogue import MISSING_MODEL
from droveway.simulator.delivery import whole
from droveway.simulator.errors import ApiError
from droveway.simulator.faults import Faults
from droveway.simulator.openai.dialect import OPENAI, model_not_found
from droveway.simulator.settings import Settings
from droveway.simulator.steps import Step, Timing

DIMENSIONS = 256
"""Length of a vector that neither the request nor the model's name gives a length."""
MAX_INPUTS = 2048
MAX_INPUT_TOKENS = 8192
MAX_REQUEST_TOKENS = 300_000

Token = Annotated[int, msgspec.Meta(ge=0)]


class EmbeddingRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A request for embeddings."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    input: str | list[str | Token | list[Token]]
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None

    def inputs(self) -> list[str | list[int]]:
        """Each input as a text or as tokens.

        Raises:
            ApiError: 400, there is no input, an empty one, or texts among tokens.
        """
        given = [self.input] if isinstance(self.input, str) else self.input
        whole_numbers = [item for item in given if isinstance(item, int)]
        inputs = [item for item in given if not isinstance(item, int)]
        if whole_numbers and not inputs:
            return [whole_numbers]
        kinds = {type(item) for item in given}
        if len(kinds) != 1 or not all(inputs) or len(inputs) > MAX_INPUTS:
            message = f"'input' must be a text, tokens, or 1 to {MAX_INPUTS} of either, none empty."
            raise ApiError(400, message, param="input")
        return inputs


_decoder = msgspec.json.Decoder(EmbeddingRequest)


class Embeddings:
    """Reads requests for embeddings."""

    dialect = OPENAI
    name = "embeddings"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self, body: bytes, _headers: Mapping[str, str], entry: Entry, /) -> "EmbeddingJob":
        """Decode a request and count its tokens.

        Raises:
            ApiError: 400 that names what is wrong.
        """
        try:
            request = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ApiError(400, f"Invalid request: {error}.") from error
        entry.model = request.model
        inputs = request.inputs()
        counts = [_count(item) for item in inputs]
        if max(counts) > MAX_INPUT_TOKENS or sum(counts) > MAX_REQUEST_TOKENS:
            message = (
                f"The input has {max(counts)} tokens at most and {sum(counts)} in all; "
                f"{MAX_INPUT_TOKENS} each and {MAX_REQUEST_TOKENS} in all are served."
            )
            raise ApiError(400, message, code="context_length_exceeded", param="input")
        return EmbeddingJob(
            model=request.model,
            request=request,
            inputs=inputs,
            input_tokens=sum(counts),
            settings=self._settings,
        )


class EmbeddingJob(msgspec.Struct, kw_only=True):
    """Embeddings to be answered."""

    model: str
    request: EmbeddingRequest
    inputs: list[str | list[int]]
    input_tokens: int
    settings: Settings

    def steps(self, faults: Faults) -> Iterator[Step]:
        """Answer them in one body.

        Raises:
            ApiError: 404, the model is the missing one.
        """
        if self.model == MISSING_MODEL:
            raise model_not_found(self.model)
        words, timing = OPENAI.words("", faults), Timing.of(self.settings, faults)
        usage = tokens.usage(b"", 0, 0, 0)
        usage = msgspec.structs.replace(
            usage, prompt_tokens=self.input_tokens, total_tokens=self.input_tokens
        )
        return whole(self._body(faults), 0, usage, words, faults, timing)

    def _body(self, faults: Faults) -> bytes:
        floats = "floats" in faults.flags or self.request.encoding_format != "base64"
        length = self.request.dimensions or faults.numbers.get("dimensions", 0) or DIMENSIONS
        vectors = [vector(item, self.settings.seed, length) for item in self.inputs]
        shown = [values if floats else encoded(values) for values in vectors]
        data = [
            {"object": "embedding", "index": index, "embedding": value}
            for index, value in enumerate(shown)
        ]
        body: dict[str, object] = {
            "object": "list",
            "data": [] if "empty-data" in faults.flags else data,
            "model": self.model,
        }
        if "no-usage" not in faults.flags:
            body["usage"] = {
                "prompt_tokens": self.input_tokens,
                "total_tokens": self.input_tokens,
            }
        return msgspec.json.encode(body)


def vector(item: str | list[int], seed: int, length: int) -> list[float]:
    """Make a unit vector of 32-bit floats: the same for the same text."""
    digest = hashlib.shake_128(f"{seed}/{item}".encode()).digest(2 * length)
    # Odd numbers: no component and so no vector is zero.
    values = [2 * value + 1 for value in struct.unpack(f"<{length}h", digest)]
    norm = math.hypot(*values)
    packed = struct.pack(f"<{length}f", *(value / norm for value in values))
    return list(struct.unpack(f"<{length}f", packed))


def encoded(values: list[float]) -> str:
    """Encode little-endian 32-bit floats in base64, as OpenAI does."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _count(item: str | list[int]) -> int:
    return tokens.count(item.encode()) if isinstance(item, str) else len(item)
