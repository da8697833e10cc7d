"""The samples for this SDK, run as they are."""

import re

import pytest

from tests.sdks.examples import EXAMPLES, run
from tests.sdks.server import DIALECTS, Book, Droveway, routed

pytestmark = pytest.mark.sdks

OWN = sorted(path.name for path in EXAMPLES.glob("anthropic_*.py"))
SAID = {
    "anthropic_caching.py": r" 0 read: 0%.*\n\d+ new, 0 written, \d{4} read: (9.|100)%",
    "anthropic_chat.py": r"(?s)^key is valid, models: .*sim-small.*stop reason: end_turn\ntokens: ",
    "anthropic_errors.py": r"^\w+ \w+ ",
    "anthropic_stream.py": r"(?s)^\w+ .*stop reason: end_turn\ntokens: \d+ in, \d+ out$",
}
"""What each prints, which shows that it did its job."""


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("name", "said"), SAID.items(), ids=SAID)
async def test_a_sample_does_its_job(
    server: Droveway, book: Book, name: str, said: str, dialect: str
) -> None:
    printed = await run(server, name, DROVEWAY_MODEL=routed("sim-small", dialect))
    assert re.search(said, printed.strip()), printed
    assert set(book.dialects()) == {dialect}


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"DROVEWAY_KEY": "sk-unknown"}, "check the key"),
        ({"DROVEWAY_MODEL": "missing-model"}, "check the model"),
        ({"DROVEWAY_MODEL": "fault-400"}, "correct the request"),
        ({"DROVEWAY_URL": "http://127.0.0.1:9"}, "no connection"),
    ],
    ids=["key", "model", "request", "address"],
)
async def test_errors_come_with_advice(
    server: Droveway, variables: dict[str, str], advice: str
) -> None:
    assert (await run(server, "anthropic_errors.py", **variables)).startswith(advice)


def test_every_sample_of_this_sdk_is_run() -> None:
    assert sorted(SAID) == OWN
