"""nginx as a peer: one foreground process tree with a configuration of its own in a scratch folder.

Static files, WebDAV PUT and TLS are served by the same instance. The settings that decide its speed
are those that Debian packages (`sendfile`, `tcp_nopush`), except that it logs no accesses, as a node
does not by default, and closes no connection after a thousand requests, as a node does not either.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import SERVER_CORE, Failed, pin_to, require_core

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 10.0

_CONFIGURATION = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 768; }}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    default_type application/octet-stream;
    keepalive_requests 1000000000;
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        {tls}
        root {root};
        {extra}
        location /dav/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""

_TLS = """\
listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx. What lies in `root` is served; PUT works below `/dav/`."""

    pid: int
    root: Path
    port: int
    tls_port: int

    @property
    def url(self) -> str:
        """Where plain HTTP answers, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Where HTTPS answers, when a certificate was given."""
        return f"https://127.0.0.1:{self.tls_port}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and its key, PEM files."""

    chain: Path
    key: Path


def free_port() -> int:
    """A TCP port of the loopback address that was free a moment ago (nginx cannot choose its own)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def self_signed(folder: Path) -> Certificate:
    """A new certificate for localhost that both sides use, so that both pay for the same ciphers."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    request += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    request += ["-keyout", str(made.key), "-out", str(made.chain)]
    subprocess.run(request, check=True, capture_output=True, timeout=30)
    return made


@contextmanager
def nginx(
    scratch: Path, *, core: int = SERVER_CORE, certificate: Certificate | None = None, extra: str = ""
) -> Iterator[Nginx]:
    """nginx on `core` with a folder of its own in `scratch`, both gone afterwards.

    `extra` is configuration for its server.
    """
    folder = Path(tempfile.mkdtemp(prefix="nginx-", dir=scratch))
    root = folder / "root"
    (root / "dav").mkdir(parents=True)
    port, tls_port = free_port(), free_port()
    tls = (
        _TLS.format(port=tls_port, certificate=certificate.chain, key=certificate.key) if certificate else ""
    )
    # A worker started by root becomes `nobody` otherwise, who may not read the scratch folder.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(user=user, folder=folder, root=root, port=port, tls=tls, extra=extra),
        encoding="utf-8",
    )
    with (folder / "errors.log").open("wb") as errors:
        process = subprocess.Popen(
            [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(folder), "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            preexec_fn=pin_to(core),
        )
    try:
        _wait_ready(process, port, folder / "errors.log")
        require_core(process.pid, core)
        yield Nginx(process.pid, root, port, tls_port)
    finally:
        process.terminate()
        process.wait(_STOP_TIMEOUT_S)
        shutil.rmtree(folder)


def _wait_ready(process: subprocess.Popen[bytes], port: int, errors: Path) -> None:
    """Return once the port accepts connections; Failed with nginx's own words if it never does."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise Failed(f"nginx did not start: {errors.read_text(errors='replace')[-500:]}")
