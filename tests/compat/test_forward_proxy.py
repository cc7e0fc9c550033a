"""A node as a forward proxy for datasets on web servers: real clients that are told so, a real web server."""

import os
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
import requests

from support.ais import ais
from support.node import RunningNode, running_node
from support.processes import wait_until
from support.s3 import program

WAIT_S = 60.0
LARGE = os.urandom(400_000)
KEYS = ("front-key", "front-secret-long")
PROXY = ["--set", "http.forward_proxy=true"]


class Site(SimpleHTTPRequestHandler):
    """A web server that remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[tuple[str, str, dict[str, str]]]] = []

    def log_message(self, *_: Any) -> None: ...

    def send_head(self) -> Any:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked.append((self.command, self.path, headers))
        return super().send_head()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("site")
    (root / "b" / "c").mkdir(parents=True)
    (root / "b" / "c" / "x.tar").write_bytes(LARGE)
    (root / "b" / "c" / "a b%.txt").write_bytes(b"odd name")
    (root / "b" / "secret.txt").write_bytes(b"not of the dataset")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=str(root)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def node(site: str) -> Iterator[RunningNode]:
    with running_node(args=PROXY) as running:
        assert ais(running.url, "create", "ht://set", "--url", f"{site}/b/c/").code == 0
        yield running


@pytest.fixture(autouse=True)
def unasked() -> None:
    Site.asked.clear()


def through(
    node: RunningNode, url: str, method: str = "GET", user: str = "", **more: Any
) -> requests.Response:
    """Python's requests, told to use the node as its proxy."""
    proxy = f"http://{user}@{node.host}:{node.port}" if user else node.url
    session = requests.Session()
    session.trust_env = False
    return session.request(
        method, url, proxies={"http": proxy}, timeout=WAIT_S, allow_redirects=False, **more
    )


def test_a_file_of_a_dataset_is_fetched_once(node: RunningNode, site: str) -> None:
    first = through(node, f"{site}/b/c/x.tar")
    assert (first.status_code, first.content) == (200, LARGE)

    def is_kept() -> bool:
        link = f"{node.url}/v1/objects/set/x.tar?provider=ht&presence=2"
        return requests.head(link, timeout=WAIT_S).status_code == 200

    assert wait_until(is_kept, timeout_s=WAIT_S)
    Site.asked.clear()
    curl = [program("curl"), "-sS", "-i", "-x", node.url, f"{site}/b/c/x.tar", "-H", "Range: bytes=10-19"]
    answer = subprocess.run(curl, capture_output=True, timeout=WAIT_S, check=True).stdout
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (head.startswith(b"HTTP/1.1 206 "), body) == (True, LARGE[10:20])
    assert b"Location" not in head
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": node.url}))
    with opener.open(f"{site}/b/c/x.tar", timeout=WAIT_S) as read:
        assert read.read() == LARGE
    told = through(node, f"{site}/b/c/x.tar", "HEAD")
    assert (told.status_code, told.headers["Content-Length"]) == (200, str(len(LARGE)))
    tag = told.headers["ETag"]
    unmodified = through(node, f"{site}/b/c/x.tar", headers={"If-None-Match": tag})
    assert (unmodified.status_code, unmodified.content) == (304, b"")
    assert Site.asked == []


def test_names_are_decoded_once(node: RunningNode, site: str) -> None:
    for spelled in ("a%20b%25.txt", "%61%20b%25.txt"):
        assert through(node, f"{site}/b/c/{spelled}").content == b"odd name"


