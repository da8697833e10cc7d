"""The samples for this SDK, run as they are."""

import re

import pytest

from tests.sdks.examples import EXAMPLES, run
from tests.sdks.server import DIALECTS, Book, Droveway, routed

pytestmark = pytest.mark.sdks

OWN = sorted(path.name for path in EXAMPLES.glob("openai_*.py"))
NOWHERE = "http://127.0.0.1:9"
SAID = {
    "openai_chat.py": r"finish reason: stop\ntokens: \d+ in, \d+ out$",
    "openai_chat_async.py": r"(?s)^transformers: \w.*\nsampling: \w",
    "openai_cost.py": r"\$0\.\d{6} = ¥0\.\d{6}$",
    "openai_errors.py": r"^\w+ \w+ ",
    "openai_fallback.py": r"^first: \w+ ",
    "openai_responses.py": r"(?s)^report_issue \{.*\ncached: 0 of the input\nduration: \d+ ms$",
    "openai_stream.py": r"first token after \d+ ms, all after \d+ ms\ntokens: \d+ in, \d+ out$",
    "openai_tools.py": r'^get_weather \{"city":.*\n\w+ ',
}
"""What each prints, which shows that it did its job."""


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("name", "said"), SAID.items(), ids=SAID)
async def test_a_sample_does_its_job(
    server: Droveway, book: Book, name: str, said: str, dialect: str
) -> None:
    backup = {"DROVEWAY_BACKUP_URL": NOWHERE, "DROVEWAY_BACKUP_KEY": "-"}
    model = routed("sim-small", dialect)
    printed = await run(server, name, DROVEWAY_MODEL=model, **backup)
    assert re.search(said, printed.strip()), printed
    assert set(book.dialects()) == {dialect}


async def test_vectors_are_ranked(server: Droveway) -> None:
    printed = await run(server, "openai_embeddings.py")
    found = [float(line.split()[0]) for line in printed.splitlines()]
    assert len(found) == 3
    assert found == sorted(found, reverse=True)


async def test_the_second_address_answers_when_the_first_is_down(server: Droveway) -> None:
    backup = {"DROVEWAY_BACKUP_URL": server.url, "DROVEWAY_BACKUP_KEY": server.key}
    printed = await run(server, "openai_fallback.py", DROVEWAY_URL=NOWHERE, **backup)
    assert printed.startswith("backup: ")


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"DROVEWAY_KEY": "sk-unknown"}, "check the key: invalid_api_key"),
        ({"DROVEWAY_MODEL": "missing-model"}, "check the model and the base URL: model_not_found"),
        ({"DROVEWAY_MODEL": "fault-400"}, "correct the request"),
        ({"DROVEWAY_MODEL": "both-fail"}, "503 all_targets_failed"),
        ({"DROVEWAY_URL": NOWHERE}, "no connection"),
    ],
    ids=["key", "model", "request", "server", "address"],
)
async def test_errors_come_with_advice(
    server: Droveway, variables: dict[str, str], advice: str
) -> None:
    assert (await run(server, "openai_errors.py", **variables)).startswith(advice)


def test_every_sample_of_this_sdk_is_run() -> None:
    assert sorted([*SAID, "openai_embeddings.py"]) == OWN
