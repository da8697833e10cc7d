"""The Helm chart: real helm renders it, strict schemas and an own policy judge what comes out."""

import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from droveway.contracts.permissions import USERS
from droveway.runtime.config.file import parse
from tests.support import deployed_settings

pytestmark = pytest.mark.ops

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "deploy/helm/droveway"
RULES = REPOSITORY / "otel/prometheus/rules"
EXAMPLES = sorted(path.name for path in (CHART / "examples").iterdir())
SERVICES = set(deployed_settings.SERVICES)
KUBERNETES = ["1.30", "1.37"]
WITHOUT_SCHEMA = {"HTTPRoute", "PodMonitor", "PrometheusRule"}

Manifest = dict[str, Any]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=50, check=False
    )


def values_of(example: str) -> str:
    return str(CHART / "examples" / example / "values.yaml")


def template(example: str, *more: str, version: str = "1.30") -> subprocess.CompletedProcess[str]:
    told = ("--kube-version", f"{version}.0", "--values", values_of(example), *more)
    return run("helm", "template", "droveway", str(CHART), *told)


def render(example: str, *more: str, version: str = "1.30") -> list[Manifest]:
    outcome = template(example, *more, version=version)
    assert outcome.returncode == 0, outcome.stderr
    return [document for document in yaml.safe_load_all(outcome.stdout) if document]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, str, Manifest]]:
    """Kind, component and pod of everything that runs."""
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
            pod = manifest["spec"]["template"]
            component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
            yield manifest["kind"], component, pod["spec"]


def environment(pod: Manifest) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod["containers"][0]["env"]}


@pytest.mark.parametrize("example", EXAMPLES)
def test_lint_finds_nothing(example: str) -> None:
    outcome = run("helm", "lint", "--strict", str(CHART), "-f", values_of(example))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "[WARNING]" not in outcome.stdout


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("example", EXAMPLES)
def test_every_object_has_only_known_fields_of_the_right_type(
    example: str, kubernetes: str, tmp_path: Path
) -> None:
    manifests = render(example, "--set", "ingress.enabled=true", version=kubernetes)
    known = [one for one in manifests if one["kind"] not in WITHOUT_SCHEMA]
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(known))
    outcome = run("kubernetes-validate", "--strict", "-k", kubernetes, str(file))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "WARN" not in outcome.stdout + outcome.stderr


def test_the_validator_refuses_a_misspelt_field(tmp_path: Path) -> None:
    file = tmp_path / "rendered.yaml"
    (deployment, *_) = [one for one in render("minimal") if one["kind"] == "Deployment"]
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    file.write_text(yaml.safe_dump(deployment))
    assert run("kubernetes-validate", "--strict", "-k", "1.37", str(file)).returncode != 0


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("services.gateway.replicas=two", "/services/gateway/replicas"),
        ("services.limiter.replicas=0", "/services/limiter/replicas"),
        ("services.metrics.replicas=3", "/services/metrics/replicas"),
        ("ledger.persistence.size=10GB", "/ledger/persistence/size"),
        ("services.gatway.replicas=2", "gatway"),
        ("otel.sampleRatio=2", "/otel/sampleRatio"),
        ("nats.url=http://nats:4222", "/nats/url"),
        ("image.digest=sha256:1", "/image/digest"),
        ("prometheusRule.runbookUrl=runbooks", "/prometheusRule/runbookUrl"),
        ("prometheusRule.thresholds.cost_usd_per_h=many", "/prometheusRule/thresholds"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(setting: str, place: str) -> None:
    outcome = template("minimal", "--set", setting)
    assert outcome.returncode != 0
    assert place in outcome.stderr


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("nats.embedded=false", "nats.url: empty"),
        ("config=null", "config: empty"),
        ("services.metrics.replicas=2", "services.metrics.replicas: a SQLite file has one writer"),
    ],
)
def test_a_missing_value_is_named(setting: str, advice: str) -> None:
    outcome = template("minimal", "--set", setting)
    assert outcome.returncode != 0
    assert advice in outcome.stderr


