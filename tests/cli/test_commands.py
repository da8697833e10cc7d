"""The commands as a person types them: what they print, how fast, and their exit codes."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from droveway.cli.config import to_yaml
from droveway.cli.environment import configuration
from droveway.cli.main import main
from droveway.runtime.api_key import make_key, parse_key
from droveway.runtime.config.file import parse

COMMAND = Path(sys.executable).with_name("droveway")
COMMANDS = (
    "up", "setup", "ask", "services", "trace", "config check", "keys new", "nats config", "version",
    "tenants new", "limits show", "budgets show", "admin key", "probe", "tail",
    "report request", "stats", "ledger status",
    "top", "providers list", "canary show", "doctor",
)  # fmt: skip
SERVICES = {"gateway", "router", "limiter", "caller", "metrics", "simulator"}
HELP_LIMIT_S = 0.3


class Outcome(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class Here:
    """Runs commands in a folder of their own, in this process."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture

    def __call__(self, *arguments: str) -> Outcome:
        code = 0
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        return Outcome(code, *self._capture.readouterr())


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if "DROVEWAY" in name:
            monkeypatch.delenv(name)
    return Here(tmp_path, capsys)


def droveway(
    *arguments: str, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command as a process."""
    inherited = {name: text for name, text in os.environ.items() if "DROVEWAY" not in name}
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_help_is_quick_and_names_every_command() -> None:
    took_s = []
    for _ in range(3):
        began_s = time.monotonic()
        outcome = droveway("--help")
        took_s.append(time.monotonic() - began_s)
    assert min(took_s) < HELP_LIMIT_S
    listed = re.findall(r"^  ([a-z]+) ", outcome.stdout, re.MULTILINE)
    assert set(listed) == {name.split()[0] for name in COMMANDS} | SERVICES


def test_the_version_is_the_packages(here: Here) -> None:
    assert here("version").stdout.startswith("droveway 0.")


def test_a_new_key_comes_with_its_entry(here: Here) -> None:
    outcome = here("keys", "new", "--entry", "--environment", "test", "--tenant", "acme")
    key = outcome.stdout.strip()
    assert parse_key(key).environment == "test"
    assert key not in outcome.stderr
    entry = outcome.stderr[outcome.stderr.index("keys:") :]
    config = to_yaml(configuration({}, make_key(), 8090))
    (parsed,) = parse((config[: config.index("keys:")] + entry).encode(), "test").keys
    assert (parsed.id, parsed.tenant) == (parse_key(key).id, "acme")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("keys", "new", "--environment", "Live"), "environment 'Live'"),
        (("keys", "new", "--tenant", "Big Corp"), "tenant"),
        (("config", "check", "none.yaml"), "none.yaml: No such file"),
        (("trace", "req_0"), "no NATS server known"),
        (("setup",), "no NATS server known"),
        (("keys", "new"), "no NATS server known"),
        (("keys", "new", "--expires", "tomorrow"), "expires: 'tomorrow'"),
        (("keys", "new", "--address", "10.0.0.1/8"), "addresses[0]"),
        (("keys", "show", "Big Corp"), "no id"),
        (("keys", "import", "none.csv"), "none.csv: No such file"),
        (("admin", "key", "ann", "--role", "king"), "role"),
        (("limits", "set", "k1"), "--none"),
        (("limits", "set", "k1", "requests"), "field=value"),
        (("limits", "set", "k1", "requests=0"), "requests"),
        (("limits", "set", "k1", "speed=5"), "speed"),
        (("budgets", "set", "k1", "usd=0"), "usd"),
        (("nats", "config", "--public-keys", "none"), "none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_and_78(here: Here, arguments: tuple[str, ...], message: str) -> None:
    outcome = here(*arguments)
    assert outcome.returncode == 78, outcome.stderr
    assert message in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "none.yaml"), "none.yaml: No such file"),
        (("--nats-url", "nats://127.0.0.1:1"), "droveway nats users"),
    ],
    ids=["no file", "no seeds"],
)
def test_up_refuses_in_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    outcome = droveway("up", *arguments, folder=tmp_path)
    assert outcome.returncode == 78, outcome.stderr
    assert message in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("API_REQUEST_LIMIT", "lots", "API_REQUEST_LIMIT='lots'"),
        ("DROVEWAY_GATEWAY_PORT", "http", "DROVEWAY_GATEWAY_PORT='http'"),
        ("DROVEWAY_NATS_SERVER_BIN", "/nowhere", "/nowhere doesn't run"),
        ("DROVEWAY_NATS_SERVER_MAX_PENDING_BYTES", "x", "MAX_PENDING_BYTES='x'"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str, message: str) -> None:
    outcome = droveway("up", folder=tmp_path, **{name: value})
    assert outcome.returncode == 78, outcome.stderr
    assert message in outcome.stderr.splitlines()[-1]


def test_a_broken_env_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nOPENAI_API_KEY sk-secret\n")
    outcome = droveway("up", folder=tmp_path)
    assert outcome.returncode == 78
    assert outcome.stderr == "droveway: .env:2: expected NAME=value, a comment or nothing\n"


def test_config_check_counts_and_notes(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    config = configuration({"OPENAI_API_KEY": "k", "HOLYSHEEP_API_KEY": "k"}, make_key(), 8090)
    (here.folder / "droveway.yaml").write_text(to_yaml(config))
    outcome = here("config", "check")
    assert outcome.returncode == 0, outcome.stderr
    assert "2 providers, 7 routes, 1 keys" in outcome.stdout
    assert "HOLYSHEEP_API_KEY isn't set here" in outcome.stdout
    assert "OPENAI_API_KEY" not in outcome.stdout


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("simulator\n", "nobody\n", "isn't configured; known: "),
        ("version: 1", "version: 2", "version"),
        ("providers:", "provider:", "provider"),
        ("${SIMULATOR_API_KEY}", "sk-clear-text", "a secret in clear text"),
    ],
)
def test_config_check_says_what_is_wrong(here: Here, old: str, new: str, message: str) -> None:
    text = "version: 1\n" + to_yaml(configuration({}, make_key(), 8090))
    place = text.rindex(old) if old.endswith("\n") else text.index(old)
    (here.folder / "droveway.yaml").write_text(text[:place] + new + text[place + len(old) :])
    outcome = here("config", "check")
    assert outcome.returncode == 78
    assert message in outcome.stderr
    assert "sk-clear-text" not in outcome.stderr


def test_nats_users_and_config_fit_together(here: Here) -> None:
    users = here("nats", "users")
    (here.folder / "keys").write_text(users.stdout)
    by_seeds = here("nats", "config")
    by_keys = here("nats", "config", "--public-keys", "keys")
    assert by_seeds.stdout == by_keys.stdout
    assert "SU" not in re.findall(r"nkey: (..)", by_keys.stdout)
    assert 'listen: "0.0.0.0:4222"' in by_keys.stdout
