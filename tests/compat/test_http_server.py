"""The HTTP server as a process, on real sockets: files, TLS, slow peers, draining."""

import hashlib
import http.client
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import xxhash

PROGRAM = Path(__file__).with_name("http_program.py")
FAST = {"header_timeout_s": 0.4, "body_idle_timeout_s": 0.4, "keepalive_timeout_s": 0.8}
IMPLEMENTATIONS = ["aiofastnet", "os", "copy"]


class Process:
    """A running server."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, errors: Path) -> None:
        self.process = process
        self.port = port
        self.errors = errors

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(60)
        sock.connect(("127.0.0.1", self.port))
        return sock

    def get(self, path: str, **headers: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers=headers)
        body = connection.getresponse().read()
        connection.close()
        return body

    def events(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.get("/event"))
        return found

    def begun(self, what: str) -> int:
        """How many handlers have begun to do that."""
        events = self.events()["events"]
        assert isinstance(events, list)
        return events.count(what)

    def log(self) -> str:
        return self.errors.read_text()


@contextmanager
def serving(folder: Path, **settings: object) -> Iterator[Process]:
    errors = folder / "stderr.txt"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps({"root": str(folder), **settings})],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    try:
        word, _, port = process.stdout.readline().partition(" ")
        assert word == "ready", errors.read_text()
        yield Process(process, int(port), errors)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def receive_all(sock: socket.socket) -> bytes:
    received = bytearray()
    while True:
        try:
            data = sock.recv(1 << 20)
        except ConnectionResetError:
            break
        if not data:
            break
        received += data
    return bytes(received)


def exchange(server: Process, data: bytes) -> bytes:
    """Send, and read until the server closes."""
    with server.connect() as sock:
        sock.sendall(data)
        return receive_all(sock)


def curl(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["curl", "-sS", *arguments], capture_output=True, check=False, timeout=60)


GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
GET_CLOSE = b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "small").write_bytes(random.Random(1).randbytes(1000))
    (folder / "large").write_bytes(random.Random(2).randbytes(24 * 1024 * 1024 + 17))
    (folder / "empty").write_bytes(b"")
    return folder


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def server(request: pytest.FixtureRequest, files: Path) -> Iterator[Process]:
    with serving(files, http={"sendfile": request.param}) as process:
        yield process


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("one", "two"):
        make_certificate(folder, name)
    return folder


def make_certificate(folder: Path, name: str) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += " -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
    subprocess.run([*command.split(), "-subj", f"/CN={name}", *files], check=True, capture_output=True)


# Files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "large", "empty"])
def test_a_file_arrives_as_it_is(server: Process, files: Path, name: str) -> None:
    result = curl(f"http://127.0.0.1:{server.port}/file/{name}")
    assert result.returncode == 0
    assert hashlib.md5(result.stdout).digest() == hashlib.md5((files / name).read_bytes()).digest()


def test_files_and_other_answers_share_a_pipelined_connection_in_order(server: Process, files: Path) -> None:
    small, large = (files / "small").read_bytes(), (files / "large").read_bytes()
    asked = [b"/file/small", b"/", b"/file/large", b"/wait/0.01", b"/file/small", b"/file/empty", b"/"]
    expected = [small, b"hello\n", large, b"waited\n", small, b"", b"hello\n"]
    sent = b"".join(GET % path for path in asked[:-1]) + GET_CLOSE % asked[-1]
    received = exchange(server, sent)
    for body in expected:
        head, _, received = received.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}\r\n".encode() in head
        assert received[: len(body)] == body
        received = received[len(body) :]
    assert received == b""


def test_spans_of_a_file_leave_in_order_with_bytes_between_them(server: Process, files: Path) -> None:
    large = (files / "large").read_bytes()
    body = server.get("/file/large?spans=5-10,3000000-9000000,0-3&between=--%0A")
    assert body == b"--\n" + large[5:10] + b"--\n" + large[3_000_000:9_000_000] + b"--\n" + large[:3]


def test_a_head_request_for_a_file_sends_none_of_it(server: Process) -> None:
    result = curl("-I", f"http://127.0.0.1:{server.port}/file/large")
    assert b"Content-Length: 25165841\r\n" in result.stdout
    assert server.events()["open"] == 0


def test_a_file_that_is_too_short_is_an_error_not_a_short_answer(server: Process) -> None:
    received = exchange(server, GET % b"/file/small?lie=1")
    assert received.startswith(b"HTTP/1.1 500 ")
    assert server.events()["open"] == 0
    assert "shorter than its record says" in server.log()


def test_a_file_that_shrinks_while_it_is_sent_breaks_the_connection(server: Process, files: Path) -> None:
    victim = files / "victim"
    victim.write_bytes(bytes(24 * 1024 * 1024))
    with server.connect(receive_buffer=4096) as sock:
        sock.sendall(GET % b"/file/victim" + GET % b"/")
        received = len(sock.recv(1000))
        os.truncate(victim, 8 * 1024 * 1024)
        rest = receive_all(sock)
    assert received + len(rest) < 24 * 1024 * 1024
    assert b"hello" not in rest
    assert until(lambda: server.events()["open"] == 0)


def test_a_client_that_goes_away_in_the_middle_leaves_no_open_file(server: Process) -> None:
    for _ in range(5):
        with server.connect(receive_buffer=4096) as sock:
            sock.sendall(GET % b"/file/large")
            sock.recv(1000)
    assert until(lambda: server.events()["open"] == 0)


def test_a_file_that_must_come_from_the_disk_is_read_in_a_thread(server: Process, files: Path) -> None:
    def reads() -> int:
        text = server.get("/metrics").decode()
        return int(text.partition("\naisle_reads_in_thread_total ")[2].split()[0])

    path, before = files / "large", reads()
    with path.open("rb") as file:
        os.sync()
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            evicted = not os.preadv(file.fileno(), [bytearray(1)], 8 << 20, os.RWF_NOWAIT)
        except BlockingIOError:
            evicted = True
        except OSError:
            evicted = False  # a file system that cannot tell
    assert server.get("/file/large") == path.read_bytes()
    if evicted:
        assert reads() > before


def test_many_downloads_at_once_are_exact(server: Process, files: Path) -> None:
    wanted = hashlib.md5((files / "large").read_bytes()).digest()

    def fetch(_: int) -> bytes:
        return hashlib.md5(server.get("/file/large")).digest()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(fetch, range(16))) == {wanted}


def test_small_requests_are_answered_beside_large_downloads(server: Process) -> None:
    with ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        downloads = [pool.submit(server.get, "/file/large") for _ in range(8)]
        worst = 0.0
        while not all(download.done() for download in downloads):
            begin = time.monotonic()
            assert server.get("/") == b"hello\n"
            worst = max(worst, time.monotonic() - begin)
        # A loose bound: the machine is shared, and then the downloads take longer, too.
        assert worst < max(2.0, (time.monotonic() - began) / 2)


# Requests and answers ---------------------------------------------------------------------------------


def test_a_hundred_pipelined_requests_are_answered_in_order(server: Process) -> None:
    requests = b"".join(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: n%d\r\n%b\r\n"
        % (n, b"Connection: close\r\n" * (n == 99))
        for n in range(100)
    )
    received = exchange(server, requests)
    ids = [line.partition(b": ")[2] for line in received.split(b"\r\n") if line.startswith(b"X-Request-Id")]
    assert ids == [b"n%d" % n for n in range(100)]


def test_thousands_of_pipelined_requests_are_held_back_and_answered(server: Process) -> None:
    count = 20_000
    with server.connect() as sock, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(sock.sendall, GET % b"/" * (count - 1) + GET_CLOSE % b"/")
        received = receive_all(sock)
        sending.result()
    assert received.count(b"hello\n") == count


def test_curl_sends_and_receives_bodies_of_both_kinds(server: Process, files: Path) -> None:
    large = files / "large"
    wanted = {"size": large.stat().st_size, "xxh3": xxhash.xxh3_64(large.read_bytes()).hexdigest()}
    url = f"http://127.0.0.1:{server.port}/digest"
    # curl asks with Expect: 100-continue before bodies of this size.
    for arguments in (["-T", str(large)], ["-T", str(large), "-H", "Transfer-Encoding: chunked"]):
        result = curl("-v", *arguments, url)
        assert json.loads(result.stdout) == wanted
        assert b"100 Continue" in result.stderr


def test_a_body_in_single_bytes_arrives(server: Process) -> None:
    body = b"0123456789" * 20
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n" + body:
            sock.send(bytes([byte]))
        answer = sock.recv(65536)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["xxh3"] == xxhash.xxh3_64(body).hexdigest()


def test_memory_does_not_grow_with_a_body_that_is_taken_slowly(server: Process) -> None:
    def resident_kib() -> int:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0])

    before = resident_kib()
    with server.connect() as sock:
        sock.sendall(
            b"POST /digest?wait=0.001 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (48 << 20)
        )
        highest = before
        for _ in range(48):
            sock.sendall(bytes(1 << 20))
            highest = max(highest, resident_kib())
        assert b'"size": %d' % (48 << 20) in sock.recv(65536)
    assert highest - before < 16 * 1024


def test_an_answer_without_reading_a_large_body_reaches_the_client(server: Process) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/refuse", body=bytes(8 << 20))
    response = connection.getresponse()
    assert (response.status, response.read()) == (403, b"no\n")
    assert response.getheader("Connection") == "close"
    connection.close()


def test_an_expected_body_that_is_refused_is_not_sent(server: Process, files: Path) -> None:
    result = curl("-v", "-T", str(files / "large"), f"http://127.0.0.1:{server.port}/refuse")
    assert b"HTTP/1.1 403" in result.stderr
    assert b"100 Continue" not in result.stderr


def test_a_broken_stream_is_no_complete_answer(server: Process) -> None:
    for query in ("fail=1", "fail=1&length=100", "length=31", "length=29"):
        result = curl(f"http://127.0.0.1:{server.port}/stream?{query}")
        assert result.returncode in (18, 56), query  # partial file; failure in receiving
    result = curl(f"http://127.0.0.1:{server.port}/stream")
    assert (result.returncode, result.stdout) == (0, bytes(30))


def test_a_stream_may_hold_spans_of_files(server: Process, files: Path) -> None:
    behind = (files / "large").read_bytes()[1:]
    expected = (bytes(100_000) + behind) * 2
    path = f"http://127.0.0.1:{server.port}/stream?count=2&size=100000&file=large"
    for flags in ((), ("-0",), ("--limit-rate", "200M")):
        for query in ("", f"&length={len(expected)}"):
            result = curl(*flags, path + query)
            assert (result.returncode, result.stdout == expected) == (0, True), (flags, query)
    result = curl(f"{path}&length={len(expected) - 1}")
    assert result.returncode in (18, 56)


def test_http_1_0_clients_are_served(server: Process) -> None:
    result = curl("-0", f"http://127.0.0.1:{server.port}/stream")
    assert (result.returncode, result.stdout) == (0, bytes(30))
    assert exchange(server, b"GET / HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nhello\n")


def test_a_handler_is_cancelled_and_its_stream_closed_when_the_client_goes(server: Process) -> None:
    before = server.events()["events"]
    assert isinstance(before, list)
    waiting = server.begun("waiting")
    with server.connect() as sock:
        sock.sendall(GET % b"/wait/600")
        assert until(lambda: server.begun("waiting") > waiting)
    with server.connect() as sock:
        sock.sendall(GET % b"/stream?count=100000&size=100000")
        sock.recv(100)
    assert until(lambda: {"cancelled", "stream closed"} <= set(server.events()["events"][len(before) :]))  # type: ignore[index]


def test_a_handler_learns_that_an_upload_was_broken_off(server: Process) -> None:
    digesting = server.begun("digesting")
    with server.connect() as sock:
        sock.sendall(b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
        assert until(lambda: server.begun("digesting") > digesting)
    assert until(lambda: any("RequestAborted" in event for event in server.events()["events"]))  # type: ignore[attr-defined]


def test_a_bug_leaves_a_traceback_and_the_server_running(server: Process) -> None:
    received = exchange(server, GET % b"/bug")
    assert received.startswith(b"HTTP/1.1 500 ")
    assert "KeyError: 'on purpose'" in server.log()
    assert server.get("/") == b"hello\n"


def test_a_malformed_request_reaches_its_answer(server: Process) -> None:
    received = exchange(server, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + bytes(100_000))
    assert received.startswith(b"HTTP/1.1 400 ")


def test_metrics_tell_of_connections_and_requests(server: Process) -> None:
    with server.connect():
        assert until(lambda: b"aisle_http_connections 2\n" in server.get("/metrics"))
    text = server.get("/metrics").decode()
    requests = [line for line in text.splitlines() if 'method="GET",code="2xx"' in line]
    assert int(requests[0].split()[-1]) > 0
    assert until(lambda: b"aisle_http_connections 1\n" in server.get("/metrics"))


def misbehave(server: Process, seed: int) -> None:
    """One connection of a client that breaks off, sends garbage, or is fine, by chance."""
    chance = random.Random(seed)
    upload = b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"
    chunked = b"POST /digest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
    pieces = [
        *(
            GET % path
            for path in (b"/", b"/file/small", b"/file/large", b"/stream?count=50&size=9000", b"/wait/5")
        ),
        *(
            upload + bytes(chance.choice((0, 1000, 299_999, 300_000))),
            chunked,
            chunked + b"0\r\n\r\n",
            chunked + b"x",
        ),
        *(
            b"GET / HTT",
            b"\r\n",
            chance.randbytes(50),
            b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
        ),
    ]
    with server.connect(receive_buffer=chance.choice((4096, 1 << 18))) as sock:
        sock.settimeout(0.05)
        try:
            for _ in range(chance.randint(1, 6)):
                sock.sendall(chance.choice(pieces))
                if chance.random() < 0.6:
                    sock.recv(chance.choice((10, 100_000)))
            if chance.random() < 0.3:
                sock.shutdown(socket.SHUT_WR)
                sock.recv(1000)
        except OSError:
            pass


def test_nothing_is_left_behind_by_clients_that_misbehave(server: Process) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: misbehave(server, seed), range(300)))

    def left() -> list[str]:
        lines = server.get("/metrics").decode().splitlines()
        gauges = ("aisle_http_connections ", "aisle_http_buffered_body_bytes ")
        return [*(line for line in lines if line.startswith(gauges)), f"open {server.events()['open']}"]

    clean = {"aisle_http_connections 1", "aisle_http_buffered_body_bytes 0", "open 0"}
    # Less than the time after which the server gives up whoever is silent.
    assert until(lambda: set(left()) == clean, timeout_s=50), left()
    descriptors = os.listdir(f"/proc/{server.process.pid}/fd")
    assert len(descriptors) < 40
    assert all(
        word not in server.log() for word in ("never retrieved", "never awaited", "Exception in callback")
    )
    assert server.process.poll() is None


# Slow peers and limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
        b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc",
        b"POST /digest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ],
)
def test_what_arrives_too_slowly_is_answered_with_408(tmp_path: Path, begun: bytes) -> None:
    with serving(tmp_path, http=FAST) as server:
        begin = time.monotonic()
        assert exchange(server, begun).startswith(b"HTTP/1.1 408 ")
        assert 0.3 < time.monotonic() - begin < 15  # far below what is usual


def test_slow_and_idle_peers_are_closed_and_others_served_meanwhile(tmp_path: Path) -> None:
    with serving(tmp_path, http=FAST) as server:
        slow = [server.connect() for _ in range(200)]
        for sock in slow:
            sock.sendall(b"GET / HT")
        idle = server.connect()
        idle.sendall(GET % b"/")
        assert server.get("/") == b"hello\n"
        assert all(receive_all(sock).startswith(b"HTTP/1.1 408 ") for sock in slow)
        assert receive_all(idle).endswith(b"hello\n")
        for sock in (*slow, idle):
            sock.close()
        assert until(lambda: b"aisle_http_connections 1\n" in server.get("/metrics"))


def test_a_peer_that_does_not_read_is_cut_off(files: Path) -> None:
    with serving(files, http={"send_idle_timeout_s": 0.5}) as server:
        for path in (b"/file/large", b"/stream?count=1000&size=100000"):
            with server.connect(receive_buffer=4096) as sock:
                sock.sendall(GET % path)
                assert until(lambda: b"aisle_http_connections 1\n" in server.get("/metrics"))
        assert server.events()["open"] == 0


def test_connections_beyond_the_limits_are_turned_away(tmp_path: Path) -> None:
    for limit in ("connections_max", "connections_per_address_max"):
        with serving(tmp_path, http={limit: 5}) as server:
            held = [server.connect() for _ in range(5)]
            for sock in held:
                sock.sendall(GET % b"/")
                assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
            assert exchange(server, b"").startswith(b"HTTP/1.1 503 ")
            held.pop().close()

            def served() -> bool:
                return exchange(server, GET_CLOSE % b"/").startswith(b"HTTP/1.1 200 ")

            assert until(served)
            for sock in held:
                sock.close()


def test_running_out_of_descriptors_is_survived(tmp_path: Path) -> None:
    with serving(tmp_path, descriptors=64) as server:
        held = [server.connect() for _ in range(100)]
        assert until(lambda: "cannot accept connections" in server.log())
        for sock in held:
            sock.close()
        assert until(lambda: server.get("/") == b"hello\n")
        assert server.log().count("cannot accept connections") < 100


# TLS ----------------------------------------------------------------------------------------------------


def tls_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    return context


def presented(server: Process, context: ssl.SSLContext) -> str:
    with context.wrap_socket(server.connect()) as sock:
        subject = dict(pair[0] for pair in sock.getpeercert()["subject"])  # type: ignore[index,misc]
        return str(subject["commonName"])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_tls_serves_files_bodies_and_many_requests(
    files: Path, certificates: Path, implementation: str
) -> None:
    tls = {"certificate": str(certificates / "one.pem"), "key": str(certificates / "one.key")}
    with serving(files, http={"sendfile": implementation}, tls=tls) as server:
        url = f"https://127.0.0.1:{server.port}"
        trust = ["--cacert", tls["certificate"]]
        large = (files / "large").read_bytes()
        assert curl(*trust, f"{url}/file/large").stdout == large
        assert json.loads(curl(*trust, f"{url}/echo").stdout)["secure"] is True
        result = curl(*trust, "-T", str(files / "large"), f"{url}/digest")
        assert json.loads(result.stdout)["xxh3"] == xxhash.xxh3_64(large).hexdigest()
        with tls_context(certificates / "one.pem").wrap_socket(server.connect()) as sock:
            sock.sendall(GET % b"/" * 99 + GET_CLOSE % b"/file/small")
            received = b""
            while data := sock.recv(65536):
                received += data
        assert received.count(b"hello\n") == 99
        assert received.endswith((files / "small").read_bytes())


def test_a_client_that_speaks_no_tls_and_one_that_says_nothing_do_no_harm(
    files: Path, certificates: Path
) -> None:
    tls = {"certificate": str(certificates / "one.pem"), "key": str(certificates / "one.key")}
    with serving(files, tls=tls, http={"header_timeout_s": 0.4}) as server:
        silent = server.connect()
        assert b"200" not in exchange(server, GET % b"/")[:20]
        assert receive_all(silent) == b""
        silent.close()
        trust = ["--cacert", tls["certificate"]]
        # On a busy machine the handshake may take longer than a head may take here.
        assert until(
            lambda: (
                b"aisle_http_connections 1\n"
                in curl(*trust, f"https://127.0.0.1:{server.port}/metrics").stdout
            )
        )
        assert "Traceback" not in server.log()


def test_a_changed_certificate_is_used_without_dropping_connections(
    tmp_path: Path, certificates: Path
) -> None:
    def install(name: str, *kinds: str) -> None:
        for kind in kinds:
            fresh = tmp_path / f"fresh.{kind}"
            fresh.write_bytes((certificates / f"{name}.{kind}").read_bytes())
            fresh.rename(tmp_path / f"live.{kind}")

    install("one", "pem", "key")
    tls = {"certificate": str(tmp_path / "live.pem"), "key": str(tmp_path / "live.key")}
    with serving(tmp_path, tls=tls) as server:
        old, new = tls_context(certificates / "one.pem"), tls_context(certificates / "two.pem")
        assert presented(server, old) == "one"
        kept = old.wrap_socket(server.connect())
        kept.sendall(GET % b"/")
        assert kept.recv(65536).endswith(b"hello\n")
        # A certificate without its key is reported, and the old pair stays.
        install("two", "pem")
        assert until(lambda: "cannot be used" in server.log())
        assert presented(server, old) == "one"
        install("two", "key")

        def renewed() -> bool:
            try:
                return presented(server, new) == "two"
            except ssl.SSLError:
                return False

        assert until(renewed)
        kept.sendall(GET % b"/")
        assert kept.recv(65536).endswith(b"hello\n")
        kept.close()


# The end ------------------------------------------------------------------------------------------------


def test_draining_lets_exchanges_end_and_closes_the_rest(files: Path) -> None:
    go_on = files / "for-draining"
    with serving(files, grace_s=100.0) as server:
        idle = server.connect()
        idle.sendall(GET % b"/")
        idle.recv(1000)
        busy = server.connect()
        busy.sendall(GET % b"/wait/for-draining")
        download = server.connect(receive_buffer=65536)
        download.sendall(GET % b"/file/large")
        assert until(lambda: server.begun("waiting") == 1 and server.events()["open"] == 1)
        server.process.terminate()
        assert receive_all(idle) == b""
        go_on.touch()
        answer = receive_all(busy)
        assert answer.endswith(b"waited\n")
        assert b"Connection: close\r\n" in answer
        assert len(receive_all(download)) > 24 * 1024 * 1024
        assert server.process.stdout is not None
        assert server.process.stdout.readline() == "drained\n"
        assert server.process.wait(60) == 0
        for sock in (idle, busy, download):
            sock.close()


def test_draining_ends_after_its_grace_whatever_is_left(files: Path) -> None:
    with serving(files, grace_s=0.3) as server:
        stuck = server.connect(receive_buffer=4096)
        stuck.sendall(GET % b"/file/large")
        waiting = server.connect()
        waiting.sendall(GET % b"/wait/600")
        upload = server.connect()
        upload.sendall(b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
        assert until(lambda: server.begun("waiting") == server.begun("digesting") == 1)
        assert until(lambda: server.events()["open"] == 1)
        server.process.terminate()
        assert server.process.wait(60) == 0
        assert "never retrieved" not in server.log()
        assert "never awaited" not in server.log()
        for sock in (stuck, waiting, upload):
            sock.close()


def test_the_access_log_is_written_when_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path, http={"access_log": True}) as server:
        server.get("/", **{"X-Request-Id": "look-for-me"})
        assert until(lambda: "look-for-me" in server.log())
        assert "GET / 200" in server.log()
