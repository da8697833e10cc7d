"""What is wrong with the way to a provider: its proxy, and the authorities that vouch for it."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from droveway.contracts.config import Provider

REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:/.+")
"""Where a secret is, instead of the secret."""
CLEAR_PROXY = re.compile(r"http://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")
"""A proxy's address without a user and a password."""


def way_findings(place: str, provider: Provider) -> Iterator[str]:
    """What types can't say of `proxy` and `ca_file`; never quotes a proxy, with its password."""
    plain = provider.base_url.startswith("http://")
    if provider.proxy and not REFERENCE.fullmatch(provider.proxy):
        if "@" in provider.proxy:
            yield (
                f"{place}.proxy: a user or password in clear text; write ${{NAME}} (environment of "
                "the caller) or file:/path of the whole address"
            )
        elif not CLEAR_PROXY.fullmatch(provider.proxy):
            yield f"{place}.proxy: no address of a proxy; write http://host:port"
    if provider.proxy and plain:
        yield (
            f"{place}.proxy: base_url is plain http, so that a proxy would read its keys and "
            "prompts; use https, or leave proxy out"
        )
    if provider.ca_file and plain:
        yield f"{place}.ca_file: base_url is plain http, where nothing is checked; use https"
    if provider.ca_file and not PurePosixPath(provider.ca_file).is_absolute():
        yield f"{place}.ca_file: {provider.ca_file!r} must begin with a slash"