def test_only_files_of_datasets_are_answered(node: RunningNode, site: str) -> None:
    for path in (
        "/b/secret.txt",
        "/b/c/../secret.txt",
        "/b/cc",
        "/",
        "/b/c/x.tar?a=b",
        "/b/c/%2e%2e/secret.txt",
    ):
        refused = raw(node, f"GET {site}{path} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert refused.split(b" ")[1] in (b"403", b"404"), path
        assert b"not of the dataset" not in refused
    assert [asked for asked in Site.asked if "secret" in asked[1]] == []
    foreign = through(node, "http://example.invalid/b/c/x.tar")
    assert (foreign.status_code, "ais create --url" in foreign.text) == (403, True)
    other = site.replace("http:", "https:")
    Site.asked.clear()
    # No dataset is there; what is left of the address is a path of the node's own.
    assert b" 400 " in raw(node, f"GET {other}/b/c/x.tar HTTP/1.1\r\nHost: x\r\n\r\n")
    assert Site.asked == []
    assert through(node, f"{site}/b/c/missing").status_code == 404
    beyond = through(node, f"{site}/b/c/x.tar", headers={"Range": "bytes=900000-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(LARGE)}")
    for method in ("PUT", "POST", "DELETE"):
        assert through(node, f"{site}/b/c/x.tar", method, data=b"x").status_code == 405
    assert raw(node, f"CONNECT {site[7:]} HTTP/1.1\r\nHost: {site[7:]}\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    page = through(node, f"{site}/b/c/x.tar", headers={"Origin": "http://evil.example"})
    assert page.status_code == 403


def test_the_node_itself_is_still_reached_by_whole_urls(node: RunningNode) -> None:
    answer = raw(node, f"GET {node.url}/v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_without_the_setting_there_is_no_proxy(site: str) -> None:
    with running_node() as plain:
        assert ais(plain.url, "create", "ht://set", "--url", f"{site}/b/c/").code == 0
        Site.asked.clear()
        assert through(plain, f"{site}/b/c/x.tar").status_code != 200
        assert through(plain, "http://example.invalid/b/c/x.tar").status_code == 403
        assert Site.asked == []


def test_with_credentials_a_proxy_user_is_wanted(site: str) -> None:
    keys = {"AISLE_ROOT_ACCESS_KEY": KEYS[0], "AISLE_ROOT_SECRET_KEY": KEYS[1]}
    mine = {"AIS_ACCESS_KEY": KEYS[0], "AIS_SECRET_KEY": KEYS[1]}
    url = f"{site}/b/c/x.tar"
    with running_node(env=keys, args=PROXY) as guarded:
        assert ais(guarded.url, "create", "ht://set", "--url", f"{site}/b/c/", **mine).code == 0
        Site.asked.clear()
        for user in ("", "nobody:front-secret-long", f"{KEYS[0]}:wrong-secret"):
            refused = through(guarded, url, user=user)
            assert (refused.status_code, "Proxy-Authenticate" in refused.headers) == (407, True)
        assert Site.asked == []
        assert through(guarded, url, user=":".join(KEYS)).content == LARGE
        token = ais(guarded.url, "auth", "token", "add", "root", "--json", **mine).json["token"]
        bearer = {"Proxy-Authorization": f"Bearer {token}"}
        assert raw(guarded, request_of(url, {**bearer, "Authorization": "Basic eDp5"})).startswith(
            b"HTTP/1.1 200 "
        )
        assert through(guarded, "http://example.invalid/x", user=":".join(KEYS)).status_code == 403
        sent = [headers for _, _, headers in Site.asked]
        assert sent
        assert all(not {"proxy-authorization", "authorization"} & headers.keys() for headers in sent)


def test_the_first_access_may_name_the_address(node: RunningNode, site: str) -> None:
    link = f"{node.url}/v1/objects/named/c/x.tar"
    asked = {"provider": "ht", "original_url": f"{site}/b/c/x.tar"}
    assert requests.get(link, params=asked, timeout=WAIT_S).content == LARGE
    assert requests.get(link, params={"provider": "ht"}, timeout=WAIT_S).content == LARGE
    wrong = requests.get(f"{node.url}/v1/objects/wrong/y.tar", params=asked, timeout=WAIT_S)
    assert (wrong.status_code, "is not the address" in wrong.text) == (400, True)
    assert b"wrong" not in requests.get(f"{node.url}/v1/buckets", timeout=WAIT_S).content


def request_of(url: str, headers: dict[str, str]) -> str:
    fields = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "x", **headers}.items())
    return f"GET {url} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"


def raw(node: RunningNode, request: str) -> bytes:
    """What the node answers to these bytes, as far as it sends it within a moment."""
    with socket.create_connection((node.host, node.port), timeout=WAIT_S) as connection:
        connection.sendall(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1).encode())
        pieces = []
        while piece := connection.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)
