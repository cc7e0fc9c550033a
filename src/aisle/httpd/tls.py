"""TLS: one context for new connections, made anew when the certificate's files change.

A changed pair is loaded into a context of its own first. Only when certificate and key fit does it
take the old one's place, for connections accepted from then on; those that are open keep theirs.
"""

import logging
import os
import ssl
from pathlib import Path
from typing import NamedTuple

from aisle.config import TlsConfig
from aisle.errors import ConfigError

_log = logging.getLogger("aisle.http")


class _Stamp(NamedTuple):
    """What changes when a file is replaced or rewritten."""

    inode: int
    size: int
    modified_ns: int


class Certificates:
    """The certificate and key of a listener, watched for change."""

    __slots__ = ("_config", "_stamps", "context")

    context: ssl.SSLContext
    """For the next connection."""

    def __init__(self, config: TlsConfig) -> None:
        """Raises ConfigError if the files cannot be used."""
        self._config = config
        self._stamps = self._look()
        try:
            self.context = _load(config)
        except (OSError, ValueError) as error:
            raise ConfigError([f"tls.certificate, tls.key: {error}"]) from error

    def refresh(self) -> bool:
        """Look at the files, and use them if they changed and fit together; whether they did.

        Files that cannot be used are reported once per change, and the old ones stay in use.
        """
        stamps = self._look()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            self.context = _load(self._config)
        except (OSError, ValueError) as error:
            _log.error("the new TLS certificate cannot be used, the old one stays: %s", error)
            return False
        _log.info("TLS certificate reloaded from %s", self._config.certificate)
        return True

    def _look(self) -> list[_Stamp | None]:
        return [_stamp(Path(self._config.certificate)), _stamp(Path(self._config.key))]


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return _Stamp(found.st_ino, found.st_size, found.st_mtime_ns)


def _load(config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(config.certificate, config.key)
    return context
