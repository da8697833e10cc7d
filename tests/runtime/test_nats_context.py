"""Contexts of the `nats` command line: found, read as it reads them, refused where we couldn't."""

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from droveway.cli import nats_server, ports
from droveway.cli.nats_config import NatsServerSettings
from droveway.contracts.envelope import new_instance
from droveway.limiter.settings import LimiterSettings
from droveway.runtime.bus import BusSettings, connect
from droveway.runtime.errors import SettingsError
from droveway.runtime.nats_context import overridden, read_context, selected_context, service_broker
from droveway.runtime.settings import read
from tests.support.nats import NatsServer
from tests.support.operator_mode import OperatorModeServer, serving

BLANK = dict.fromkeys(
    (
        *("description", "url", "socks_proxy", "token", "user", "password", "creds", "nkey"),
        *("cert", "key", "ca", "nsc", "jetstream_domain", "jetstream_api_prefix"),
        *("jetstream_event_prefix", "inbox_prefix", "user_jwt", "user_seed", "color_scheme"),
        *("windows_cert_store", "windows_cert_match_by", "windows_cert_match"),
    ),
    "",
)
"""As `nats context save` writes it: every field, most of them empty."""
SECRET = "canary-5f1e"
START_LIMIT_S = 10
OPENSSL = shutil.which("openssl")
NEEDS_OPENSSL = pytest.mark.skipif(OPENSSL is None, reason="makes its certificates with openssl")


