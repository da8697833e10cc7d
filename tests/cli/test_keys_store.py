"""Keys, tenants, limits and budgets by the command line, over a real broker, all recorded."""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from droveway.cli.main import main
from droveway.contracts.admission import (
    BudgetStanding,
    LimitStanding,
    StandingReported,
    standing_decoder,
)
from droveway.contracts.envelope import encode
from droveway.runtime.api_key import hash_key, parse_key
from droveway.runtime.bus import Bus
from tests.support.access import delete_stream, fill_trail, make_streams
from tests.support.nats import NatsServer, droveway_config, serving, write_droveway_config

FOREIGN = "sk-holysheep-0123456789abcdef"


class Outcome:
    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code, self.stdout, self.stderr = code, stdout, stderr

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Here:
    """Runs commands in a folder whose `.droveway` knows the server."""

    def __init__(self, folder: Path, nats: NatsServer, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.nats = nats
        self._capture = capture

    def __call__(self, *arguments: str) -> Outcome:
        self._capture.readouterr()
        code = 0
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        return Outcome(code, *self._capture.readouterr())

    def new(self, *arguments: str) -> tuple[str, str]:
        secret = self("keys", "new", *arguments).stdout.strip()
        return secret, parse_key(secret).id

    def key(self, key_id: str) -> Any:
        return self("keys", "show", key_id, "--json").json

    def audit(self) -> Any:
        return self("admin", "audit", "--json").json


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Here]:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if "DROVEWAY" in name or name.startswith("NATS_"):
            monkeypatch.delenv(name)
    with serving(tmp_path / ".droveway") as nats:
        asyncio.run(make_streams(nats))
        yield Here(tmp_path, nats, capsys)


def test_a_key_is_made_shown_listed_disabled_and_deleted(here: Here) -> None:
    secret, key_id = here.new(
        "--tenant", "acme", "--requests", "100", "--model", "gpt-*", "--address", "10.0.0.0/8"
    )
    shown = here.key(key_id)
    assert shown == {
        "id": key_id, "tenant": "acme", "state": "active", "from": "store", "models": ["gpt-*"],
        "limits": [{"requests": 100, "window_s": 60.0}], "addresses": ["10.0.0.0/8"],
    }  # fmt: skip
    text = here("keys", "list").stdout
    assert re.search(rf"{key_id} +acme +active +never +gpt-\* +100 requests / 60 s", text)
    assert here("keys", "list", "--tenant", "other", "--json").json == []
    for command, state in (("disable", "disabled"), ("enable", "active")):
        assert here("keys", command, key_id).code == 0
        assert here.key(key_id)["state"] == state
    assert here("keys", "delete", key_id).code == 0
    assert here("keys", "show", key_id).code == 78
    everything = json.dumps(here.audit()) + text
    assert secret not in everything
    assert hash_key(secret) not in everything
    assert [event["action"] for event in here.audit()] == [
        "key.deleted", "key.updated", "key.updated", "key.created",
    ]  # fmt: skip
    assert {event["by"]["via"] for event in here.audit()} == {"operator"}
    assert "key.updated" in here("admin", "audit").stdout


def test_a_rotated_key_keeps_its_id_and_its_limits(here: Here) -> None:
    first, key_id = here.new("--requests", "5")
    second = here("keys", "rotate", key_id, "--overlap-s", "60").stdout.strip()
    assert parse_key(second).id == key_id
    assert second != first
    shown = here.key(key_id)
    assert [limit["requests"] for limit in shown["limits"]] == [5]
    assert shown["previous_until"]
    assert "previous_until" not in here("keys", "rotate", key_id, "--overlap-s", "0").stdout
    assert "previous_until" not in here.key(key_id)
    assert here("keys", "rotate", key_id, "--overlap-s", "-1").code == 78
    mistyped = here("keys", "rotate", key_id, "--environment", "LIVE_")
    assert (mistyped.code, mistyped.stdout) == (78, "")
    assert "expected 1 to 16 of [a-z0-9]" in mistyped.stderr
    assert "is not" in here("keys", "rotate", key_id, "--overlap-s", "0").stderr


def test_limits_and_budgets_are_set_topped_up_and_removed(here: Here) -> None:
    _, key_id = here.new()
    assert here("limits", "set", key_id, "requests=5,tokens=700", "concurrency=2").code == 0
    assert here("budgets", "set", key_id, "usd=5,period=day,soft=0.5/0.9").code == 0
    assert here("budgets", "top-up", key_id, "10").code == 0
    assert here("budgets", "top-up", key_id, "2.5").stderr.endswith("$12.5 / total\n")
    shown = here.key(key_id)
    assert shown["limits"] == [{"requests": 5, "tokens": 700}, {"concurrency": 2}]
    assert shown["budgets"] == [
        {"usd": 5.0, "period": "day", "soft": [0.5, 0.9]}, {"usd": 12.5, "period": "total"},
    ]  # fmt: skip
    contradictory = here("limits", "set", key_id, "requests=5", "requests=6")
    assert contradictory.code == 78
    assert "limits[1].requests" in contradictory.stderr
    assert "there are requests, tokens" in here("limits", "set", key_id, "request=5").stderr
    long = [f"requests={5 + at},window_s={at}" for at in range(1, 9)]
    assert here("limits", "set", key_id, *long).code == 0
    assert f"\n{key_id} " in here("keys", "list").stdout
    for usd in ("0", "-1", "nan", "1e-12", "1e10"):
        assert here("budgets", "top-up", key_id, "--", usd).code == 78
    assert here("budgets", "set", key_id, "usd=nan").code == 78
    assert here("limits", "set", key_id, "--none").code == 0
    assert "limits" not in here.key(key_id)


