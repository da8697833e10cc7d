"""Runs the samples of docs/examples in the SDK's own environment."""

import sys

from tests.sdks.server import Droveway
from tests.support import examples
from tests.support.examples import EXAMPLES

__all__ = ["EXAMPLES", "run"]

STRICT = {
    "PYTHONDONTWRITEBYTECODE": "",  # each run would compile the whole SDK anew
    "PYTHONWARNINGS": "error::DeprecationWarning",
}


async def run(server: Droveway, name: str, **variables: str) -> str:
    """What a sample prints; it must succeed."""
    given = {"DROVEWAY_URL": server.url, "DROVEWAY_KEY": server.key, **STRICT, **variables}
    ran = await examples.run(sys.executable, name, given)
    assert (ran.status, ran.errors) == (0, ""), ran.errors
    return ran.out
