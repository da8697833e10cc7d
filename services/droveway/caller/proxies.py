"""The way to a provider through a proxy: its address, checked, and what its refusals mean.

A provider is reached through a tunnel (`CONNECT host:port`) with TLS inside: the proxy learns the
provider's name, never a key or a prompt. The proxy's name is resolved and its address checked here,
the provider's name is the proxy's to resolve. Proxies of the environment never count.

Source: RFC 9110 9.3.6 and 11.7; RFC 7617.
"""

import base64
from collections.abc import Mapping
from typing import Final

import aiohttp
import httpx

from droveway.caller.credentials import Secret, read_reference
from droveway.caller.upstream_errors import (
    FOREIGN,
    ConnectFailed,
    Stage,
    UpstreamError,
    from_foreign,
)
from droveway.caller.upstream_url import is_forbidden
from droveway.contracts.config import Provider
from droveway.runtime.config.ways import CLEAR_PROXY
from droveway.runtime.errors import SettingsError

TUNNEL_BROKE: Final = (*FOREIGN, UpstreamError)
"""What may end the making of a tunnel; ours are those that any connection's head can cause."""
_LOGIN = "proxy-authorization"


class Proxy:
    """A proxy's address, and the user and password for it, which show nowhere.

    Attributes:
        url: `http://host:port`.
    """

    __slots__ = ("_login", "url")

    def __init__(self, url: str, login: Secret | None = None) -> None:
        self.url = url
        self._login = login

    def __repr__(self) -> str:
        return f"Proxy({self.url})"

    def for_transport(self) -> httpx.Proxy:
        """The proxy as the HTTP library wants it."""
        return _Quiet(self.url, headers=[self._login.header(_LOGIN)] if self._login else [])


class _Quiet(httpx.Proxy):
    """The library's own repr shows the login."""

    def __repr__(self) -> str:
        return f"Proxy({self.url})"


def resolve_proxy(provider: Provider, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """Reads where a provider's calls go through; None: they go straight.

    Raises:
        SettingsError: The reference leads nowhere, or what it leads to is no proxy's address.
    """
    if not provider.proxy:
        return None
    place = f"providers {provider.id!r}, proxy"
    if provider.proxy.startswith("http://"):
        return _checked(provider.proxy, place)
    return _checked(read_reference(provider.proxy, place, environment), place)


def tunnel_failure(error: BaseException) -> UpstreamError:
    """What it means that no tunnel came about, told apart from a provider's own failures.

    1. The provider's certificate, which came through the tunnel, isn't valid.
    2. The proxy can't be reached.  3. It refused.  4. It broke off, or said what is no HTTP.
    """
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return from_foreign(error, Stage.CONNECTING, request_sent=False)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientConnectorDNSError():
            return _failed("proxy_unreachable", "the proxy can't be reached")
        case aiohttp.ClientHttpProxyError():
            wanted = "it wants another user and password" if error.status == 407 else "no tunnel"
            text = f"the proxy answered CONNECT with {error.status}: {wanted}"
            return _failed("proxy_refused", text, error.status)
        case _:
            return _failed("proxy_failed", "the tunnel ended before it stood")


def _failed(cause: str, explanation: str, status: int = 0) -> ConnectFailed:
    return ConnectFailed(cause, explanation, request_sent=False, status=status)


def _checked(address: str, place: str) -> Proxy:
    """Parses an address; no message quotes it, for it may hold a password."""
    try:
        url = httpx.URL(address)
        _ = url.host  # decodes it
    except (httpx.InvalidURL, UnicodeError):
        url = httpx.URL()
    origin = f"{url.scheme}://{url.netloc.decode()}"
    if not CLEAR_PROXY.fullmatch(origin) or url.raw_path != b"/" or url.fragment:
        raise SettingsError(
            f"{place}: no address of a proxy; write http://host:port, with a user and a password "
            "http://user:password@host:port"
        )
    if is_forbidden(url.host):
        raise SettingsError(f"{place}: {url.host} is no address that a proxy has")
    if not url.userinfo:
        return Proxy(origin)
    pair = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    return Proxy(origin, Secret(f"Basic {pair}"))
