"""What services expose, judged by Prometheus' own tool; from Debian's package prometheus."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.nats import NatsServer, nats, serving  # noqa: F401
from tests.support.scrapes import OPENMETRICS, SERVICES, scraped

pytestmark = pytest.mark.ops


@pytest.fixture(scope="module")
def pages(
    nats: NatsServer,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    return asyncio.run(scraped(nats, tmp_path_factory.mktemp("text")))


@pytest.mark.parametrize("service", SERVICES)
def test_promtool_finds_nothing_to_say_against(service: str, pages: dict[str, str]) -> None:
    found = subprocess.run(
        ["promtool", "check", "metrics", "--extended"],
        input=pages[service],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_the_same_pages_are_openmetrics(tmp_path: Path) -> None:
    with serving(tmp_path / "nats") as server:
        pages = asyncio.run(scraped(server, tmp_path, OPENMETRICS))
    for service, text in pages.items():
        families = list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
        assert families, service
