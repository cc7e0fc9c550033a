"""A node's processes as its owner meets them: started, killed, drained, refused."""

import ctypes
import os
import platform
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support import processes
from support.node import NODE_COMMAND, NodeDidNotStart, RunningNode, running_node

ORPHANS_GONE_S = 30.0
# Longer than what waits for the end of a node: who ends in time has not waited for the grace to be over.
PATIENT = "shutdown_grace_s = 110\n"
SOON_S = 60.0
# The C library has no wrapper for this system call, whose number differs by processor.
SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}
KERNEL = [int(number) for number in re.findall("[0-9]+", platform.release())[:2]]


@pytest.fixture
def node() -> Iterator[RunningNode]:
    with running_node(workers=2, config=PATIENT) as running:
        requests.post(f"{running.url}/v1/buckets/data", json={"action": "create-bck"}).raise_for_status()
        yield running


def put(node: RunningNode, name: str, content: bytes) -> None:
    requests.put(f"{node.url}/v1/objects/data/{name}", data=content, timeout=30).raise_for_status()


def get(node: RunningNode, name: str) -> bytes:
    answer = requests.get(f"{node.url}/v1/objects/data/{name}", timeout=30)
    answer.raise_for_status()
    return answer.content


def replaced(node: RunningNode, role: str, before: list[int], timeout_s: float = 60.0) -> None:
    count = len(before)
    assert processes.wait_until(
        lambda: len(node.children(role)) == count and node.children(role) != before, timeout_s=timeout_s
    )


