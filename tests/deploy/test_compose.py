"""The compose file: valid, private, and true to the services' own settings."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from droveway.contracts.permissions import USERS
from droveway.runtime.config.file import load
from tests.support import deployed_settings

pytestmark = pytest.mark.ops

FOLDER = Path(__file__).parents[2] / "deploy/compose"
FILE = FOLDER / "compose.yaml"
MADE_BY_SET_UP = "./state"
SEEDS = {user.name for user in USERS}
MONITORING = {"grafana", "prometheus", "prometheus-history", "alertmanager"}
FOREIGN = {"nats", "jaeger", *MONITORING}
OF_ALERTS = MONITORING - {"grafana"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return document


def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    ours: dict[str, dict[str, Any]] = compose["services"]
    return ours


def test_it_follows_the_compose_specification() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_all_services_and_their_surroundings_are_there(compose: dict[str, Any]) -> None:
    others = {"droveway", "setup", "simulator", *FOREIGN}
    assert services(compose).keys() == deployed_settings.SERVICES.keys() | others


def test_every_variable_is_one_that_its_service_reads(compose: dict[str, Any]) -> None:
    for name, service in services(compose).items():
        if name not in FOREIGN:
            told = service["environment"]
            assert deployed_settings.unknown_variables(name, told) == set()
            assert name not in deployed_settings.SERVICES or deployed_settings.read(name, told)


def test_every_mounted_file_exists_or_is_made_by_the_set_up(compose: dict[str, Any]) -> None:
    sources = {
        volume.split(":")[0]
        for service in services(compose).values()
        for volume in service.get("volumes", [])
    }
    kept = {source for source in sources if not source.startswith(MADE_BY_SET_UP)}
    assert {source for source in kept if not (FOLDER / source).exists()} == set()
    secrets = {secret["file"] for secret in compose["secrets"].values()}
    seeds = {f"{MADE_BY_SET_UP}/nats/{user.name}.nk" for user in USERS}
    assert secrets - seeds == {f"{MADE_BY_SET_UP}/grafana.password"}


def test_no_container_gets_the_seed_of_another_user(compose: dict[str, Any]) -> None:
    for name, service in services(compose).items():
        if name in FOREIGN:
            assert not {one["source"] for one in service.get("secrets", [])} & SEEDS, name
            continue
        expected = [{"source": name, "target": f"{name}.nk"}] if name in compose["secrets"] else []
        assert service.get("secrets", []) == expected
        if expected:
            told = service["environment"][f"DROVEWAY_{name.upper()}_NATS_NKEY_FILE"]
            assert told == f"/run/secrets/{name}.nk"


def test_provider_keys_go_to_the_caller_only(compose: dict[str, Any]) -> None:
    holders = [name for name, service in services(compose).items() if "env_file" in service]
    assert holders == ["caller"]


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    published = {
        port for service in services(compose).values() for port in service.get("ports", [])
    }
    assert published
    assert {port for port in published if not port.startswith("127.0.0.1:")} == set()


def test_every_container_is_read_only_and_without_privileges(compose: dict[str, Any]) -> None:
    for name, service in services(compose).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name != "jaeger":
            assert re.fullmatch(r"\$\{DROVEWAY_UID:-\d+\}:\$\{DROVEWAY_GID:-\d+\}", service["user"])
        assert not service["image"].endswith(":latest")


def test_health_is_asked_without_tools_that_the_image_lacks(compose: dict[str, Any]) -> None:
    for name in deployed_settings.SERVICES:
        test = services(compose)[name]["healthcheck"]["test"]
        assert test[:2] == ["CMD", "python"]
        compile(test[3], name, "exec")


def test_the_configuration_that_comes_with_it_is_valid(compose: dict[str, Any]) -> None:
    config = load(str(FOLDER / "config/droveway.yaml"))
    assert config.keys == (), "a key that everybody knows is none"
    port = services(compose)["simulator"]["environment"]["DROVEWAY_SIMULATOR_PORT"]
    assert config.providers[0].base_url == f"http://simulator:{port}/v1"


def test_the_example_environment_names_only_what_the_file_reads() -> None:
    read = set(re.findall(r"\$\{([A-Z_]+)", FILE.read_text()))
    named = re.findall(r"^#?([A-Z_]+)=", (FOLDER / ".env.example").read_text(), re.MULTILINE)
    assert set(named) == read


def test_grafana_has_no_password_but_the_operators(compose: dict[str, Any]) -> None:
    grafana = services(compose)["grafana"]
    told = grafana["environment"]
    assert [name for name in told if "PASSWORD" in name] == ["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert told["GF_USERS_ALLOW_SIGN_UP"] == told["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert "test -s /run/secrets/password" in grafana["entrypoint"][-1]
    assert "./state/grafana:/var/lib/grafana" in grafana["volumes"], "it would forget its users"


def test_grafana_finds_its_files_and_variables(compose: dict[str, Any]) -> None:
    grafana = services(compose)["grafana"]
    mounted = {
        inside: (FOLDER / outside).resolve()
        for outside, inside, _mode in (
            volume.split(":") for volume in grafana["volumes"] if volume.endswith(":ro")
        )
    }
    provisioning = mounted["/etc/grafana/provisioning"]
    provider = yaml.safe_load((provisioning / "dashboards/droveway.yaml").read_text())
    (dashboards,) = provider["providers"]
    assert list(mounted[dashboards["options"]["path"]].glob("*.json"))
    named = "".join(path.read_text() for path in provisioning.rglob("*.yaml"))
    variables = set(re.findall(r"(?<!\$)\$\{?([A-Z][A-Z_]*)", named))
    assert variables <= grafana["environment"].keys()
    hosts = set(re.findall(r"url: http://([a-z-]+):", named))
    assert hosts <= services(compose).keys()


def test_monitoring_is_a_profile_of_its_own(compose: dict[str, Any]) -> None:
    for name, service in services(compose).items():
        assert (service.get("profiles") == ["monitoring"]) is (name in MONITORING), name


def test_the_monitoring_keeps_what_it_has_for_as_long_as_told(compose: dict[str, Any]) -> None:
    for name, kept in (("prometheus", "7d"), ("prometheus-history", "90d")):
        service = services(compose)[name]
        assert f"--storage.tsdb.retention.time={kept}" in service["command"]
        assert "--web.enable-lifecycle" in service["command"]
    stored = [volume for name in OF_ALERTS for volume in services(compose)[name]["volumes"]]
    assert len([volume for volume in stored if volume.startswith("./state/")]) == len(OF_ALERTS)


def test_the_monitoring_reads_files_that_are_there(compose: dict[str, Any]) -> None:
    for name in OF_ALERTS:
        service = services(compose)[name]
        mounted = dict(volume.split(":")[1::-1] for volume in service["volumes"])
        (option,) = (one for one in service["command"] if one.startswith("--config.file="))
        folder, _, file = option.removeprefix("--config.file=").rpartition("/")
        assert (FOLDER / mounted[folder] / file).is_file(), option


def test_prometheus_asks_every_service_and_tells_alertmanager(compose: dict[str, Any]) -> None:
    config = yaml.safe_load((FOLDER / "../../otel/prometheus/compose.yaml").read_text())
    asked = {
        name
        for job in config["scrape_configs"]
        for found in job.get("dns_sd_configs", ())
        for name in found["names"]
    }
    assert asked == deployed_settings.SERVICES.keys()
    (manager,) = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert manager.partition(":")[0] in services(compose)
    by_hand = yaml.safe_load((FOLDER / "../../otel/prometheus/prometheus.yaml").read_text())
    assert [job["job_name"] for job in by_hand["scrape_configs"]] == [
        job["job_name"] for job in config["scrape_configs"]
    ]
