"""What messages of chat completions may consist of, part by part.

Source: OpenAI API reference, chat completions, 2026-11; `document`, `cache_control` and `video_url`
are others' extensions of it.
"""

from droveway.dialects.chat.checks import CAPS
from droveway.gateway.openapi.shapes import (
    OBJECT,
    TEXT,
    Schema,
    either,
    items,
    record,
    ref,
    request,
    said,
    text,
)

_MARKS: dict[str, Schema] = {"cache_control": OBJECT, "prompt_cache_breakpoint": OBJECT}
_DATA = text(0, CAPS.max_data_chars)


def _part(kind: str, field: str, schema: Schema) -> Schema:
    return request({"type": {"const": kind}, field: schema}, _MARKS, "")


def _addressed(media: str) -> Schema:
    """Never fetched here: the provider does, or the data are embedded."""
    web = text(0, CAPS.max_url_chars) | {"pattern": "^https://."}
    inline = _DATA | {"pattern": f"^data:{media}/[a-z0-9.+-]{{1,32}};base64,"}
    return request({"url": either(web, inline)}, {"detail": TEXT}, "")


_AUDIO = request({"data": _DATA}, {"format": TEXT}, "")
_FILE = request({}, {"file_data": _DATA, "file_id": TEXT, "filename": TEXT}, "")
_SOURCE = request(
    {}, {"url": text(0, CAPS.max_url_chars) | {"pattern": "^https://"}, "data": _DATA}, ""
)

PARTS = (
    _part("text", "text", TEXT),
    _part("refusal", "refusal", TEXT),
    _part("image_url", "image_url", _addressed("image")),
    _part("video_url", "video_url", _addressed("video")),
    _part("input_audio", "input_audio", _AUDIO),
    _part("file", "file", _FILE),
    _part("document", "source", _SOURCE),
    record({"type": {"const": "cache_control"}}, _MARKS),
)

REQUESTS: dict[str, Schema] = {
    "ChatPart": either(*PARTS),
    "ChatContent": said(
        either(TEXT, items(ref("ChatPart"), 0, CAPS.max_content_parts)),
        "A text or parts; nothing that they point to is ever fetched by the gateway.",
    ),
}
