"""A runbook for every alert: what it means, how to see it, what to do, how to silence it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import typer.main

from droveway.cli.main import app
from tests.otel.test_rules import RUNBOOKS, exposed, family, recorded, selectors
from tests.support.monitoring import REPOSITORY, alerts

FOLDER = REPOSITORY / "deploy/runbooks"
PAGES = sorted(FOLDER.glob("*.md"))
SECTIONS = ["What it means", "How to see it", "What to do", "Silence"]

of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def queries(page: Path) -> Iterator[str]:
    for block in re.findall(r"^```promql\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        yield from block.splitlines()


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert {page.stem for page in PAGES} == alerts().keys()
    assert {rule["annotations"]["runbook_url"] for rule in alerts().values()} == {
        f"{RUNBOOKS}/{page.name}" for page in PAGES
    }


@of_each_page
def test_a_page_has_the_four_sections_and_no_empty_one(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    bodies = re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]
    assert [body for body in bodies if len(body.split()) < 5] == []
    (steps,) = (body for name, body in zip(SECTIONS, bodies, strict=True) if name == "What to do")
    assert steps.strip().startswith("1. ")
    assert f"alertname={page.stem}" in bodies[-1]


@of_each_page
def test_a_page_leads_nowhere_that_is_not_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        file = (FOLDER / path).resolve()
        assert file.is_file(), target
        if heading:
            assert re.search(rf"^#+ {heading}$", file.read_text(), re.MULTILINE | re.IGNORECASE)


@of_each_page
def test_a_silence_names_labels_that_the_alert_has(page: Path) -> None:
    (command,) = re.findall(r"^amtool silence add .*$", page.read_text(), re.MULTILINE)
    matchers = set(re.findall(r" (\w+)=\S+", command.split("alertname=")[1]))
    rule = alerts()[page.stem]
    text = f"{rule['expr']} {rule['annotations']['summary']} {rule['annotations']['description']}"
    assert {name for name in matchers if not re.search(rf"\b{name}\b", text)} == set()


@of_each_page
def test_queries_ask_for_metrics_that_exist(page: Path) -> None:
    known = exposed() | recorded().keys() | {"up"}
    for query in queries(page):
        promql_parser.parse(query)
        asked = set(selectors(query))
        assert asked, query
        assert {name for name in asked if name not in known and family(name) not in known} == set()


@of_each_page
def test_commands_of_ours_exist(page: Path) -> None:
    command = typer.main.get_command(app)
    known = set(getattr(command, "commands", {}))
    named = set(re.findall(r"(?:`|\$ |\.\.\. )droveway ([a-z][a-z-]+)", page.read_text()))
    assert named - known == set()


@pytest.mark.ops
def test_amtool_takes_every_silence(tmp_path: Path) -> None:
    for page in PAGES:
        (command,) = re.findall(r"^amtool silence add .*$", page.read_text(), re.MULTILINE)
        offline = command.replace("127.0.0.1:9093", "127.0.0.1:1")
        outcome = subprocess.run(
            ["sh", "-c", offline], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "connection refused" in outcome.stderr, outcome.stderr
