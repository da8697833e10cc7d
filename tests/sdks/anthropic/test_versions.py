"""Both versions of the API and both ways to send a key, whatever the SDK's own are."""

import pytest

from tests.sdks.anthropic.client import Client, opened
from tests.sdks.marks import TO_ANTHROPIC
from tests.sdks.server import Book, Droveway

pytestmark = pytest.mark.sdks

VERSIONS = ("2023-06-01", "2026-10-21")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", ["api_key", "auth_token"])
async def test_either_version_is_answered_with_either_header(
    server: Droveway, flavour: str, upstream: str, version: str, key: str
) -> None:
    keys = {"api_key": None, "auth_token": None, key: server.key}
    headers = {"anthropic-version": version}
    async with opened(flavour, server, upstream, **keys, default_headers=headers) as client:
        assert (await client.message()).stop_reason == "end_turn"
        assert (await client.stream()).text() == "t0 t1 t2 t3 t4 "
        assert await client.count() > 0
        assert await client.models()


@TO_ANTHROPIC
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_provider_of_the_same_dialect_gets_the_clients_version(
    sdk: Client, book: Book, version: str
) -> None:
    await sdk.message(extra_headers={"anthropic-version": version, "anthropic-beta": "some-beta"})
    [entry] = book.entries()
    assert "anthropic-beta" in entry["header_names"]
    assert ("x-api-key" in entry["header_names"]) is (version == VERSIONS[0])


async def test_a_clients_sampling_reaches_a_provider_whose_version_takes_it(
    sdk: Client, book: Book
) -> None:
    headers = {"anthropic-version": VERSIONS[0]}
    given = {"extra_headers": headers, "extra_body": {"temperature": 0.5}}
    await sdk.message(**given)
    assert book.last()["temperature"] == 0.5
