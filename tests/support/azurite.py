"""A stand-in for Azure's storage: Azurite as a process, on a free port of 127.0.0.1."""

import os
import re
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from support import processes
from support.certificates import self_signed
from system_programs import AZURITE

KEYS: Mapping[str, str] = {
    name: b64encode(name.encode() * 4).decode() for name in ("firstaccount", "secondaccount")
}
"""The keys of its accounts."""

_START_TIMEOUT_S = 60.0


class Azurite(NamedTuple):
    """Where it listens, and the certificates to trust if that is https."""

    url: str
    ca_file: str = ""

    def endpoint(self, account: str = "firstaccount") -> str:
        """URL of an account's Blob service."""
        return f"{self.url}/{account}"

    def client(self, account: str = "firstaccount") -> BlobServiceClient:
        """Microsoft's own client, as the owner of an account."""
        credential = {"account_name": account, "account_key": KEYS[account]}
        verified: dict[str, str] = {"connection_verify": self.ca_file} if self.ca_file else {}
        return BlobServiceClient(self.endpoint(account), credential=credential, **verified)

    def container(self, name: str, account: str = "firstaccount") -> ContainerClient:
        """A new container."""
        return self.client(account).create_container(name)


@contextmanager
def running_azurite(*, with_tokens: bool = False) -> Iterator[Azurite]:
    """Run it, with nothing on disk; skips the test where it is not installed.

    `with_tokens` lets it speak https and take tokens of identities, whoever signed them.
    """
    if not AZURITE.path.exists():
        pytest.skip(f"needs {AZURITE.package} (tests/system_programs.py installs it where there is npm)")
    mark = processes.new_mark()
    with tempfile.TemporaryDirectory(prefix="aisle-azurite-") as name:
        folder = Path(name)
        command = [str(AZURITE.path), "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]
        command += ["--skipApiVersionCheck", "--disableTelemetry"]
        ca_file = ""
        if with_tokens:
            certificate, key = self_signed(folder)
            command += ["--cert", str(certificate), "--key", str(key), "--oauth", "basic"]
            ca_file = str(certificate)
        output = folder / "stdout.txt"
        accounts = ";".join(f"{account}:{key}" for account, key in KEYS.items())
        with output.open("wb") as stdout:
            server = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "HOME": name,
                    "AZURITE_ACCOUNTS": accounts,
                    processes.MARK_VARIABLE: mark,
                },
            )
        try:
            settled = processes.wait_until(
                lambda: server.poll() is not None or bool(_url(output)), timeout_s=_START_TIMEOUT_S
            )
            assert settled, f"azurite says nothing: {output.read_text()}"
            assert _url(output), f"azurite does not start: {output.read_text()}"
            yield Azurite(_url(output), ca_file)
        finally:
            server.kill()
            server.wait()
            processes.end_marked(mark)


def _url(output: Path) -> str:
    """Where it says that it listens; empty until then."""
    found = re.search(r"listens on (https?://127\.0\.0\.1:\d+)\s", output.read_text())
    return found[1] if found else ""
