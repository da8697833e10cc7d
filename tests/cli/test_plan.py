import socket
from pathlib import Path

import pytest

from droveway.cli import plan
from droveway.cli.config import to_yaml
from droveway.cli.data_folder import DataFolder
from droveway.cli.nats_users import ensure_users
from droveway.cli.plan import Options, Plan
from droveway.cli.processes import SERVICES
from droveway.runtime.api_key import make_key
from droveway.runtime.errors import SettingsError
from tests.support.nats import droveway_config

UPSTREAM = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DROVEWAY_CONFIG", raising=False)
    return tmp_path


def make(environment: dict[str, str] | None = None, **options: object) -> Plan:
    values: dict[str, object] = {"data": Path("data")}
    return plan.make(Options(**(values | options)), environment or {})  # type: ignore[arg-type]


def test_without_a_key_the_simulator_is_the_provider() -> None:
    made = make({"DROVEWAY_SIMULATOR_PORT": "18090"})
    assert made.generated
    assert made.services[0] == "simulator"
    assert made.environment["DROVEWAY_SIMULATOR_PORT"] == "18090"
    assert made.config.providers[0].base_url == "http://127.0.0.1:18090/v1"
    assert made.config_path.stat().st_mode & 0o777 == 0o600
    assert made.model() == "sim-small"


def test_with_a_key_there_is_no_simulator() -> None:
    made = make({"DEEPSEEK_API_KEY": "k"})
    assert "simulator" not in made.services
    assert made.model() == "deepseek-chat"


def test_only_the_caller_gets_provider_keys() -> None:
    made = make({"DEEPSEEK_API_KEY": "k", "OTHER_API_KEY": "k", "HOME": "/"})
    assert {"DEEPSEEK_API_KEY", "OTHER_API_KEY"} <= made.environment_of("caller").keys()
    for service in ("gateway", "router", "limiter", "metrics"):
        own = made.environment_of(service)
        assert not {"DEEPSEEK_API_KEY", "OTHER_API_KEY"} & own.keys()
        assert own["HOME"] == "/"


def test_a_file_in_this_folder_wins_over_the_environment(empty_folder: Path) -> None:
    (empty_folder / "droveway.yaml").write_text(to_yaml(droveway_config(UPSTREAM)))
    made = make({"DEEPSEEK_API_KEY": "k"})
    assert not made.generated
    assert made.config_path == empty_folder / "droveway.yaml"
    assert made.config.providers[0].base_url == UPSTREAM
    assert made.key == "", "the file doesn't know the first key"


def test_a_named_file_wins_over_the_one_in_this_folder(empty_folder: Path) -> None:
    (empty_folder / "droveway.yaml").write_text("broken")
    named = empty_folder / "mine.yaml"
    key = DataFolder(Path("data")).first_key()
    named.write_text(to_yaml(droveway_config(UPSTREAM, key=key)))
    made = make(config=named)
    assert made.config_path == named
    assert made.key == key


def test_everything_is_sampled_unless_told_otherwise() -> None:
    assert make().environment["OTEL_TRACES_SAMPLER_ARG"] == "1.0"
    assert make({"OTEL_TRACES_SAMPLER_ARG": "0.1"}).environment["OTEL_TRACES_SAMPLER_ARG"] == "0.1"


def test_each_service_has_its_user_and_its_admin_port() -> None:
    made = make({"DROVEWAY_ROUTER_ADMIN_PORT": "1234"})
    seeds = {made.environment[f"DROVEWAY_{name.upper()}_NATS_NKEY_FILE"] for name in SERVICES}
    assert len(seeds) == len(SERVICES)
    assert made.admin_port("router") == 1234
    assert len({made.admin_port(name) for name in SERVICES}) == len(SERVICES)


def test_the_gateway_takes_the_next_port_when_none_was_named() -> None:
    port = make().gateway_port
    assert port >= plan.GATEWAY_PORT
    with socket.create_server(("127.0.0.1", port)):
        made = make()
        assert made.gateway_port > port
        assert made.notes == (f"port 8080 is taken: the gateway listens on {made.gateway_port}",)
        with pytest.raises(SettingsError, match=f"port {port} on 127.0.0.1 is taken"):
            make(port=port)
        with pytest.raises(SettingsError, match="choose another"):
            make({"DROVEWAY_GATEWAY_PORT": str(port)})


@pytest.mark.parametrize("named", ["option", "environment"])
def test_an_external_server_needs_seeds(named: str) -> None:
    url = "nats://nats.example:4222"
    environment = {"DROVEWAY_NATS_URL": url} if named == "environment" else {}
    options = {"nats_url": url} if named == "option" else {}
    with pytest.raises(SettingsError, match="no NKey seeds of gateway, router, "):
        make(environment, **options)
    ensure_users(DataFolder(Path("data")))
    made = make(environment, **options)
    assert (made.embedded, made.nats_url) == (False, url)


def test_the_embedded_server_keeps_its_port() -> None:
    first = make()
    first.folder.remember_server(first.nats_url)
    assert first.embedded
    assert make().nats_url == first.nats_url


def test_a_key_is_not_in_the_written_file() -> None:
    made = make({"OPENAI_API_KEY": make_key()})
    text = made.config_path.read_text()
    assert made.key not in text
    assert text.startswith("# Made by `droveway up`")
    assert "${OPENAI_API_KEY}" in text
