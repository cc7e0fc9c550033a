"""GET and PUT through S3, as SDKs do it: signed, by a node that checks signatures; with an MD5."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path

from bench import load
from bench.load import MIB, Server
from bench.measure import SERVER_CORE, Sample, cpu_seconds
from bench.node import Node
from bench.peers import nginx
from bench.rows import Bar, Bench, Line, Row, compare

_BUCKET = "bench"
_ACCESS_KEY, _SECRET_KEY = "AKIDBENCHBENCHBENCHX", "bench-secret-key-of-forty-characters-00"
_CREDENTIALS = {"AISLE_ROOT_ACCESS_KEY": _ACCESS_KEY, "AISLE_ROOT_SECRET_KEY": _SECRET_KEY}
_SMALL_BYTES = 10 * 1024
_SMALL_COUNT = 1000
_LARGE_BYTES = 256 * MIB
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_SIGNED = ("host", "x-amz-content-sha256", "x-amz-date")


def signed(method: str, path: str, host: str, payload_hash: str) -> Mapping[str, str]:
    """Header fields that sign a request without query by version 4, as of now."""
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    scope = f"{moment[:8]}/us-east-1/s3/aws4_request"
    fields = {"host": host, "x-amz-content-sha256": payload_hash, "x-amz-date": moment}
    names = ";".join(_SIGNED)
    canonical = [method, path, "", *(f"{name}:{fields[name]}" for name in _SIGNED), "", names, payload_hash]
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    key = f"AWS4{_SECRET_KEY}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    told = f"Credential={_ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**fields, "authorization": f"AWS4-HMAC-SHA256 {told}"}


def _call(node: Node, method: str, path: str, payload: bytes = b"") -> None:
    """One signed request."""
    payload_hash = hashlib.sha256(payload).hexdigest()
    node.call(method, path, payload, signed(method, path, f"{node.host}:{node.port}", payload_hash))


def get(bench: Bench) -> list[Line]:
    """GET of 10 KiB over 32 connections, each request with a signature that the node verifies."""
    with bench.node(environment=_CREDENTIALS) as node, nginx(bench.scratch) as peer:
        _call(node, "PUT", f"/s3/{_BUCKET}")
        payloads = load.random_file(bench.scratch / "small.bin", _SMALL_COUNT * _SMALL_BYTES).read_bytes()
        names = [f"small{number:06d}" for number in range(_SMALL_COUNT)]
        for number, name in enumerate(names):
            payload = payloads[number * _SMALL_BYTES : (number + 1) * _SMALL_BYTES]
            _call(node, "PUT", f"/s3/{_BUCKET}/{name}", payload)
            (peer.root / name).write_bytes(payload)
        requests = bench.scratch / "requests.txt"

        def to_node() -> Sample:
            # Signatures are good for 15 minutes: each turn has its own.
            _write_requests(requests, [f"/s3/{_BUCKET}/{name}" for name in names], f"{node.host}:{node.port}")
            server = Server(node.url, node.pid)
            return load.get_signed(server, requests, connections=32, seconds=bench.seconds)

        run = partial(load.get_many, count=_SMALL_COUNT, connections=32, seconds=bench.seconds)
        pairs = bench.interleave(node, to_node, lambda: run(Server(peer.url, peer.pid), "/small"))
    return [compare("S3 GET 10 KiB, signature checked / nginx static", pairs, Bar(0.35, 0.5), unit="/s")]


def _write_requests(file: Path, paths: list[str], host: str) -> None:
    with file.open("w") as lines:
        for path in paths:
            fields = signed("GET", path, host, _EMPTY_SHA256)
            lines.write(
                "\t".join([path, *(f"{name.title()}={value}" for name, value in fields.items())]) + "\n"
            )


def put(bench: Bench) -> list[Line]:
    """PUT of 256 MiB with its Content-MD5; the peer's time includes `sync FILE`."""
    source = load.random_file(bench.scratch / "large.bin", _LARGE_BYTES)
    size_gib = _LARGE_BYTES / load.GIB
    md5 = b64encode(hashlib.md5(source.read_bytes()).digest()).decode()
    turns = count()
    with bench.node() as node, nginx(bench.scratch) as peer:
        node.call("PUT", f"/s3/{_BUCKET}")

        def to_node() -> Sample:
            path, before = f"/s3/{_BUCKET}/large{next(turns)}", cpu_seconds(node.pid)
            elapsed = load.upload(node.url + path, source, timeout_s=120, headers={"Content-MD5": md5})
            used = cpu_seconds(node.pid) - before
            node.call("DELETE", path)
            return Sample(size_gib / elapsed, cpu=used / size_gib)

        def to_nginx() -> Sample:
            file, before = peer.root / "dav" / f"large{next(turns)}", cpu_seconds(peer.pid)
            elapsed = load.upload(f"{peer.url}/dav/{file.name}", source, timeout_s=120)
            elapsed += load.sync_file(file, core=SERVER_CORE)
            used = cpu_seconds(peer.pid) - before
            file.unlink()
            return Sample(size_gib / elapsed, cpu=used / size_gib)

        pairs = bench.interleave(node, to_node, to_nginx)
    work = "S3 PUT 256 MiB with MD5 / nginx DAV + sync FILE"
    return [compare(work, pairs, Bar(0.35, 0.6), unit="GiB/s", cpu_unit="s/GiB")]


ROWS = [
    Row("s3-get", get, needs=("nginx", "wrk")),
    Row("s3-put-large", put, needs=("nginx", "curl", "sync")),
]
