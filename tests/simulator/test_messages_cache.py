"""What Anthropic's prompt cache writes and reads, as the simulator keeps book of it."""

import json
from typing import Any

import pytest

from droveway.simulator.anthropic.cache import BreakpointCache
from droveway.simulator.anthropic.segments import segments, total_tokens
from droveway.simulator.tokens import MessagesUsage
from tests.support.simulator import message_body

LONG = "word " * 1000
TOKENS = 1250
SHORT_LIFE = {"type": "ephemeral"}
LONG_LIFE = {"type": "ephemeral", "ttl": "1h"}


class Provider:
    def __init__(self, limit: int = 100) -> None:
        self.now_s = 0.0
        self.cache = BreakpointCache(limit, lambda: self.now_s)

    def ask(self, owner: str = "m", **fields: Any) -> MessagesUsage:
        body = json.dumps(message_body(**fields)).encode()
        return self.cache.usage(owner, segments(body), 1)

    def seen(self, owner: str = "m", **fields: Any) -> tuple[int, int, int]:
        usage = self.ask(owner, **fields)
        return (
            usage.input_tokens,
            usage.cache_creation_input_tokens,
            usage.cache_read_input_tokens,
        )


def text(words: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **fields}


MARKED = [text(LONG, cache_control=SHORT_LIFE)]


def test_a_marked_prefix_is_written_once_and_read_afterwards() -> None:
    provider = Provider()
    assert provider.seen(system=MARKED) == (2, TOKENS, 0)
    assert provider.seen(system=MARKED, content="another") == (2, 0, TOKENS)
    provider.cache.clear()
    assert provider.seen(system=MARKED) == (2, TOKENS, 0)


def test_nothing_is_kept_without_a_marker_or_below_the_minimum() -> None:
    provider = Provider()
    brief = [text(LONG[:4000], cache_control=SHORT_LIFE)]
    for _ in range(2):
        assert provider.seen(system=LONG) == (TOKENS + 2, 0, 0)
        assert provider.seen(system=brief) == (1002, 0, 0)


def test_models_and_keys_share_nothing() -> None:
    provider = Provider()
    assert provider.seen("m of a", system=MARKED) == (2, TOKENS, 0)
    assert provider.seen("m of b", system=MARKED) == (2, TOKENS, 0)


def test_writes_are_split_by_how_long_they_are_kept() -> None:
    system = [text(LONG, cache_control=LONG_LIFE), text(LONG, cache_control=SHORT_LIFE)]
    usage = Provider().ask(system=system)
    assert usage.cache_creation.ephemeral_1h_input_tokens == TOKENS
    assert usage.cache_creation.ephemeral_5m_input_tokens == TOKENS
    assert usage.cache_creation_input_tokens == 2 * TOKENS


@pytest.mark.parametrize(("marker", "lives_s"), [(SHORT_LIFE, 300), (LONG_LIFE, 3600)])
def test_a_prefix_lives_on_each_time_it_is_read(marker: dict[str, str], lives_s: int) -> None:
    provider, system = Provider(), [text(LONG, cache_control=marker)]
    provider.ask(system=system)
    for _ in range(2):
        provider.now_s += lives_s - 1
        assert provider.seen(system=system) == (2, 0, TOKENS)
    provider.now_s += lives_s
    assert provider.seen(system=system) == (2, TOKENS, 0)


def test_a_conversation_reads_what_it_wrote_though_the_marker_moves() -> None:
    provider = Provider()
    asked = {"role": "user", "content": LONG}
    answered = {"role": "assistant", "content": "yes"}
    first = [{"role": "user", "content": MARKED}]
    second = [asked, answered, {"role": "user", "content": MARKED}]
    assert provider.seen(messages=first) == (0, TOKENS, 0)
    assert provider.seen(messages=second) == (0, TOKENS + 1, TOKENS)


def test_an_automatic_marker_stands_at_the_end() -> None:
    provider = Provider()
    assert provider.seen(content=LONG, cache_control=SHORT_LIFE) == (0, TOKENS, 0)
    assert provider.seen(content=LONG, cache_control=SHORT_LIFE) == (0, 0, TOKENS)


def test_a_marker_in_a_tool_result_counts() -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": MARKED}
    plain = {"type": "tool_result", "tool_use_id": "a", "content": [text(LONG)]}
    marked = segments(json.dumps(message_body(content=[result])).encode())
    unmarked = segments(json.dumps(message_body(content=[plain])).encode())
    assert [segment.ttl for segment in marked] == ["5m"]
    assert [segment.content for segment in marked] == [segment.content for segment in unmarked]


def test_another_order_of_keys_is_another_prefix() -> None:
    provider = Provider()
    schemas = ({"type": "object", "title": LONG}, {"title": LONG, "type": "object"})
    for schema in schemas:
        tools = [{"name": "t", "input_schema": schema, "cache_control": SHORT_LIFE}]
        assert provider.seen(tools=tools)[2] == 0


def test_a_prefix_too_far_before_the_marker_is_not_found() -> None:
    provider = Provider()
    provider.ask(system=MARKED)
    for blocks, read in ((19, TOKENS), (21, 0)):
        content = [text("a") for _ in range(blocks)]
        content.append(text("b", cache_control=SHORT_LIFE))
        assert provider.seen(system=[text(LONG)], content=content)[2] == read


def test_the_least_used_prefix_is_forgotten_first() -> None:
    provider = Provider(limit=1)
    other = [text(LONG + "other", cache_control=SHORT_LIFE)]
    provider.ask(system=MARKED)
    provider.ask(system=other)
    assert provider.seen(system=MARKED)[2] == 0


def test_pictures_count_as_pictures() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 4000}
    body = message_body(content=[{"type": "image", "source": source}, text("what?")])
    assert total_tokens(segments(json.dumps(body).encode())) == 85 + 2
