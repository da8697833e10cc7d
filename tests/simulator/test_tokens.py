"""Prompt tokens and cached prefixes."""

from droveway.simulator.tokens import PrefixCache, count, usage


def test_four_bytes_are_a_token() -> None:
    assert [count(b""), count(b"a"), count(b"abcd"), count(b"abcde")] == [0, 1, 1, 2]


def test_images_count_beside_the_text() -> None:
    accounted = usage(b"x" * 40, images=2, cached_tokens=0, completion_tokens=7)
    assert accounted.prompt_tokens == 10 + 170
    assert accounted.total_tokens == accounted.prompt_tokens + 7
    assert accounted.prompt_tokens_details.image_tokens == 170


def test_a_prefix_is_cached_from_1024_tokens_in_blocks_of_128() -> None:
    cache = PrefixCache(limit_blocks=100)
    prompt = bytes(range(200)) * 40
    assert cache.cached_tokens("m", prompt[:5000]) == 0
    assert cache.cached_tokens("m", prompt[:4000] + b"other" * 100) == 0
    assert cache.cached_tokens("m", prompt) == 1152
    assert cache.cached_tokens("m", prompt) == 1920
    assert cache.cached_tokens("another", prompt) == 0


def test_forgotten_blocks_are_not_cached() -> None:
    cache = PrefixCache(limit_blocks=8)
    first, second = b"a" * 4096, b"b" * 4096
    assert cache.cached_tokens("m", first) == 0
    assert cache.cached_tokens("m", first) == 1024
    assert cache.cached_tokens("m", second) == 0
    assert cache.cached_tokens("m", first) == 0
