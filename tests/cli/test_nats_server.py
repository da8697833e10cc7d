import subprocess
from pathlib import Path

import pytest

from droveway.cli import nats_server, ports
from droveway.cli.data_folder import DataFolder, write_private
from droveway.cli.nats_config import NatsServerSettings, Place, server_config
from droveway.cli.nats_users import ensure_users, public_key, read_public_keys
from droveway.contracts.permissions import USERS
from droveway.runtime.errors import SettingsError

OWN = NatsServerSettings()


def fake_server(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_the_installed_server_is_found_and_new_enough() -> None:
    major, minor, _patch = nats_server.version(nats_server.find(OWN)).split(".")
    assert (int(major), int(minor)) >= nats_server.OLDEST


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("nats-server: v2.13.9", "2.13.9; 2.14 or newer"),
        ("nats-server: v1.4.1", "1.4.1; 2.14 or newer"),
        ("hello", "no nats-server: it says 'hello'"),
    ],
)
def test_another_server_is_refused(tmp_path: Path, says: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        nats_server.version(fake_server(tmp_path / "nats-server", says))


def test_a_named_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    binary = nats_server.find(NatsServerSettings(bin=str(tmp_path / "none")))
    with pytest.raises(SettingsError, match="doesn't run as nats-server"):
        nats_server.version(binary)


@pytest.mark.parametrize("log_file", ["", "/tmp/nats.log"])
def test_the_server_accepts_every_line(tmp_path: Path, log_file: str) -> None:
    place = Place(
        listen="127.0.0.1:4222",
        store_dir=str(tmp_path / 'with "quotes" $and spaces'),
        log_file=log_file,
        monitor="127.0.0.1:8222",
    )
    path = tmp_path / "server.conf"
    path.write_text(server_config(ensure_users(DataFolder(tmp_path)), place, OWN))
    command = [str(nats_server.find(OWN)), "-t", "-c", str(path)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


def test_seeds_are_private_and_the_same_the_next_time(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    first = ensure_users(folder)
    assert ensure_users(folder) == first
    assert set(first) == {user.name for user in USERS}
    assert len(set(first.values())) == len(first)
    assert folder.nats.stat().st_mode & 0o777 == 0o700
    for user in first:
        assert folder.seed_file(user).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "hello", "U" * 56, "SU" + "A" * 56])
def test_a_broken_seed_is_told_without_its_content(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.nk"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"gateway\.nk: no NKey seed"):
        public_key(path)


def test_public_keys_are_read_as_they_are_printed(tmp_path: Path) -> None:
    keys = ensure_users(DataFolder(tmp_path))
    text = "# comment\n" + "".join(f"{user} {key}\n" for user, key in keys.items())
    assert read_public_keys(text, "keys") == keys


@pytest.mark.parametrize("text", ["", "gateway", "gateway SUAB", "gateway " + "U" * 56])
def test_incomplete_public_keys_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected"):
        read_public_keys(text, "keys")


def test_a_private_file_is_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [*path.parent.iterdir()] == [path]


def test_a_data_folder_is_for_one_at_a_time(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    with first.locked(), pytest.raises(SettingsError, match="in use"), second.locked():
        pass
    with second.locked():
        pass


def test_the_first_key_stays(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    key = folder.first_key()
    assert folder.first_key() == key
    write_private(tmp_path / "key", "sk-other")
    with pytest.raises(SettingsError, match="delete the file"):
        folder.first_key()


def test_a_silent_port_is_told() -> None:
    with pytest.raises(SettingsError, match="no NATS server at 127"):
        ports.wait_for_nats("127.0.0.1", ports.free(), 0.05)


def test_a_taken_port_is_passed_over() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert not ports.is_free(taken)
        assert ports.free(taken) != taken
        assert ports.next_free(taken, "127.0.0.1") > taken
