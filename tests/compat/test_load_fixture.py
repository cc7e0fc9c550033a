"""The mixed load against small stores of which one is honest: every other must be found out."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

from support.load import MixedLoad, Profile
from support.oracle import Oracle, Violation
from support.processes import wait_until

PROFILE = Profile(writers=2, readers=1, listers=1, names_per_writer=8, large_bytes_max=60_000)


class Store(BaseHTTPRequestHandler):
    """An honest store in memory; subclasses cheat."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    objects: dict[str, bytes]
    lock: threading.Lock

    def log_message(self, *_: object) -> None:
        pass

    def keep(self, name: str, body: bytes) -> None:
        self.objects[name] = body

    def show(self, name: str) -> bytes | None:
        return self.objects.get(name)

    def do_PUT(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            self.keep(self.name, body)
        self.answer(200)

    def do_DELETE(self) -> None:
        with self.lock:
            found = self.objects.pop(self.name, None) is not None
        self.answer(200 if found else 404)

    def do_GET(self) -> None:
        if self.path.startswith("/v1/buckets/"):
            return self.list_objects()
        with self.lock:
            body = self.show(self.name)
        return self.answer(404) if body is None else self.answer(200, body)

    def list_objects(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["value"]
        with self.lock:
            names = sorted(self.objects, key=str.encode)
            after, limit = message["continuation_token"].encode(), message["pagesize"]
            page = [name for name in names if name.encode() > after][:limit]
            entries = [{"name": name, "size": str(len(self.objects[name]))} for name in page]
        token = page[-1] if len(page) == limit else ""
        self.answer(200, json.dumps({"entries": entries, "continuation_token": token}).encode())

    @property
    def name(self) -> str:
        return unquote(urlsplit(self.path).path.removeprefix("/v1/objects/b/"))

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class ForgetsOverwrites(Store):
    def keep(self, name: str, body: bytes) -> None:
        self.objects.setdefault(name, body)


class TearsLargeObjects(Store):
    def show(self, name: str) -> bytes | None:
        body = self.objects.get(name)
        return body if body is None or len(body) < 30_000 else body[:20_000] + bytes(len(body) - 20_000)


class DropsSome(Store):
    def keep(self, name: str, body: bytes) -> None:
        if len(body) != 10_240:
            self.objects[name] = body


class Fails(Store):
    def keep(self, name: str, body: bytes) -> None:
        if len(body) > 16_384:
            self.answer(500)


class BreaksOff(Store):
    """Honest, but connections often break before the answer: outcomes stay open, nothing is lost."""

    def answer(self, status: int, body: bytes = b"") -> None:
        if time.monotonic_ns() % 7 == 0:
            self.close_connection = True
        else:
            super().answer(status, body)


def loaded(
    kind: type[Store],
    *,
    seconds: float,
    then: Callable[[MixedLoad], None],
    is_enough: Callable[[MixedLoad], bool] = lambda _: True,
) -> None:
    """Load a store for so long, and longer until it is enough; then look at it."""
    handler = type("Handler", (kind,), {"objects": {}, "lock": threading.Lock()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            with MixedLoad(Oracle(), "b", lambda: ("127.0.0.1", server.server_port), profile=PROFILE) as load:
                time.sleep(seconds)
                assert wait_until(lambda: is_enough(load), timeout_s=90)
                load.pause()
                then(load)
        finally:
            server.shutdown()


def test_an_honest_store_passes() -> None:
    def is_enough(load: MixedLoad) -> bool:
        counts = load.counts
        return counts["acknowledged"] > 50 and counts["reads"] > 20 and counts["listings"] > 2

    def passes(load: MixedLoad) -> None:
        assert load.verify() > 5
        assert not load.failures

    loaded(Store, seconds=1.0, then=passes, is_enough=is_enough)


def test_an_honest_store_with_broken_connections_passes() -> None:
    def passes(load: MixedLoad) -> None:
        load.raise_violations()
        assert load.failures

    loaded(BreaksOff, seconds=1.0, then=passes, is_enough=lambda load: bool(load.failures))


@pytest.mark.parametrize("kind", [ForgetsOverwrites, TearsLargeObjects, DropsSome, Fails])
def test_every_other_store_is_found_out(kind: type[Store]) -> None:
    def fails(load: MixedLoad) -> None:
        with pytest.raises(Violation):
            load.verify()

    def is_enough(load: MixedLoad) -> bool:
        # So many that each name was written again and again, if nothing has shown up before.
        return bool(load.violations) or load.counts["acknowledged"] > 300

    loaded(kind, seconds=0.7, then=fails, is_enough=is_enough)