class Contexts:
    """A home folder with contexts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {"HOME": str(home)}

    def save(self, name: str, **fields: Any) -> Path:
        path = self.home / ".config" / "nats" / "context" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {**BLANK, "tls_first": False, "windows_ca_certs_match": None, **fields}
        path.write_text(json.dumps(whole, indent=2))
        return path

    def select(self, name: str) -> None:
        (self.home / ".config" / "nats" / "context.txt").write_text(f"{name}\n")

    def read(self, name: str = "") -> BusSettings:
        return read_context(name, self.environment)


@pytest.fixture
def contexts(tmp_path: Path) -> Contexts:
    return Contexts(tmp_path)


FIELDS: dict[str, tuple[dict[str, Any], BusSettings]] = {
    "nothing": ({}, BusSettings(servers=("nats://127.0.0.1:4222",))),
    "a list of addresses": (
        {"url": "nats://a:1, tls://b:2,c:3"},
        BusSettings(servers=("nats://a:1", "tls://b:2", "nats://c:3")),
    ),
    "user": (
        {"url": "nats://a", "user": "u", "password": SECRET},
        BusSettings(servers=("nats://a",), user="u", password=SECRET),
    ),
    "token": (
        {"url": "nats://a", "token": SECRET},
        BusSettings(servers=("nats://a",), token=SECRET),
    ),
    "creds": (
        {"url": "nats://a", "creds": "/k/u.creds"},
        BusSettings(servers=("nats://a",), credentials_file="/k/u.creds"),
    ),
    "nkey by URL": (
        {"url": "nats://a", "nkey": "file:///k/u.nk"},
        BusSettings(servers=("nats://a",), nkey_file="/k/u.nk"),
    ),
    "TLS": (
        {"url": "tls://a", "ca": "/k/ca", "cert": "/k/cert", "key": "/k/key"},
        BusSettings(
            servers=("tls://a",),
            tls_ca_file="/k/ca",
            tls_cert_file="/k/cert",
            tls_key_file="/k/key",
        ),
    ),
    "inbox prefix": (
        {"url": "nats://a", "inbox_prefix": "_INBOX.operator"},
        BusSettings(servers=("nats://a",), inbox_prefix="_INBOX.operator"),
    ),
    "what we don't need": (
        {"url": "nats://a", "color_scheme": "red", "jetstream_event_prefix": "x", "future": [1]},
        BusSettings(servers=("nats://a",)),
    ),
}


@pytest.mark.parametrize(("fields", "settings"), FIELDS.values(), ids=FIELDS)
def test_a_context_becomes_settings(
    fields: dict[str, Any], settings: BusSettings, contexts: Contexts
) -> None:
    contexts.save("ours", **fields)
    assert contexts.read("ours") == settings


@pytest.mark.parametrize(
    "path", ["~/u.creds", "$HOME/u.creds", "${HOME}/u.creds", "file://~/u.creds"]
)
def test_paths_are_expanded_as_the_nats_command_does(path: str, contexts: Contexts) -> None:
    contexts.save("ours", creds=path)
    assert contexts.read("ours").credentials_file == f"{contexts.home}/u.creds"


def test_a_context_is_named_or_selected_or_a_file(contexts: Contexts, tmp_path: Path) -> None:
    contexts.save("one", url="nats://one")
    elsewhere = shutil.copy(contexts.save("two.b", url="nats://two"), tmp_path / "x.json")
    contexts.select("two.b")
    assert selected_context(contexts.environment) == "two.b"
    assert contexts.read("one").servers == ("nats://one",)
    assert contexts.read().servers == ("nats://two",)
    assert contexts.read(str(elsewhere)).servers == ("nats://two",)
    assert contexts.read("~/x.json").servers == ("nats://two",)


def test_the_configuration_folder_may_be_elsewhere(contexts: Contexts, tmp_path: Path) -> None:
    contexts.save("ours", url="nats://ours")
    environment = {"HOME": "/nowhere", "XDG_CONFIG_HOME": str(tmp_path / ".config")}
    assert read_context("ours", environment).servers == ("nats://ours",)


@pytest.mark.parametrize("name", ["gone", "../context/one", "..", ""])
def test_who_names_none_is_told_which_there_are(name: str, contexts: Contexts) -> None:
    for each in ("two", "one"):
        contexts.save(each)
    message = "No such file" if "/" in name else "there are one, two"
    with pytest.raises(SettingsError, match=message):
        contexts.read(name)


def test_without_any_that_is_said(contexts: Contexts) -> None:
    with pytest.raises(
        SettingsError, match=r"no NATS context 'x' in .*/nats/context: there is none"
    ):
        contexts.read("x")


CANNOT: dict[str, tuple[dict[str, Any], str]] = {
    "nsc": ({"nsc": "nsc://o/a/u"}, "nsc can't be honoured"),
    "proxy": ({"socks_proxy": "socks5://x"}, "socks_proxy can't"),
    "user JWT": ({"user_jwt": SECRET}, "user_jwt can't be honoured here: put it into a file"),
    "user seed": ({"user_seed": SECRET}, "user_seed can't"),
    "domain": ({"jetstream_domain": "hub"}, "jetstream_domain can't"),
    "API prefix": ({"jetstream_api_prefix": "js.hub"}, "jetstream_api_prefix can't"),
    "TLS first": ({"tls_first": True}, "tls_first can't"),
    "Windows": ({"windows_cert_store": "machine"}, "windows_cert_store can't"),
    "two kinds": ({"user": "u", "token": SECRET}, "user and token are set: expected one"),
    "creds by URL": ({"creds": f"op://{SECRET}"}, "creds: op:// can't be resolved"),
    "password by URL": ({"user": "u", "password": f"env://{SECRET}"}, "password: env:// can't"),
    "inline creds": ({"creds": f"data:{SECRET}"}, "creds: data: can't"),
    "half a certificate": ({"cert": "/k/cert"}, "cert and key go together"),
    "wrong type": ({"token": [SECRET]}, "Expected `str`, got `array`"),
}


@pytest.mark.parametrize(("fields", "message"), CANNOT.values(), ids=CANNOT)
def test_what_cannot_be_honoured_is_refused_without_a_secret(
    fields: dict[str, Any], message: str, contexts: Contexts
) -> None:
    path = contexts.save("ours", **fields)
    with pytest.raises(SettingsError) as caught:
        contexts.read("ours")
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"url": "\xff"}', b"[" * 9999]
)
def test_what_is_no_context_is_refused(content: bytes, contexts: Contexts) -> None:
    contexts.save("ours").write_bytes(content)
    with pytest.raises(SettingsError, match=r"ours\.json"):
        contexts.read("ours")


def limiter(**variables: str) -> LimiterSettings:
    return read(LimiterSettings, "limiter", {f"DROVEWAY_{k}": v for k, v in variables.items()})


def test_a_service_takes_its_context_and_its_own_variables_over_it(contexts: Contexts) -> None:
    path = str(contexts.save("ours", url="nats://a", user="u", password=SECRET, ca="/k/ca"))
    told = limiter(NATS_CONTEXT=path)
    assert service_broker("limiter", told) == contexts.read("ours")
    told = limiter(
        NATS_CONTEXT=path, NATS_URL="nats://b,nats://c", LIMITER_NATS_NKEY_FILE="/k/l.nk"
    )
    assert service_broker("limiter", told) == BusSettings(
        servers=("nats://b", "nats://c"), nkey_file="/k/l.nk", tls_ca_file="/k/ca"
    )


def test_a_service_that_is_told_nothing_looks_on_this_machine() -> None:
    assert service_broker("limiter", limiter()).servers == ("nats://127.0.0.1:4222",)


CONTRADICTIONS = {
    "two credentials": (
        {"LIMITER_NATS_NKEY_FILE": "/a", "LIMITER_NATS_CREDS_FILE": "/b"}, "expected one of them",
    ),
    "no key": ({"NATS_CERT_FILE": "/a"}, "go together"),
}  # fmt: skip


@pytest.mark.parametrize(("variables", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_settings_that_contradict_each_other_are_refused(
    variables: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        service_broker("limiter", limiter(**variables))


def test_an_inbox_prefix_that_peers_would_not_answer_is_refused(contexts: Contexts) -> None:
    path = str(contexts.save("ours", inbox_prefix="_INBOX.me"))
    with pytest.raises(SettingsError, match=r"answer _INBOX\.limiter only"):
        service_broker("limiter", limiter(NATS_CONTEXT=path))


async def test_a_context_connects(nats: NatsServer, contexts: Contexts) -> None:
    contexts.save("ours", url=nats.url, nkey=str(nats.folder.seed_file("operator")))
    async with connect(contexts.read("ours"), "operator", new_instance("operator")) as bus:
        await bus.settle()
        assert bus.ready


@pytest.fixture(scope="module")
def operator_mode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorModeServer]:
    with serving(tmp_path_factory.mktemp("operator-mode")) as server:
        yield server


async def test_a_creds_file_connects_and_its_permissions_hold(
    operator_mode: OperatorModeServer, contexts: Contexts
) -> None:
    contexts.save("ours", url=operator_mode.url, creds=str(operator_mode.creds("router")))
    async with (
        connect(contexts.read("ours"), "router", new_instance("router")) as router,
        connect(operator_mode.settings("limiter"), "limiter", new_instance("limiter")) as limiter,
    ):

        def answer(payload: bytes, reply: str) -> None:
            limiter.publish(reply, payload)

        await limiter.subscribe("droveway.v1.admission.0", answer, queue="limiter")
        assert await router.request("droveway.v1.admission.0", b"asked", 2) == b"asked"
        heard = asyncio.Event()
        await router.subscribe("droveway.v1.admission.0", lambda *_: heard.set())
        router.publish("droveway.v1.admission.0", b"")
        await router.settle()
        assert not heard.is_set()


async def test_somebody_elses_creds_are_refused_without_a_secret(
    operator_mode: OperatorModeServer, tmp_path: Path
) -> None:
    stranger = OperatorModeServer(tmp_path)
    creds = stranger.creds("router")
    secrets = [line for line in creds.read_text().splitlines() if line]
    broker = overridden(BusSettings(servers=(operator_mode.url,)), credentials_file=str(creds))
    with pytest.raises(SettingsError) as caught:
        async with connect(broker, "router", new_instance("router")):
            pass
    assert "authorization" in str(caught.value).lower()
    assert [line for line in secrets if line in str(caught.value)] == []


class TlsServer(NamedTuple):
    """A running server and the files that its clients need."""

    url: str
    folder: Path

    def settings(self, *, client: bool = True, ca: str = "ca") -> BusSettings:
        return overridden(
            BusSettings(servers=(self.url,), connect_within_s=1),
            tls_ca_file=str(self.folder / f"{ca}.pem"),
            tls_cert_file=str(self.folder / "client.pem") if client else "",
            tls_key_file=str(self.folder / "client.key") if client else "",
        )


def openssl(folder: Path, *arguments: str) -> None:
    assert OPENSSL is not None
    subprocess.run([OPENSSL, *arguments], cwd=folder, check=True, capture_output=True, timeout=10)


def authority(folder: Path, name: str) -> None:
    openssl(
        folder, "req", "-x509", *new_key(name), "-out", f"{name}.pem", "-subj", f"/CN={name}",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-days", "1",
    )  # fmt: skip


def certificate(folder: Path, name: str) -> None:
    openssl(
        folder, "req", "-x509", *new_key(name), "-out", f"{name}.pem", "-subj", f"/CN={name}",
        "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
        "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "1",
    )  # fmt: skip


def new_key(name: str) -> tuple[str, ...]:
    curve = "ec_paramgen_curve:prime256v1"
    return ("-newkey", "ec", "-pkeyopt", curve, "-nodes", "-keyout", f"{name}.key")


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    folder = tmp_path_factory.mktemp("tls")
    authority(folder, "ca")
    authority(folder, "stranger")
    for name in ("server", "client"):
        certificate(folder, name)
    port = ports.free()
    config = folder / "server.conf"
    config.write_text(
        f"listen: 127.0.0.1:{port}\n"
        f'tls {{ cert_file: "{folder}/server.pem", key_file: "{folder}/server.key", '
        f'ca_file: "{folder}/ca.pem", verify: true }}\n'
    )
    process = subprocess.Popen(
        [nats_server.find(NatsServerSettings()), "-c", str(config)], stderr=subprocess.DEVNULL
    )
    try:
        ports.wait_for_nats("127.0.0.1", port, START_LIMIT_S)
        yield TlsServer(f"tls://127.0.0.1:{port}", folder)
    finally:
        process.kill()
        process.wait()


@NEEDS_OPENSSL
@pytest.mark.ops
async def test_a_client_with_its_certificate_is_let_in(tls_server: TlsServer) -> None:
    async with connect(tls_server.settings(), "router", new_instance("router")) as bus:
        await bus.settle()
        assert bus.ready


@NEEDS_OPENSSL
@pytest.mark.ops
async def test_a_client_without_one_is_not(tls_server: TlsServer) -> None:
    with pytest.raises(SettingsError, match="can't connect to NATS"):
        async with connect(tls_server.settings(client=False), "router", new_instance("router")):
            pass


@NEEDS_OPENSSL
@pytest.mark.ops
async def test_a_server_of_another_authority_is_not_trusted(tls_server: TlsServer) -> None:
    with pytest.raises(SettingsError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        async with connect(tls_server.settings(ca="stranger"), "router", new_instance("router")):
            pass
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
