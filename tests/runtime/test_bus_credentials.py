"""Every way to prove who a process is, and what it says when the broker isn't convinced."""

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import nkeys
import pytest

from droveway.contracts.envelope import new_instance
from droveway.runtime.bus import Bus, BusSettings, connect
from droveway.runtime.errors import SettingsError
from tests.support.plain_nats import PlainNats, serving_plain
from tests.support.waiting import until

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes certificates")


@contextlib.asynccontextmanager
async def joined(server: PlainNats, **changes: Any) -> AsyncIterator[Bus]:
    settings = msgspec.structs.replace(server.settings, **changes)
    async with connect(settings, "gateway", new_instance("gateway")) as bus:
        await bus.subscribe("t", lambda payload, reply: bus.publish(reply, payload))
        assert await bus.request("t", b"x", 2) == b"x"
        yield bus


async def refused(server: PlainNats, match: str, **changes: Any) -> None:
    began_s = time.monotonic()
    with pytest.raises(SettingsError, match=match):
        async with joined(server, **changes):
            pass
    assert time.monotonic() - began_s < 2


async def test_user_and_password(tmp_path: Path) -> None:
    with serving_plain(tmp_path, "authorization { user: u, password: p }") as server:
        async with joined(server, user="u", password="p"):
            pass
        await refused(server, "Authorization Violation", user="u", password="wrong")
        await refused(server, "Authorization Violation")


async def test_a_token(tmp_path: Path) -> None:
    with serving_plain(tmp_path, "authorization { token: secret }") as server:
        async with joined(server, token="secret"):
            pass
        await refused(server, "Authorization Violation", token="wrong")


async def test_a_credentials_file(tmp_path: Path) -> None:
    account, user = _Signer("A"), _Signer("U")
    credentials = tmp_path / "user.creds"
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{account.sign(user, 'user', _ANYTHING)}\n"
        "------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    with serving_plain(tmp_path / "nats", _operated(account), jetstream=False) as server:
        async with joined(server, credentials_file=str(credentials)) as bus:
            await bus._client.force_reconnect()
            await until(lambda: bus.statistics().reconnects == 1)
        await refused(server, "/nowhere", credentials_file="/nowhere")


async def test_a_credentials_file_without_a_jwt_hangs_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "empty.creds"
    empty.write_text("nothing\n")
    with serving_plain(tmp_path / "nats", _operated(_Signer("A")), jetstream=False) as server:
        await refused(server, "holds no user JWT", credentials_file=str(empty))


@needs_openssl
async def test_tls_both_ways(tmp_path: Path) -> None:
    authority = await asyncio.to_thread(_certificates, tmp_path)
    tls = f"""tls {{ cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.key",
        ca_file: "{authority}", verify: true }}"""
    files = {
        "tls_ca_file": str(authority),
        "tls_cert_file": str(tmp_path / "client.pem"),
        "tls_key_file": str(tmp_path / "client.key"),
    }
    with serving_plain(tmp_path / "nats", tls) as server:
        async with joined(server, **files) as bus:
            await bus._client.force_reconnect()
            await until(lambda: bus.statistics().reconnects == 1)
        await refused(server, "CERTIFICATE_VERIFY_FAILED|certificate verify failed")
        await refused(server, "No such file", tls_ca_file="/nowhere.pem")


@needs_openssl
async def test_tls_that_was_asked_for_is_not_given_up(tmp_path: Path) -> None:
    authority = await asyncio.to_thread(_certificates, tmp_path)
    with serving_plain(tmp_path / "nats") as server:
        await refused(server, "speaks no TLS", tls_ca_file=str(authority), token="secret")
        await refused(server, "speaks no TLS", servers=(f"tls://127.0.0.1:{server.port}",))


async def test_settings_of_inboxes_reach_the_wire(tmp_path: Path) -> None:
    config = """authorization { users: [ { user: t, password: t, permissions: {
        publish: [ "t", "_INBOX.>" ], subscribe: [ "t", "_INBOX.t.k1.>" ] } } ] }"""
    with serving_plain(tmp_path, config) as server:
        async with joined(server, user="t", password="t", inbox_prefix="_INBOX.t.k1") as bus:
            inbox = bus.open_inbox(lambda _payload: None, lambda: None)
            assert inbox.subject.startswith(f"_INBOX.t.k1.{bus.instance}.")
            inbox.close()
            feed = bus.feed_subject()
            assert feed.startswith(f"_INBOX.t.k1.{bus.instance}.feed.")


def test_settings_show_no_secret() -> None:
    settings = BusSettings(servers=("nats://u:secret@host",), password="secret", token="secret")
    assert "secret" not in f"{settings!r} {settings}"


def test_inboxes_are_named_by_service_and_instance_unless_told_otherwise() -> None:
    settings = BusSettings(servers=())
    assert settings.inbox_base("router", "router-1") == "_INBOX.router.router-1."


_LIMITS = {"subs": -1, "data": -1, "payload": -1}
_FREE = {"limits": {**_LIMITS, "imports": -1, "exports": -1, "wildcards": True, "conn": -1}}
_ANYTHING = {**_LIMITS, "pub": {}, "sub": {}}


class _Signer:
    """A key pair of an operator (O), an account (A) or a user (U), and the JWTs that it signs."""

    def __init__(self, kind: str) -> None:
        prefix = {"O": 14 << 3, "A": 0, "U": 20 << 3}[kind]
        seed = nkeys.encode_seed(kind.encode() * 32, prefix)
        self.seed = bytes(seed).decode()
        self._pair = nkeys.from_seed(bytearray(seed))
        self.public = bytes(self._pair.public_key).decode()

    def sign(self, subject: "_Signer", kind: str, rights: dict[str, Any]) -> str:
        """A JWT of NATS about `subject`."""
        claims = {
            "jti": kind,
            "iat": int(time.time()),
            "iss": self.public,
            "name": kind,
            "sub": subject.public,
            "nats": {**rights, "type": kind, "version": 2},
        }
        head = _encoded(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
        body = f"{head}.{_encoded(json.dumps(claims).encode())}"
        return f"{body}.{_encoded(bytes(self._pair.sign(body.encode())))}"


def _operated(account: _Signer) -> str:
    """The configuration of a server whose operator knows one account."""
    operator = _Signer("O")
    about = operator.sign(account, "account", _FREE)
    return f"""operator: {operator.sign(operator, "operator", {})}
        resolver: MEMORY
        resolver_preload: {{ {account.public}: {about} }}"""


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _certificates(folder: Path) -> Path:
    """An authority and what it signs for a server on loopback and a client."""
    folder.mkdir(exist_ok=True)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    authority = ("-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key")
    for name, extra in (
        ("ca", ()),
        ("server", (*authority, "-addext", "subjectAltName=IP:127.0.0.1")),
        ("client", authority),
    ):
        files = ("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem")
        command = ("openssl", "req", "-x509", *curve, "-subj", f"/CN={name}", *files, *extra)
        subprocess.run(command, check=True, capture_output=True)
    return folder / "ca.pem"
