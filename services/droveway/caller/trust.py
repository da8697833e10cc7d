"""Which authorities a provider's certificate is checked against: those of one file, no others."""

import functools
import ssl
from pathlib import Path

import certifi

from droveway.runtime.errors import SettingsError

_KEPT = 32
"""Contexts that are remembered."""


def tls_context(ca_file: str) -> ssl.SSLContext:
    """The context that trusts what is in the file now; empty: certifi's authorities.

    Loading one takes tens of milliseconds, so each is loaded once until its file changes.

    Raises:
        SettingsError: The file can't be read, or holds no certificate.
    """
    path = ca_file or certifi.where()
    try:
        facts = Path(path).stat()
        return _loaded(path, facts.st_mtime_ns, facts.st_size)
    except ssl.SSLError:
        raise SettingsError(f"ca_file {path}: no certificates in it; PEM is wanted") from None
    except ValueError as error:
        raise SettingsError(f"ca_file {path!r}: {error}; name a file") from None
    except OSError as error:
        raise SettingsError(
            f"ca_file {path}: {error.strerror}; name a file of PEM certificates"
        ) from None


@functools.lru_cache(_KEPT)
def _loaded(path: str, _changed_ns: int, _size_bytes: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=path)