def test_tenants_are_made_limited_and_disabled(here: Here) -> None:
    assert here("tenants", "new", "acme", "--name", "Acme [b]Inc").code == 0
    assert here("tenants", "new", "acme").code == 78
    assert here("limits", "set", "acme", "--tenant", "requests=5").code == 0
    assert here("budgets", "top-up", "acme", "10", "--tenant").code == 0
    assert here("tenants", "disable", "acme").code == 0
    assert here("tenants", "show", "acme", "--json").json == {
        "id": "acme", "name": "Acme [b]Inc", "state": "disabled", "from": "store",
        "limits": [{"requests": 5}], "budgets": [{"usd": 10.0, "period": "total"}],
    }  # fmt: skip
    assert "Acme [b]Inc" in here("tenants", "list").stdout
    assert here("tenants", "enable", "acme").code == 0
    assert here("tenants", "rate", "acme", "7.1").stderr == "acme is shown 7.1 yuan for a dollar\n"
    assert here("tenants", "show", "acme", "--json").json["usd_cny"] == 7.1
    assert here("tenants", "rate", "acme", "0").code == 78
    assert here("tenants", "rate", "acme").code == 0
    assert "usd_cny" not in here("tenants", "show", "acme", "--json").json
    assert here("tenants", "delete", "acme").stderr == "acme is gone\n"
    assert here("tenants", "list", "--json").json == []


def test_a_tenant_that_keys_name_is_not_deleted(here: Here) -> None:
    filed, _ = here.new("--tenant", "default")
    config = droveway_config("http://127.0.0.1:9/v1", key=filed)
    write_droveway_config(here.folder / "droveway.yaml", config)
    assert here("tenants", "new", config.keys[0].tenant).code == 0
    assert here("tenants", "delete", config.keys[0].tenant).code == 78
    _, key_id = here.new("--tenant", "acme")
    assert here("tenants", "new", "acme").code == 0
    assert here("tenants", "disable", "acme").code == 0
    refused = here("tenants", "delete", "acme")
    assert refused.code == 78
    assert "keys name the tenant 'acme' (1)" in refused.stderr
    assert "`droveway keys list --tenant acme` shows them" in refused.stderr
    assert here("tenants", "show", "acme", "--json").json["state"] == "disabled"
    assert here("keys", "delete", key_id).code == 0
    assert here("tenants", "delete", "acme").code == 0


def test_entries_of_the_file_are_listed_and_changed_in_the_file_only(here: Here) -> None:
    secret, _ = here.new()
    write_droveway_config(
        here.folder / "droveway.yaml", droveway_config("http://127.0.0.1:9/v1", key=secret)
    )
    key_id = parse_key(secret).id
    listed = here("keys", "list", "--json").json
    assert sorted(one["from"] for one in listed) == ["file", "shadowed"]
    assert here.key(key_id)["from"] == "file"
    refused = here("keys", "disable", key_id)
    assert refused.code == 78
    assert "droveway.yaml; change it there" in refused.stderr


def test_a_file_that_cannot_be_read_is_told_since_its_entries_would_win(here: Here) -> None:
    (here.folder / "droveway.yaml").write_text("keys: 5\n")
    refused = here("keys", "disable", "legacy")
    assert refused.code == 78
    assert "entries of the file aren't known here: " in refused.stderr
    listed = here("keys", "list", "--json")
    assert (listed.code, listed.json) == (0, [])


def test_what_cannot_be_recorded_is_not_done(here: Here) -> None:
    asyncio.run(delete_stream(here.nats))
    refused = here("keys", "new")
    assert refused.code == 69
    assert refused.stdout == ""
    assert "nothing was done" in refused.stderr
    assert here("keys", "list", "--json").json == []


def test_a_key_is_disabled_though_the_trail_is_full_and_that_is_said(here: Here) -> None:
    _, key_id = here.new()
    asyncio.run(fill_trail(here.nats))
    refused = here("limits", "set", key_id, "requests=5")
    assert refused.code == 69
    assert "maximum bytes exceeded" in refused.stderr
    done = here("keys", "disable", key_id)
    assert done.code == 0
    assert f"no event of this key.updated of key.{key_id}" in done.stderr
    assert here.key(key_id)["state"] == "disabled"
    assert len(here.audit()) == 1


