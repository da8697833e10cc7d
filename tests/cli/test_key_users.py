"""NATS users of client keys: their seeds, the configuration's word, the server's lists, `ask`."""

import asyncio
import subprocess
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import yaml

from droveway.cli import plan
from droveway.cli.config import to_yaml
from droveway.cli.data_folder import DataFolder
from droveway.cli.main import main
from droveway.cli.nats_config import NatsServerSettings, Place, server_config
from droveway.cli.nats_server import find
from droveway.cli.nats_users import ensure_key_user, ensure_users, public_key
from droveway.cli.plan import Options
from droveway.contracts.config import Config
from droveway.contracts.permissions import tenant_user
from droveway.runtime.api_key import make_key, parse_key
from droveway.runtime.config.file import parse
from droveway.runtime.errors import SettingsError
from tests.support.bus_client import with_bus_users
from tests.support.flows import only_first
from tests.support.nats import NatsServer, droveway_config, nats  # noqa: F401
from tests.support.stack import running_stack

KEY_ID = "client-1"


class Printed(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


def droveway(capture: pytest.CaptureFixture[str], *arguments: str) -> Printed:
    code = 0
    try:
        main(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    return Printed(code, *capture.readouterr())


def _config(nats_user: str) -> Config:
    config = droveway_config("http://127.0.0.1:9/v1", key=make_key("test"))
    key = msgspec.structs.replace(config.keys[0], id=KEY_ID, nats_user=nats_user)
    return msgspec.structs.replace(config, keys=(key,))


@pytest.fixture
def public(tmp_path: Path) -> str:
    return ensure_key_user(DataFolder(tmp_path / "data"), KEY_ID)


def test_a_users_seed_is_private_and_stays_the_same(tmp_path: Path, public: str) -> None:
    folder = DataFolder(tmp_path / "data")
    seed = folder.key_seed_file(KEY_ID)
    assert seed.stat().st_mode & 0o777 == 0o600
    assert ensure_key_user(folder, KEY_ID) == public_key(seed) == public
    assert public.startswith("U")


def test_the_command_prints_the_public_key_and_never_the_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(tmp_path / "data")
    printed = droveway(capsys, "keys", "nats", KEY_ID, "--data", data)
    assert printed.code == 0
    again = droveway(capsys, "keys", "nats", KEY_ID, "--data", data)
    assert again.out == printed.out
    assert f"nats_user: {printed.out.strip()}" in printed.err
    seed = DataFolder(tmp_path / "data").key_seed_file(KEY_ID).read_text()
    assert seed not in printed.out + printed.err


@pytest.mark.parametrize("key_id", ["", "../x", "A", "a.b", "x" * 65])
def test_an_id_that_no_key_has_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key_id: str
) -> None:
    printed = droveway(capsys, "keys", "nats", key_id, "--data", str(tmp_path))
    assert printed.code == 78
    assert "no key id" in printed.err


def test_a_new_key_takes_its_users_public_key(
    public: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = droveway(capsys, "keys", "new", "--entry", "--nats-user", public)
    assert printed.code == 0
    entry = yaml.safe_load(printed.err[printed.err.index("keys:") :])["keys"][0]
    assert entry["nats_user"] == public
    assert droveway(capsys, "keys", "new", "--nats-user", "SUABC").code == 78


def test_the_configuration_refuses_a_user_that_no_server_would_take(public: str) -> None:
    assert parse(to_yaml(_config(public)).encode(), "x").keys[0].nats_user == public
    mistyped = public[:-1] + ("A" if public[-1] != "A" else "B")
    with pytest.raises(SettingsError, match=r"keys\[0\].nats_user: .* is mistyped"):
        parse(to_yaml(_config(mistyped)).encode(), "x")
    with pytest.raises(SettingsError, match="nats_user"):
        parse(to_yaml(_config("nobody")).encode(), "x")


def test_two_keys_do_not_share_a_user(public: str) -> None:
    config = _config(public)
    other = msgspec.structs.replace(config.keys[0], id="other", sha256="0" * 64)
    both = msgspec.structs.replace(config, keys=(*config.keys, other))
    with pytest.raises(SettingsError, match=r"keys\[1\].nats_user: .* stands twice"):
        parse(to_yaml(both).encode(), "x")


def test_a_servers_configuration_has_the_users_of_the_keys(
    tmp_path: Path, public: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "droveway.yaml"
    file.write_text(to_yaml(_config(public)))
    data = str(tmp_path / "data")
    printed = droveway(capsys, "nats", "config", "--data", data, "--config", str(file))
    assert printed.out.count(f"nkey: {public}") == 1
    for pattern in (*tenant_user(KEY_ID).publish, *tenant_user(KEY_ID).subscribe):
        assert f'"{pattern}"' in printed.out


def test_a_server_accepts_it(tmp_path: Path, public: str) -> None:
    place = Place(listen="127.0.0.1:0", store_dir=str(tmp_path / "jetstream"))
    users = ensure_users(DataFolder(tmp_path / "data"))
    path = tmp_path / "server.conf"
    path.write_text(server_config(users, place, NatsServerSettings(), {KEY_ID: public}))
    subprocess.run([find(NatsServerSettings()), "-t", "-c", path], check=True, timeout=20)


async def test_a_running_server_learns_a_user_without_dropping_anybody(
    nats: NatsServer,  # noqa: F811
) -> None:
    async with nats.bus("gateway") as bus:
        nats.add_key_user("learned-later")
        await bus.settle()
        assert bus.ready
        assert bus.statistics().reconnects == 0


def test_up_gives_its_first_key_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = plan.make(Options(Path("data"), port=0), {})
    key_id = parse_key(first.key).id
    seed = first.key_seed()
    assert seed is not None
    assert first.config.keys[0].nats_user == first.key_users[key_id] == public_key(seed)
    assert plan.make(Options(Path("data"), port=0), {}).key_users == first.key_users
    own = tmp_path / "own.yaml"
    own.write_text(
        to_yaml(
            msgspec.structs.replace(
                first.config, keys=(msgspec.structs.replace(first.config.keys[0], nats_user=""),)
            )
        )
    )
    told = plan.make(Options(Path("data"), port=0, config=own), {})
    assert told.key_users == first.key_users, "also when its owner's file doesn't name one"
    own.write_text(to_yaml(_config("")))
    assert plan.make(Options(Path("data"), port=0, config=own), {}).key_seed() is None


async def test_ask_prints_the_answer(
    nats: NatsServer,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running_stack(
        nats, tmp_path, configure=lambda config: with_bus_users(nats, only_first(config))
    ) as stack:
        key_id = parse_key(stack.key).id
        printed = await asyncio.to_thread(
            droveway, capsys, "ask", "--server", nats.url, "--key-id", key_id,
            "--seed-file", str(nats.folder.key_seed_file(key_id)), "--model", "numbered-5",
            "--data", str(tmp_path), "Hello",
        )  # fmt: skip
        refused = await asyncio.to_thread(
            droveway, capsys, "ask", "--server", nats.url, "--key-id", key_id,
            "--seed-file", str(nats.folder.key_seed_file(key_id)), "--model", "fault-400",
            "--data", str(tmp_path), "Hello",
        )  # fmt: skip
    assert printed.code == 0
    assert "t0 t1 t2 t3 t4" in printed.out
    assert "5 tokens by upstream-1, req_" in printed.out
    assert refused.code == 69
    assert "400 provider_rejected" in refused.err