def refused(*arguments: str, folder: Path, **environment: str) -> str:
    """What a node that must not start says on standard error; nothing on standard output."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AISLE_")}
    ended = subprocess.run(
        [*NODE_COMMAND, "--data", str(folder / "data"), "--listen", "127.0.0.1:0", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        env=variables | environment,
        cwd=folder,
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    return ended.stderr


# Starting -----------------------------------------------------------------------------------------


def test_a_node_says_one_line_when_it_accepts_requests(node: RunningNode) -> None:
    (line,) = (node.folder / "stdout.txt").read_text().splitlines()
    assert line == f"aisle ready {node.url}"
    put(node, "a", b"content")
    assert get(node, "a") == b"content"
    assert len(node.children("worker")) == 2
    assert len(node.children("committer")) == len(node.children("jobs")) == 1


def test_several_addresses_are_served_and_named() -> None:
    with running_node(args=["--listen", "[::1]:0"]) as node:
        words = (node.folder / "stdout.txt").read_text().split()
        assert len(words) == 4
        for url in words[2:]:
            assert requests.get(f"{url}/v1/health").status_code == 200
        assert words[3].startswith("http://[::1]:")


def test_a_free_port_chosen_for_a_name_is_the_same_for_all_its_addresses(tmp_path: Path) -> None:
    with running_node(start=False) as node:
        node.args += ["--listen", "localhost:0"]
        node.start()
        urls = (node.folder / "stdout.txt").read_text().split()[3:]
        assert len({url.rpartition(":")[2] for url in urls}) == 1


def test_a_data_folder_may_have_a_long_path(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    with running_node(data=[deep]) as node:
        requests.post(f"{node.url}/v1/buckets/data", json={"action": "create-bck"}).raise_for_status()
        put(node, "a", b"content")
        node.kill("all")
        node.start()
        assert get(node, "a") == b"content"


def test_a_folder_that_cannot_be_used_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    assert str(tmp_path / "data") in refused(folder=tmp_path)


def test_help_and_version_need_no_data_folder(tmp_path: Path) -> None:
    for flag, expected in (("--help", "--listen HOST:PORT"), ("--version", "aisle 0.")):
        shown = subprocess.run([*NODE_COMMAND, flag], capture_output=True, text=True, cwd=tmp_path)
        assert shown.returncode == 0
        assert expected in shown.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_second_node_on_the_same_folder_is_refused_with_the_holders_pid(node: RunningNode) -> None:
    text = refused(folder=node.folder)
    named = int(text.split("process ")[1].split(":")[0])
    assert named in node.processes()
    assert get_health(node)


def get_health(node: RunningNode) -> bool:
    return requests.get(f"{node.url}/v1/health", timeout=10).status_code == 200


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = refused("--listen", f"127.0.0.1:{port}", folder=tmp_path)
    assert f"127.0.0.1:{port}" in text
    assert "Choose another address" in text


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", ":0"])
def test_other_addresses_than_loopback_are_refused_with_the_ways_out(address: str, tmp_path: Path) -> None:
    text = refused("--listen", address, folder=tmp_path)
    assert "--insecure" in text
    assert "--listen 127.0.0.1:8080" in text


def test_insecure_lets_a_node_listen_everywhere() -> None:
    with running_node(args=["--listen", ":0", "--insecure"]) as node:
        other = (node.folder / "stdout.txt").read_text().split()[-1]
        port = int(other.rpartition(":")[2])
        for host in ("127.0.0.1", "[::1]"):
            answer = requests.get(f"http://{host}:{port}/v1/health", headers={"Host": "anything.example"})
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("name", "key"),
    [("AISLE_ROOT_ACCESS_KEY", "root.secret_key"), ("AISLE_ROOT_SECRET_KEY", "root.access_key")],
)
def test_half_a_key_of_root_is_refused(name: str, key: str, tmp_path: Path) -> None:
    text = refused(folder=tmp_path, **{name: "secret-value"})
    assert f"{key}: must have" in text
    assert "secret-value" not in text


def test_every_mistake_in_the_settings_is_shown_at_once(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[http]\nsendfile = 'warp'\nunknown = 1\n")
    text = refused(
        *("--config", str(file), "--workers", "many", "--set", "nonsense"),
        folder=tmp_path,
        AISLE_STORAGE_DATA_SYNC="sometimes",
    )
    for key in ("http.sendfile", "http.unknown", "workers", "--set nonsense", "storage.data_sync"):
        assert key in text, key


def test_a_certificate_that_does_not_exist_ends_the_start_with_a_reason(tmp_path: Path) -> None:
    text = refused(
        *("--set", "tls.certificate=/nonexistent/cert.pem", "--set", "tls.key=/nonexistent/key.pem"),
        folder=tmp_path,
    )
    assert "/nonexistent/" in text


# Dying and being replaced -------------------------------------------------------------------------


def test_when_the_supervisor_is_killed_its_children_end_even_when_busy(node: RunningNode) -> None:
    put(node, "a", b"content")
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            try:
                get(node, "a")
            except requests.RequestException:
                return

    threads = [threading.Thread(target=keep_busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    node.kill("supervisor")
    assert processes.wait_until(lambda: not node.processes(), timeout_s=ORPHANS_GONE_S)
    stop.set()
    for thread in threads:
        thread.join()
    node.start()
    assert get(node, "a") == b"content"


def test_a_restart_waits_for_the_orphans_of_a_killed_node(node: RunningNode) -> None:
    put(node, "a", b"content")
    node.kill("supervisor")
    node.start()
    assert get(node, "a") == b"content"


def test_a_restart_waits_longer_for_orphans_that_get_no_processor_time(node: RunningNode) -> None:
    put(node, "a", b"content")
    (jobs,) = node.children("jobs")
    os.kill(jobs, signal.SIGSTOP)
    node.kill("supervisor")
    # Longer than a start waits for a node that is alive.
    timer = threading.Timer(4.0, os.kill, (jobs, signal.SIGCONT))
    timer.start()
    node.start()
    timer.join()
    assert get(node, "a") == b"content"


@pytest.mark.parametrize("role", ["worker", "committer", "jobs"])
def test_a_killed_child_is_replaced_and_the_node_serves_on(node: RunningNode, role: str) -> None:
    put(node, "a", b"content")
    before = node.children(role)
    node.kill(role, index=0)
    replaced(node, role, before)
    put(node, "b", b"more")
    assert (get(node, "a"), get(node, "b")) == (b"content", b"more")
    assert "ended by SIGKILL" in node.stderr_text()


def test_a_child_that_dies_again_and_again_is_replaced_with_pauses_and_never_given_up(
    node: RunningNode,
) -> None:
    for _ in range(4):
        assert processes.wait_until(lambda: len(node.children("jobs")) == 1, timeout_s=60)
        before = node.children("jobs")
        node.kill("jobs")
        replaced(node, "jobs", before)
    assert "the next one starts in" in node.stderr_text()
    assert get_health(node)


def test_counters_survive_the_process_that_counted(node: RunningNode) -> None:
    put(node, "a", b"content")
    for _ in range(10):
        get(node, "a")

    def counted() -> int:
        text = requests.get(f"{node.url}/metrics").text
        (line,) = [line for line in text.splitlines() if line.startswith("ais_target_get_count")]
        return int(line.rpartition(" ")[2])

    assert counted() == 10
    before = node.children("worker")
    node.kill("worker")
    replaced(node, "worker", before)
    assert processes.wait_until(lambda: get_health(node), timeout_s=30)
    assert counted() == 10


# Ending -------------------------------------------------------------------------------------------


def slow_put(node: RunningNode, content: bytes) -> socket.socket:
    """A PUT that a worker has begun with, and of which the first half has been sent."""
    connection = socket.create_connection((node.host, node.port), timeout=60)
    head = (
        f"PUT /v1/objects/data/slow HTTP/1.1\r\nHost: {node.host}\r\nContent-Length: {len(content)}\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    connection.sendall(head.encode())
    assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(content[: len(content) // 2])
    return connection


def refuses_connections(node: RunningNode) -> bool:
    try:
        socket.create_connection((node.host, node.port), timeout=10).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # the last one that was let in, closed before it asked for anything
        pass
    return False


def test_terminating_lets_a_running_put_and_a_running_get_finish(node: RunningNode) -> None:
    large = os.urandom(48 * 1024 * 1024)
    put(node, "large", large)
    content = os.urandom(3_000_000)
    upload = slow_put(node, content)
    download = requests.get(f"{node.url}/v1/objects/data/large", stream=True, timeout=30)
    chunks = download.iter_content(65536)
    received = next(chunks)
    processes.send([node.pid], signal.SIGTERM)
    assert processes.wait_until(lambda: refuses_connections(node), timeout_s=SOON_S, poll_s=0.02)
    assert node.is_running()
    upload.sendall(content[len(content) // 2 :])
    assert upload.recv(4096).startswith(b"HTTP/1.1 200 ")
    upload.close()
    assert received + b"".join(chunks) == large
    node.wait_gone(timeout_s=SOON_S)
    node.start()
    assert get(node, "slow") == content


def test_an_idle_node_ends_at_once_with_status_zero(node: RunningNode) -> None:
    with requests.Session() as session:
        session.get(f"{node.url}/v1/health")
        began_s = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began_s < SOON_S
    runtime = [name for name in os.listdir("/tmp") if name.startswith("aisle-") and "test" not in name]
    assert not any(f"/tmp/{name}" in node.stderr_text() for name in runtime)


def test_a_stopped_node_leaves_a_folder_that_can_be_copied(node: RunningNode, tmp_path: Path) -> None:
    put(node, "o", b"content")
    assert node.stop() == 0
    shutil.copytree(node.data[0], tmp_path / "copy")  # raises for a socket
    assert list((tmp_path / "copy" / ".run").iterdir()) == []


def test_a_second_signal_does_not_wait_for_requests(node: RunningNode) -> None:
    upload = slow_put(node, bytes(1_000_000))
    processes.send([node.pid], signal.SIGTERM)
    assert processes.wait_until(lambda: refuses_connections(node), timeout_s=SOON_S, poll_s=0.02)
    assert node.is_running()
    processes.send([node.pid], signal.SIGINT)
    node.wait_gone(timeout_s=SOON_S)
    upload.close()


def test_signals_to_the_whole_group_end_it_in_order_too(node: RunningNode) -> None:
    content = os.urandom(1_000_000)
    upload = slow_put(node, content)
    os.killpg(os.getpgid(node.pid), signal.SIGTERM)
    assert processes.wait_until(lambda: refuses_connections(node), timeout_s=SOON_S, poll_s=0.02)
    upload.sendall(content[len(content) // 2 :])
    assert upload.recv(4096).startswith(b"HTTP/1.1 200 ")
    upload.close()
    node.wait_gone(timeout_s=SOON_S)


def test_reloading_replaces_every_process_while_requests_go_on(node: RunningNode) -> None:
    put(node, "a", b"content")
    before = node.children()
    stop, failures = threading.Event(), []

    def keep_asking() -> None:
        while not stop.is_set():
            try:
                assert get(node, "a") == b"content"
            except (requests.RequestException, AssertionError) as error:
                failures.append(error)

    thread = threading.Thread(target=keep_asking)
    thread.start()
    processes.send([node.pid], signal.SIGHUP)
    gone = processes.wait_until(lambda: not set(before) & set(node.children()), timeout_s=90)
    replaced(node, "", before)
    stop.set()
    thread.join()
    assert gone
    assert failures == []
    # The job worker gives way again once it is ready, and nobody else does.
    (jobs,), others = node.children("jobs"), [*node.children("worker"), *node.children("committer")]
    assert processes.wait_until(lambda: os.getpriority(os.PRIO_PROCESS, jobs) == 15, timeout_s=60)
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in others} == {os.getpriority(os.PRIO_PROCESS, 0)}


def test_a_reload_with_wrong_settings_changes_nothing() -> None:
    with running_node(config="[http]\nslow_request_s = 1\n") as node:
        before = node.children()
        (node.folder / "node.toml").write_text("[http]\nslow_request_s = 'never'\n")
        processes.send([node.pid], signal.SIGHUP)
        assert processes.wait_until(lambda: "http.slow_request_s" in node.stderr_text(), timeout_s=30)
        assert node.children() == before
        assert get_health(node)


def test_a_reload_puts_new_settings_into_effect() -> None:
    with running_node(config="[http]\naccess_log = false\n") as node:
        before = node.children()
        (node.folder / "node.toml").write_text("[http]\naccess_log = true\n")
        processes.send([node.pid], signal.SIGHUP)
        assert processes.wait_until(
            lambda: not set(before) & set(node.children()) and len(node.children()) == len(before),
            timeout_s=90,
        )
        requests.get(f"{node.url}/v1/health?marked=yes")
        assert processes.wait_until(lambda: "marked=yes" in node.stderr_text(), timeout_s=60)


@pytest.mark.parametrize("after_s", [0.02, 0.1, 0.2, 0.4])
def test_a_signal_during_the_start_ends_it_and_leaves_nothing(after_s: float) -> None:
    with running_node(start=False) as node:
        command = [*NODE_COMMAND, "--data", str(node.data[0]), "--listen", "127.0.0.1:0"]
        environment = os.environ | {processes.MARK_VARIABLE: node.mark}
        starting = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        time.sleep(after_s)
        starting.send_signal(signal.SIGTERM)
        starting.wait(60)
        assert processes.wait_until(lambda: not node.processes(), timeout_s=30)
        node.start()
        assert get_health(node)


def test_on_a_terminal_a_newcomer_is_told_how_to_go_on() -> None:
    with running_node(start=False) as node:
        ours, theirs = pty.openpty()
        command = [*NODE_COMMAND, "--data", str(node.data[0]), "--listen", "127.0.0.1:0", "--workers", "1"]
        environment = os.environ | {processes.MARK_VARIABLE: node.mark}
        running = subprocess.Popen(
            command, env=environment, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
        )
        os.close(theirs)
        assert running.stdout is not None
        url = running.stdout.readline().decode().split()[2]
        shown = ""
        while "Ctrl-C" not in shown:
            shown += os.read(ours, 4096).decode()
        running.terminate()
        assert running.wait(60) == 0
        assert running.stdout.read() == b""
        os.close(ours)
    assert f"export AIS_ENDPOINT={url}" in shown
    assert str(node.data[0]) in shown
    assert f"curl {url}/v1/objects/" in shown


# Figures ------------------------------------------------------------------------------------------


def anonymous_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_idle_worker_is_small(node: RunningNode) -> None:
    assert get_health(node)
    for pid in node.children():
        assert anonymous_kib(pid) <= 60 * 1024


def test_background_work_has_a_low_priority(node: RunningNode) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    (jobs,) = node.children("jobs")
    assert os.getpriority(os.PRIO_PROCESS, jobs) == min(19, ours + 15)
    (committer,) = node.children("committer")
    assert os.getpriority(os.PRIO_PROCESS, committer) == ours


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the time slices of processes")
@pytest.mark.skipif(platform.machine() not in SCHED_GETATTR, reason="sched_getattr has no known number here")
@pytest.mark.skipif(KERNEL < [6, 12], reason="Linux gives each process its own time slices since 6.12")
def test_who_serves_has_short_time_slices(node: RunningNode) -> None:
    library, sched_getattr = ctypes.CDLL(None), SCHED_GETATTR[platform.machine()]

    def policy_and_slice_ns(pid: int) -> tuple[int, int]:
        attributes = ctypes.create_string_buffer(48)
        assert library.syscall(sched_getattr, pid, attributes, 48, 0) == 0
        _, policy, _, _, _, slice_ns, _, _ = struct.unpack("=IIQiIQQQ", attributes)
        return policy, slice_ns

    usual = policy_and_slice_ns(0)
    for pid in node.children("worker"):
        assert policy_and_slice_ns(pid) == (os.SCHED_OTHER, 100_000)
        assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0)
    for pid in (*node.children("jobs"), *node.children("committer")):
        assert policy_and_slice_ns(pid) == usual


def test_a_node_that_did_not_start_leaves_nothing_running(tmp_path: Path) -> None:
    with running_node(start=False, args=["--set", "workers=x"]) as node:
        with pytest.raises(NodeDidNotStart):
            node.start()
        assert node.processes() == []