def violations(manifests: list[Manifest]) -> Iterator[str]:
    """What a strict cluster would refuse or an operator regret."""
    for kind, component, pod in pods(manifests):
        security = pod.get("securityContext", {})
        if not security.get("runAsNonRoot") or security.get("runAsUser", 0) < 10_000:
            yield f"{component}: runs as root"
        if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{component}: seccomp"
        if pod.get("automountServiceAccountToken", True) or pod.get("enableServiceLinks", True):
            yield f"{component}: service account token or service links"
        if {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys():
            yield f"{component}: host namespaces or unchecked containers"
        if any("hostPath" in volume for volume in pod["volumes"]):
            yield f"{component}: hostPath"
        if kind == "Deployment" and len(pod.get("topologySpreadConstraints", [])) != 2:
            yield f"{component}: may all land on one node"
        for container in pod["containers"]:
            yield from container_violations(kind, component, container)


def container_violations(kind: str, component: str, container: Manifest) -> Iterator[str]:
    wanted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    if container.get("securityContext") != wanted:
        yield f"{component}: container security"
    resources = container.get("resources", {})
    if {"cpu", "memory"} - resources.get("requests", {}).keys():
        yield f"{component}: no requests"
    if "memory" not in resources.get("limits", {}):
        yield f"{component}: no memory limit"
    name = container["image"].rsplit("/", 1)[-1]
    if name.endswith(":latest") or not {":", "@"} & set(name):
        yield f"{component}: image not pinned"
    probes = {"startupProbe", "livenessProbe", "readinessProbe"}
    if kind != "Job" and probes - container.keys():
        yield f"{component}: no probes"
    if any("secretKeyRef" in entry.get("valueFrom", {}) for entry in container.get("env", [])):
        yield f"{component}: a secret in the environment"


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_pod_is_as_a_restricted_namespace_wants_it(example: str) -> None:
    manifests = render(example)
    assert {component for _kind, component, _pod in pods(manifests)} >= {*SERVICES, "setup"}
    assert list(violations(manifests)) == []


def test_no_pod_gets_the_seed_of_another_user() -> None:
    for _kind, component, pod in pods(render("production")):
        secrets = {one["name"]: one["secret"] for one in pod["volumes"] if "secret" in one}
        assert secrets["nats-seed"]["items"] == [
            {"key": f"{component}.nk", "path": f"{component}.nk"}
        ]
        assert component in {user.name for user in USERS}
        told = environment(pod)[f"DROVEWAY_{component.upper()}_NATS_NKEY_FILE"]
        assert told == f"/run/secrets/droveway/nats/{component}.nk"


def test_provider_keys_are_mounted_into_the_callers_only() -> None:
    holders = {
        component
        for _kind, component, pod in pods(render("production"))
        if "droveway-providers" in yaml.safe_dump(pod)
    }
    assert holders == {"caller"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_variable_is_one_that_its_service_reads(example: str) -> None:
    for _kind, component, pod in pods(render(example)):
        if component == "nats":
            continue
        told = environment(pod)
        assert deployed_settings.unknown_variables(component, told) == set()
        if component in SERVICES:
            read = deployed_settings.read(component, told)
            assert (read.admin_host, read.admin_port) == ("0.0.0.0", 9464)
            assert read.nats_nkey_file.endswith(f"/{component}.nk")


def test_the_example_configuration_is_valid_and_mounted_as_a_folder() -> None:
    manifests = render("minimal")
    (config,) = [one for one in manifests if one["kind"] == "ConfigMap"]
    assert parse(config["data"]["droveway.yaml"].encode(), "droveway.yaml").providers
    mounts = [
        mount
        for _kind, component, pod in pods(manifests)
        if component in SERVICES
        for mount in pod["containers"][0]["volumeMounts"]
        if mount["name"] == "config"
    ]
    assert mounts == [{"name": "config", "mountPath": "/etc/droveway", "readOnly": True}] * 5


def egress(manifests: list[Manifest]) -> dict[str, set[int]]:
    """Ports that a policy opens outwards, by policy."""
    return {
        one["metadata"]["name"]: {
            port["port"] for rule in one["spec"].get("egress", []) for port in rule["ports"]
        }
        for one in manifests
        if one["kind"] == "NetworkPolicy"
    }


def test_only_the_callers_get_out_and_not_to_the_metadata_service() -> None:
    manifests = render("production")
    opened = egress(manifests)
    assert opened == {
        "droveway-deny": set(),
        "droveway-bus": {53, 4222, 4318},
        "droveway-gateway": set(),
        "droveway-caller": {443},
        "droveway-metrics": {5432},  # the ledger's database
    }
    named = {one["metadata"]["name"]: one for one in manifests if one["kind"] == "NetworkPolicy"}
    assert named["droveway-deny"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    caller = named["droveway-caller"]["spec"]
    assert caller["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "caller"
    (peer,) = caller["egress"][0]["to"]
    assert "169.254.0.0/16" in peer["ipBlock"]["except"]


def test_a_pod_is_given_longer_than_its_drain_to_stop() -> None:
    for kind, component, pod in pods(render("minimal")):
        if kind == "Deployment":
            name = f"DROVEWAY_{component.upper()}_DRAIN_S"  # limiter and metrics drain nothing
            drain_s = float(environment(pod).get(name, 0))
            pause_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert pod["terminationGracePeriodSeconds"] >= drain_s + pause_s + 10


def test_a_limiter_stands_by_while_another_one_is_replaced() -> None:
    manifests = [one for one in render("minimal") if one["metadata"]["name"] == "droveway-limiter"]
    specs = {one["kind"]: one["spec"] for one in manifests}
    deployment = specs["Deployment"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": 0}
    assert specs["PodDisruptionBudget"]["maxUnavailable"] == 1


def test_sizes_of_streams_reach_the_job_as_whole_numbers() -> None:
    told = ("--set", "setup.env.DROVEWAY_SETUP_LIMITS_MAX_BYTES=268435456")
    ((_kind, _component, pod),) = [one for one in pods(render("minimal", *told)) if one[0] == "Job"]
    assert environment(pod)["DROVEWAY_SETUP_LIMITS_MAX_BYTES"] == "268435456"
    assert deployed_settings.unknown_variables("setup", environment(pod)) == set()


def test_streams_are_made_before_the_services_of_a_release_start() -> None:
    (job,) = [one for one in render("production") if one["kind"] == "Job"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    (trial,) = [one for one in render("minimal") if one["kind"] == "Job"]
    assert "annotations" not in trial["metadata"], "a hook would wait for a server not yet there"


def test_autoscaled_deployments_name_no_replicas() -> None:
    manifests = render("production")
    scaled = {one["metadata"]["name"] for one in manifests if "Autoscaler" in one["kind"]}
    assert scaled == {"droveway-gateway", "droveway-router", "droveway-caller"}
    for one in manifests:
        if one["kind"] == "Deployment":
            assert ("replicas" in one["spec"]) != (one["metadata"]["name"] in scaled)


def rules(*more: str) -> dict[str, Manifest]:
    """The rules of the production example, by file."""
    return {
        one["metadata"]["name"].removeprefix("droveway-"): one
        for one in render("production", *more)
        if one["kind"] == "PrometheusRule"
    }


def test_the_rules_are_those_of_the_repository_but_for_their_thresholds() -> None:
    files = {path.stem: yaml.safe_load(path.read_text()) for path in RULES.glob("*.yaml")}
    found = rules()
    assert found.keys() == files.keys()
    differing = {name for name, one in found.items() if one["spec"] != files[name]}
    assert differing == {"thresholds"}
    assert all(
        one["metadata"]["labels"]["release"] == "kube-prometheus-stack" for one in found.values()
    )


def test_thresholds_and_the_place_of_runbooks_can_be_set() -> None:
    own = "https://wiki.example.com/droveway"
    found = rules("--set", f"prometheusRule.runbookUrl={own}")
    alert = next(one for one in found["api"]["spec"]["groups"][0]["rules"] if "alert" in one)
    assert alert["annotations"]["runbook_url"] == f"{own}/{alert['alert']}.md"
    (group,) = found["thresholds"]["spec"]["groups"]
    set_to = {one["record"].rsplit(":", 1)[-1]: one["expr"] for one in group["rules"]}
    assert set_to["cost_usd_per_h"] == "500"
    assert set_to["error_high_ratio"] == "0.05"


def test_a_misspelt_threshold_is_refused() -> None:
    outcome = template("production", "--set", "prometheusRule.thresholds.cost_usd=5")
    assert outcome.returncode != 0
    assert "no cost_usd;" in outcome.stderr


def test_prometheus_takes_the_rules_as_the_chart_renders_them(tmp_path: Path) -> None:
    for name, one in rules().items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(one["spec"]))
        outcome = run("promtool", "check", "rules", str(file))
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_a_packaged_chart_holds_the_files_themselves(tmp_path: Path) -> None:
    outcome = run("helm", "package", str(CHART), "--destination", str(tmp_path))
    assert outcome.returncode == 0, outcome.stderr
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as packed:
        inside = {member.name for member in packed.getmembers() if member.isfile()}
    assert {f"droveway/rules/{path.name}" for path in RULES.glob("*.yaml")} <= inside


def test_the_rendered_manifest_is_that_of_the_chart(tmp_path: Path) -> None:
    fresh = tmp_path / "droveway.yaml"
    outcome = run("sh", "deploy/tools/render.sh", str(fresh))
    assert outcome.returncode == 0, outcome.stderr
    committed = REPOSITORY / "deploy/kubernetes/droveway.yaml"
    assert committed.read_text() == fresh.read_text(), "run deploy/tools/render.sh"
