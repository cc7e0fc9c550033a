"""What drives the servers, on the load's core: wrk, curl, aria2c, and two readers of our own."""

import json
import os
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.measure import LOAD_CORE, Failed, Sample, cpu_seconds, pin_to

_LUA = Path(__file__).parent / "lua"
_READ_BYTES = 256 * 1024
_SILENCE_S = 30.0
GIB = 1024**3
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Server:
    """What a load is aimed at, and whose processor time it is charged to."""

    url: str
    pid: int


def run(command: Sequence[str], *, timeout_s: float, core: int = LOAD_CORE, nice: int = 0) -> str:
    """A program on `core`; its standard output. Failed if it fails or takes too long."""

    def prepare() -> None:
        pin_to(core)()
        if nice and os.geteuid() == 0:
            os.nice(nice)

    try:
        done = subprocess.run(
            command, capture_output=True, timeout=timeout_s, check=False, text=True, preexec_fn=prepare
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]} took more than {timeout_s} s") from error
    if done.returncode:
        raise Failed(f"{command[0]} ended with {done.returncode}: {done.stderr[-300:]} {done.stdout[-300:]}")
    return done.stdout


def _wrk(
    server: Server, script: str, arguments: Sequence[str], *, connections: int, seconds: float, nice: int = 0
) -> Sample:
    """Requests per second with the server's processor time in µs per request."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s"]
    command += ["-s", str(_LUA / script), server.url, "--", *arguments]
    before = cpu_seconds(server.pid)
    output = run(command, timeout_s=seconds + 60, nice=nice)
    used = cpu_seconds(server.pid) - before
    result = json.loads(output.strip().splitlines()[-1])
    if result["errors"] or not result["requests"]:
        raise Failed(f"{server.url}: {result['errors']} failed of {result['requests']} requests")
    rate = result["requests"] / (result["duration_us"] / 1e6)
    return Sample(rate, cpu=used / result["requests"] * 1e6, p99_ms=result["p99_us"] / 1000)


def get_many(
    server: Server, prefix: str, count: int, *, connections: int, seconds: float, nice: int = 0
) -> Sample:
    """GETs of `prefix` + six digits, in turn over `count` names."""
    arguments = [prefix, str(count)]
    return _wrk(server, "get.lua", arguments, connections=connections, seconds=seconds, nice=nice)


def get_signed(server: Server, requests: Path, *, connections: int, seconds: float) -> Sample:
    """GETs with header fields of their own, in turn over the lines of a file; see lua/signed.lua."""
    return _wrk(server, "signed.lua", [str(requests)], connections=connections, seconds=seconds)


def put_many(
    server: Server, prefix: str, bodies: Path, size_bytes: int, *, connections: int, seconds: float
) -> Sample:
    """PUTs of new names, `prefix` + eight digits, with bodies of `size_bytes` cut from a file."""
    arguments = [prefix, str(bodies), str(size_bytes)]
    return _wrk(server, "put.lua", arguments, connections=connections, seconds=seconds)


def read_large(server: Server, path: str, *, connections: int, seconds: float) -> Sample:
    """GiB per second over connections that read one object again and again; cpu is s per GiB.

    Ours, because curl and wrk read 16 and 8 KiB at a time and would be what is measured.
    """
    before = cpu_seconds(server.pid)
    received, elapsed = _drain(server.url, path, connections=connections, seconds=seconds)
    used = cpu_seconds(server.pid) - before
    return Sample(received / GIB / elapsed, cpu=used / (received / GIB))


def _drain(url: str, path: str, *, connections: int, seconds: float) -> tuple[int, float]:
    """Bytes of payload read, and the time it took.

    What this loop costs is what limits both sides, so it makes two system calls per piece and no more
    (a socket with a timeout would poll again before each recv).
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    readers: dict[int, socket.socket] = {}
    remaining: dict[int, int] = {}
    buffer = bytearray(_READ_BYTES)
    with select.epoll() as poller:
        for _ in range(connections):
            connection = socket.create_connection((host, port), timeout=_SILENCE_S)
            connection.settimeout(None)
            connection.sendall(request)
            number = connection.fileno()
            readers[number], remaining[number] = connection, read_head(connection)
            poller.register(number, select.EPOLLIN)
        received, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            events = poller.poll(_SILENCE_S)
            if not events:
                raise Failed(f"{url}: nothing arrived for {_SILENCE_S:.0f} s")
            for number, _ in events:
                got = readers[number].recv_into(buffer, min(_READ_BYTES, remaining[number]))
                if not got:
                    raise Failed(f"{url}: closed with {remaining[number]} bytes to come")
                received += got
                remaining[number] -= got
                if not remaining[number]:
                    readers[number].sendall(request)
                    remaining[number] = read_head(readers[number])
        elapsed = time.perf_counter() - began
    for connection in readers.values():
        connection.close()
    return received, elapsed