@pytest.mark.parametrize("form", ["csv", "json"])
def test_keys_that_clients_have_are_imported_once_by_their_hashes(here: Here, form: str) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "old", "sha256": hash_key(FOREIGN), "models": ["gpt-*", "o3"]},
        {"sha256": hash_key("app-" + "x" * 20).upper(), "state": "disabled", "tenant": "other"},
    ]
    file = here.folder / f"keys.{form}"
    if form == "json":
        file.write_text(json.dumps(rows))
    else:
        lines = ["id,sha256,state,tenant,models"]
        lines += [f"old,{rows[0]['sha256']},,,gpt-* o3", f",{rows[1]['sha256']},disabled,other,"]
        file.write_text("\ufeff" + "\r\n".join(lines))
    done = here("keys", "import", str(file), "--tenant", "acme")
    assert done.stderr.startswith("2 imported, 0 were there already")
    assert here("keys", "import", str(file)).stderr.startswith("0 imported, 2 were there")
    assert here.key("old")["models"] == ["gpt-*", "o3"]
    listed = here("keys", "list", "--json").json
    assert [(one["tenant"], one["state"]) for one in listed] == [
        ("acme", "active"), ("other", "disabled"),
    ]  # fmt: skip
    assert [event["action"] for event in here.audit()] == ["key.created"] * 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,key\nk1," + FOREIGN, "row 1: no `sha256`"),
        ("id,sha256\nk1," + FOREIGN, "row 1: sha256: expected 64 hex digits"),
        ("id,sha256\nk1", "not as many fields"),
        ("id,sha256\nBig Corp," + "a" * 64, "row 1: Expected `str` matching"),
        ("sha256,expires\n" + "a" * 64 + ",tomorrow", "row 1: expires"),
        ("sha256\n" + "a" * 64 + "\n" + "a" * 64, "stands twice"),
        ('[{"sha256": 5}]', "row 1: sha256"),
        ('[{"sha256": "' + "a" * 64 + '", "extra": 1}]', "row 1: Object contains unknown"),
        ("[1]", "no JSON list of entries"),
        ("[" * 5_000, "no JSON list"),
        ('"', "neither JSON nor CSV"),
    ],
    ids=lambda value: value[:24],
)
def test_a_wrong_row_imports_nothing_and_is_never_repeated(
    here: Here, text: str, words: str
) -> None:
    file = here.folder / "keys"
    file.write_text(text)
    refused = here("keys", "import", str(file))
    assert refused.code == 78, refused.stderr
    assert words in refused.stderr
    assert FOREIGN not in refused.stderr
    assert here("keys", "list", "--json").json == []


async def answer_standing(nats: NatsServer, stop: asyncio.Event) -> None:
    """As the limiter's owner would."""

    def on_question(payload: bytes, reply: str) -> None:
        asked = standing_decoder.decode(payload)
        limit = LimitStanding(
            scope="key", kind="requests", limit=100, used=37, window_ms=60_000, reset_ms=12_300
        )
        budget = BudgetStanding(
            scope="tenant", period="month", limit_nano=5 * 10**9, spent_nano=10**9,
            reserved_nano=10**8, resets_ms=7_200_000,
        )  # fmt: skip
        report = StandingReported(
            key_id=asked.key_id, owner="limiter-1", limits=(limit,), budgets=(budget,)
        )
        limiter.publish(reply, encode(report))

    limiter: Bus
    async with nats.bus("limiter") as limiter:
        await limiter.subscribe("droveway.v1.standing.0", on_question)
        await stop.wait()


async def test_limits_and_budgets_are_shown_as_the_limiter_counts(here: Here) -> None:
    _, key_id = await asyncio.to_thread(here.new)
    nobody = await asyncio.to_thread(here, "limits", "show", key_id)
    assert nobody.code == 69
    assert "no limiter tells" in nobody.stderr
    stop = asyncio.Event()
    answering = asyncio.create_task(answer_standing(here.nats, stop))
    try:
        await asyncio.sleep(0.2)
        told = await asyncio.to_thread(here, "limits", "show", key_id)
        assert re.search(r"key +requests +\* +37 +100 +63 +60 +12\.3", told.stdout)
        assert re.search(r"tenant +month +1\.0+ +0\.1", told.stdout)
        money = await asyncio.to_thread(here, "budgets", "show", key_id)
        assert "requests" not in money.stdout
        as_json = await asyncio.to_thread(here, "limits", "show", key_id, "--json")
        assert as_json.json["key_id"] == key_id
    finally:
        stop.set()
        await answering


def test_an_admins_key_comes_with_its_entry(here: Here) -> None:
    made = here("admin", "key", "ann", "--role", "operator")
    secret = made.stdout.strip()
    assert secret.startswith("dw_admin_")
    assert hash_key(secret) in made.stderr
    assert "role: operator" in made.stderr