def read_head(connection: socket.socket) -> int:
    """Read an answer's head and nothing behind it; the length of the body."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        # Byte by byte would be slow; peek, then take exactly what belongs to the head.
        seen = connection.recv(4096, socket.MSG_PEEK)
        if not seen:
            raise Failed("closed before an answer")
        end = (bytes(head[-3:]) + seen).find(b"\r\n\r\n")
        head += connection.recv(len(seen) if end < 0 else end + 4 - len(head[-3:]))
    status, _, fields = bytes(head).decode("latin-1").partition("\r\n")
    if " 200" not in status:
        raise Failed(f"expected 200, got {status}")
    lengths = [line for line in fields.splitlines() if line.lower().startswith("content-length:")]
    if not lengths:
        raise Failed("an answer without Content-Length")
    return int(lengths[0].partition(":")[2])


def read_tls(server: Server, path: str, *, certificate: Path, times: int) -> Sample:
    """The same over one TLS connection (TLS 1.3, AES-256-GCM), read `times` times."""
    parts = urlsplit(server.url)
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    buffer, received = bytearray(_READ_BYTES), 0
    address = (parts.hostname or "", parts.port or 0)
    with socket.create_connection(address, timeout=30) as plain, context.wrap_socket(plain) as connection:
        cipher = connection.cipher()
        if cipher is None or cipher[0] != "TLS_AES_256_GCM_SHA384":
            raise Failed(f"{server.url} chose {cipher}")
        request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        before, began = cpu_seconds(server.pid), time.perf_counter()
        for _ in range(times):
            connection.sendall(request)
            received += _read_tls_answer(connection, buffer)
        elapsed, used = time.perf_counter() - began, cpu_seconds(server.pid) - before
    return Sample(received / GIB / elapsed, cpu=used / (received / GIB))


def _read_tls_answer(connection: ssl.SSLSocket, buffer: bytearray) -> int:
    """Read one answer whole; the length of its body."""
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = connection.recv(4096)
        if not chunk:
            raise Failed("closed before an answer")
        head += chunk
    fields, _, body = head.partition(b"\r\n\r\n")
    lengths = [line for line in fields.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].partition(b":")[2])
    received = len(body)
    while received < length:
        got = connection.recv_into(buffer, min(_READ_BYTES, length - received))
        if not got:
            raise Failed(f"closed with {length - received} bytes to come")
        received += got
    return length


def upload(url: str, file: Path, *, timeout_s: float, headers: Mapping[str, str] | None = None) -> float:
    """`curl -T file url`; curl's own count of seconds."""
    command = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "-o", "/dev/null"]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    return float(run([*command, "-w", "%{time_total}", "-T", str(file), url], timeout_s=timeout_s))


def sync_file(file: Path, *, core: int) -> float:
    """Seconds that `sync FILE` takes: the file is on disk afterwards."""
    began = time.perf_counter()
    run(["sync", str(file)], timeout_s=120, core=core)
    return time.perf_counter() - began


def random_file(path: Path, size_bytes: int) -> Path:
    """A file of random bytes, in the page cache and on disk."""
    with path.open("wb") as file:
        for start in range(0, size_bytes, 16 * MIB):
            file.write(os.urandom(min(16 * MIB, size_bytes - start)))
        file.flush()
        os.fsync(file.fileno())
    return path
