"""The real `ais` against a real node: buckets, objects, names, files, pipes, errors."""

import contextlib
import os
import pty
import resource
import signal
import socket
import stat
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash

from support.ais import PROGRAM, ais, ais_on_terminal, environment
from support.node import RunningNode, running_node

HELP_MAX_S = 0.150
LIST_MAX_S = 0.250

NAMES = [
    *("a", "a/b", "a//b", "dir/", "dir//", "/lead", "//lead", "/", " ", "two words", "100%", "%41", "%2F"),
    *("1+1", "?q", "#f", "back\\slash", "quo'te\"", "tab\tnew\nline", "é", "e\u0301", "😀/😀", "..", "../up"),
    *(".", "a/../b", "~", "-x", "x" * 1024, "😀" * 256),
]


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node() as running:
        yield running


@pytest.fixture
def bucket(node: RunningNode, request: pytest.FixtureRequest) -> Iterator[str]:
    """A bucket of its own for each test."""
    name = f"b{abs(hash(request.node.name)) % 10**12}"
    assert ais(node.url, "create", name).code == 0
    yield f"ais://{name}"
    ais(node.url, "rmb", name, "--yes")


def put(node: RunningNode, uri: str, data: bytes) -> None:
    run = ais(node.url, "put", "-", uri, stdin=data)
    assert run.code == 0, run.stderr


def test_the_first_steps_of_a_newcomer(node: RunningNode, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"hello world\n")
    url = node.url
    assert ais(url, "create", "ais://abc").lines == ['"ais://abc" created']
    assert ais(url, "create", "ais://abc").stderr == 'Error: bucket "ais://abc" already exists\n'
    assert "ais://abc  yes" in ais(url, "ls").lines
    run = ais(url, "put", "README.md", "ais://abc", cwd=tmp_path)
    assert run.lines == ['PUT "README.md" => ais://abc/README.md']
    assert ais(url, "ls", "ais://abc").lines == ["NAME       SIZE", "README.md  12B"]
    assert ais(url, "get", "ais://abc/README.md", "-").stdout == b"hello world\n"
    run = ais(url, "get", "ais://abc/README.md", "out.md", cwd=tmp_path)
    assert run.lines == ["GET README.md from ais://abc as out.md (12B)"]
    assert (tmp_path / "out.md").read_bytes() == b"hello world\n"
    assert ais(url, "rm", "ais://abc/README.md").lines == ['deleted "README.md" from ais://abc']
    assert ais(url, "rmb", "ais://abc").lines == ['"ais://abc" destroyed']


def test_names_are_exact_and_coexist(node: RunningNode, bucket: str) -> None:
    for name in NAMES:
        put(node, f"{bucket}/{name}", name.encode())
    listed = ais(node.url, "ls", bucket, "--json", "--props", "size,checksum").json["objects"]
    assert listed == [
        {"name": name, "size": len(name.encode()), "checksum": xxhash.xxh64_hexdigest(name.encode())}
        for name in sorted(NAMES, key=str.encode)
    ]
    for name in NAMES[:8]:
        assert ais(node.url, "get", f"{bucket}/{name}", "-").stdout == name.encode(), name
    run = ais(node.url, "rm", *[f"{bucket}/{name}" for name in NAMES[::2]])
    assert run.code == 0, run.stderr
    listed = [entry["name"] for entry in ais(node.url, "ls", bucket, "--json").json["objects"]]
    assert listed == sorted(NAMES[1::2], key=str.encode)


def test_a_name_can_be_given_exactly(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x")
    for arguments, name in [
        ([bucket], "f"),
        ([f"{bucket}/dir/"], "dir/f"),
        ([bucket, "--name", "dir/"], "dir/"),
        ([bucket, "--name", "/x"], "/x"),
    ]:
        assert ais(node.url, "put", str(file), *arguments).code == 0
        assert ais(node.url, "rm", f"{bucket}/{name}").code == 0, name


def test_a_large_object_passes_whole(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    data = os.urandom(1024 * 1024) * 40 + b"end"
    (tmp_path / "large").write_bytes(data)
    assert ais(node.url, "put", "large", bucket, cwd=tmp_path).code == 0
    assert ais(node.url, "get", f"{bucket}/large", "copy", cwd=tmp_path).code == 0
    assert (tmp_path / "copy").read_bytes() == data
    run = ais(node.url, "get", f"{bucket}/large", "part", "--offset", "10", "--length", "5", cwd=tmp_path)
    assert run.lines == ["Read range (length 5 at offset 10) as part"]
    assert (tmp_path / "part").read_bytes() == data[10:15]
    put(node, f"{bucket}/piped", data)
    assert ais(node.url, "get", f"{bucket}/piped", "-").stdout == data


def test_a_range_behind_the_end_is_told(node: RunningNode, bucket: str) -> None:
    put(node, f"{bucket}/o", b"hello")
    run = ais(node.url, "get", f"{bucket}/o", "-", "--offset", "100")
    assert (run.code, run.stdout) == (1, b"")
    assert "not satisfiable" in run.stderr


def test_a_folder_goes_there_and_back(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    tree = {"a": b"1", "b/c": b"22", "b/d e%+": b"", "b/😀": b"4444", "x.png": b"5" * 20_000}
    for name, data in tree.items():
        path = tmp_path / "there" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "there" / "loop").symlink_to(tmp_path)
    run = ais(node.url, "put", "-r", "there", f"{bucket}/set", "--json", cwd=tmp_path)
    assert run.code == 0
    assert "loop" in run.stderr
    assert {entry["name"]: entry["size"] for entry in run.json["objects"]} == {
        f"set/{name}": len(data) for name, data in tree.items()
    }
    run = ais(node.url, "get", "-r", f"{bucket}/set/", "back", cwd=tmp_path)
    assert run.lines == [f"GET 5 objects (19.54KiB) from {bucket} into back"]
    back = tmp_path / "back"
    files = [path for path in back.rglob("*") if path.is_file()]
    assert {str(path.relative_to(back)): path.read_bytes() for path in files} == tree
    (tmp_path / "ordinary").touch()
    ordinary = stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {ordinary}
    assert ais(node.url, "rm", "-r", f"{bucket}/set/", "--yes").lines == ["deleted 5 objects"]


def test_names_never_lead_out_of_the_folder(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    for name in ["../up", "/abs", "a//b", "dir/", "link/x", "x/../../up", "good", "long/" + "n" * 300]:
        put(node, f"{bucket}/{name}", b"data")
    run = ais(node.url, "get", "-r", bucket, str(folder), "--json")
    assert run.code == 1
    assert [entry["name"] for entry in run.json["files"]] == ["good"]
    assert len(run.json["failed"]) == 7
    assert list(outside.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "outside"]


def test_files_are_not_replaced_without_a_yes(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    put(node, f"{bucket}/o", b"new")
    file = tmp_path / "o"
    file.write_bytes(b"old")
    file.chmod(0o640)
    run = ais(node.url, "get", f"{bucket}/o", str(file))
    assert (run.code, file.read_bytes()) == (2, b"old")
    assert "--yes" in run.stderr
    run = ais(node.url, "get", "-r", f"{bucket}/o", str(tmp_path))
    assert (run.code, file.read_bytes()) == (1, b"old")
    assert ais(node.url, "get", f"{bucket}/o", str(file), "--yes").code == 0
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_folder_that_is_not_there_is_named(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    put(node, f"{bucket}/o", b"x")
    run = ais(node.url, "get", f"{bucket}/o", "none/file", cwd=tmp_path)
    assert (run.code, run.stderr) == (1, f"Error: {tmp_path}/none: no such file or directory\n")
    run = ais(node.url, "get", f"{bucket}/o", "none/", cwd=tmp_path)
    assert (run.code, run.stderr) == (1, "Error: none/: no such file or directory\n")
    assert list(tmp_path.iterdir()) == []


def test_links_and_devices_are_written_through(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    put(node, f"{bucket}/o", b"data")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert ais(node.url, "get", f"{bucket}/o", "link", cwd=tmp_path).code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"data"
    assert ais(node.url, "get", f"{bucket}/o", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()


def broken_server(answer: bytes, *, linger: bool) -> tuple[socket.socket, str]:
    """A server that gives one answer to one request; with `linger` it then says no more."""
    import threading

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                if linger:
                    connection.recv(1)
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"Content-Length: 100", "broke after 4 of 100 bytes"),
        (b"Content-Length: 4\r\nAis-Checksum-Type: xxhash2\r\nAis-Checksum-Value: 00", "BAD DATA CHECKSUM"),
    ],
)
def test_a_read_that_fails_leaves_no_file(tmp_path: Path, head: bytes, says: str) -> None:
    listener, url = broken_server(b"HTTP/1.1 200 OK\r\n%b\r\n\r\ndata" % head, linger=False)
    with listener:
        run = ais(url, "get", "ais://b/o", str(tmp_path / "file"))
    assert run.code in (1, 4)
    assert says in run.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_read_leaves_no_file(tmp_path: Path, number: int, code: int) -> None:
    listener, url = broken_server(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ndata", linger=True)
    with (
        listener,
        subprocess.Popen(
            [PROGRAM, "get", "ais://b/o", "file"], env=environment(url), cwd=tmp_path, stderr=subprocess.PIPE
        ) as process,
    ):
        deadline_s = time.monotonic() + 60
        while not list(tmp_path.iterdir()):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


def test_many_files_stop_at_the_first_ctrl_c(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / str(number)).write_bytes(b"x")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with subprocess.Popen(
            [PROGRAM, "put", "-r", ".", "ais://b"], env=environment(url), cwd=tmp_path, stderr=subprocess.PIPE
        ) as process:
            peers = [listener.accept()[0] for _ in range(4)]  # several are under way, and never answered
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
            for peer in peers:
                peer.close()
    assert process.returncode == 130
    assert stderr == b"\nInterrupted.\n"


def test_a_reader_that_goes_away_is_no_error(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number:04}-{'n' * 100}").write_bytes(b"")
    run = ais(node.url, "put", "-r", str(tmp_path), bucket)
    assert run.lines == [f"PUT 3,000 files (0B) => {bucket}"]
    for arguments in (["ls", bucket], ["ls", bucket, "--json"]):
        with subprocess.Popen(
            [PROGRAM, *arguments],
            env=environment(node.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(1)
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 141


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("{ais} ls {bucket} >&-", 0),
        ("{ais} ls ais://none 2>&-", 3),
        ("{ais} rmb {bucket} <&-", 2),
        ("{ais} --help >/dev/full", 1),
        ("{ais} ls >/dev/full", 1),
        ("{ais} ls <&- >&- 2>&-", 0),
    ],
)
def test_closed_and_full_streams_are_no_surprise(
    node: RunningNode, bucket: str, command: str, code: int
) -> None:
    put(node, f"{bucket}/o", b"x")
    shell = ["bash", "-c", command.format(ais=PROGRAM, bucket=bucket)]
    run = subprocess.run(shell, env=environment(node.url), capture_output=True, timeout=60)
    assert (run.returncode, b"Traceback" in run.stderr) == (code, False), run.stderr


def test_an_input_that_cannot_be_read_is_no_missing_node(node: RunningNode, bucket: str) -> None:
    command = [PROGRAM, "put", "-", f"{bucket}/x"]
    with open("/proc/self/mem", "rb") as unreadable:
        run = subprocess.run(
            command, env=environment(node.url), stdin=unreadable, capture_output=True, timeout=60
        )
    assert (run.returncode, run.stderr) == (1, b"Error: the input cannot be read: input/output error\n")


def test_names_are_the_same_in_a_locale_that_is_not_utf8(
    node: RunningNode, bucket: str, tmp_path: Path
) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    (tmp_path / "é").write_bytes(b"e")
    assert ais(node.url, "put", "é", f"{bucket}/ü/", cwd=tmp_path, **locale).code == 0
    (entry,) = ais(node.url, "ls", f"{bucket}/ü", "--json", **locale).json["objects"]
    assert entry["name"] == "ü/é"
    run = ais(node.url, "get", "-r", bucket, "back", cwd=tmp_path, **locale)
    assert (run.code, (tmp_path / "back" / "ü" / "é").read_bytes()) == (0, b"e"), run.stderr
    assert ais(node.url, "rm", "-r", f"{bucket}/ü", "--yes", "--json", **locale).json["removed"] == [
        f"{bucket}/ü/é"
    ]


def test_a_folder_is_not_a_file(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    run = ais(node.url, "put", str(tmp_path), bucket)
    assert run.code == 2
    assert "add -r" in run.stderr


def test_of_wrong_usage_nothing_is_written(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(name.encode())
    run = ais(node.url, "put", "one/f", "two", bucket, cwd=tmp_path)
    assert (run.code, "add -r" in run.stderr) == (2, True)
    run = ais(node.url, "put", "one/f", "two/f", bucket, cwd=tmp_path)
    assert (run.code, '"one/f" and "two/f" would both become "f"' in run.stderr) == (2, True)
    assert ais(node.url, "ls", bucket, "--count-only").lines == ["0"]


def test_what_cannot_be_read_here_is_told_and_the_rest_goes(
    node: RunningNode, bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"a")
    os.mkfifo(tmp_path / "pipe")
    run = ais(node.url, "put", "a", "missing", f"{bucket}/x", cwd=tmp_path)
    assert run.code == 1
    assert run.stderr == "Error: missing: no such file or directory\n"
    assert ais(node.url, "ls", bucket, "-H", "--props", "name").lines == ["x/a"]
    run = ais(node.url, "put", "-r", ".", bucket, cwd=tmp_path)
    assert run.code == 0
    assert "pipe is not a file" in run.stderr


def test_a_missing_object_is_told_with_what_to_do(node: RunningNode, bucket: str) -> None:
    for command in (["get", f"{bucket}/none", "-"], ["rm", f"{bucket}/none"]):
        run = ais(node.url, *command)
        assert (run.code, run.stdout) == (3, b"")
        assert f"{bucket}/none does not exist" in run.stderr


@pytest.mark.parametrize(
    "command", [["ls", "ais://nope"], ["put", "-", "ais://nope/o"], ["get", "nope/o", "-"]]
)
def test_a_missing_bucket_is_told_with_what_to_do(node: RunningNode, command: list[str]) -> None:
    run = ais(node.url, *command)
    assert (run.code, run.stdout) == (3, b"")
    assert run.stderr.startswith('Error: bucket "ais://nope" does not exist\n')
    assert "ais create ais://nope" in run.stderr


def test_without_a_node_the_way_to_one_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    run = ais(f"http://127.0.0.1:{port}", "ls")
    assert run.code == 4
    assert "connection refused" in run.stderr
    assert "aisnode" in run.stderr
    assert "AIS_ENDPOINT" in run.stderr


def test_a_question_is_asked_on_a_terminal(node: RunningNode, bucket: str) -> None:
    put(node, f"{bucket}/o", b"x")
    code, seen = ais_on_terminal(node.url, "rmb", bucket, typed=b"n\n")
    assert code == 1
    assert "is not empty" in seen
    assert ais(node.url, "ls", bucket, "--count-only").lines == ["1"]
    code, seen = ais_on_terminal(node.url, "rmb", bucket, typed=b"y\n")
    assert code == 0
    assert f'"{bucket}" destroyed' in seen
    ais(node.url, "create", bucket)


def test_ctrl_c_at_a_question_interrupts(node: RunningNode, bucket: str) -> None:
    put(node, f"{bucket}/o", b"x")
    master, slave = pty.openpty()
    command = [PROGRAM, "rmb", bucket]
    with subprocess.Popen(
        command, env=environment(node.url), stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(master, 4096)
        for _ in range(20):
            # One that comes just before Python waits for a line is only noticed with the next key.
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
                break
        assert process.returncode == 130
    os.close(master)
    assert ais(node.url, "ls", bucket, "--count-only").lines == ["1"]


def processor_s(url: str, *arguments: str) -> float:
    """Processor time, which is all that a command takes on an idle machine; tests may share theirs."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [PROGRAM, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment(url))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    once()
    return statistics.median(once() for _ in range(9))


def test_help_appears_at_once() -> None:
    assert processor_s("http://127.0.0.1:1", "--help") <= HELP_MAX_S


def test_a_listing_appears_at_once(node: RunningNode, bucket: str) -> None:
    put(node, f"{bucket}/o", b"x")
    assert processor_s(node.url, "ls", bucket) <= LIST_MAX_S


AWKWARD = [
    *("two words", "100%", "a//b", "dir/", "日本/é", "-x", "[x]*?{0..1}", "a,b"),
    *("quo'te\"", "tab\tline\nend\x1b[31m", "😀" * 256),
]


def test_awkward_names_pass_all_commands(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    file = tmp_path / "-f"
    file.write_bytes(b"-f")
    run = ais(node.url, "put", "--name", "dir/", "--", "-f", bucket, cwd=tmp_path)
    assert run.code == 0, run.stderr
    for name in AWKWARD:
        data = name.encode()
        put(node, f"{bucket}/{name}", data)
        run = ais(node.url, "cat", f"{bucket}/{name}")
        assert (run.code, run.stdout) == (0, data), name
    copied = ais(node.url, "cp", bucket, f"{bucket}-copy", "--wait")
    assert copied.code == 0, copied.stderr
    for name in AWKWARD[::3]:
        uri = f"{bucket}/{name}"
        assert ais(node.url, "get", uri, "out", "--yes", cwd=tmp_path).code == 0, name
        assert (tmp_path / "out").read_bytes() == name.encode()
        assert ais(node.url, "cp", uri, f"{bucket}/{('c ' + name)[:200]}").code == 0, name
        assert ais(node.url, "show", "object", uri, "--json").json["size"] == len(name.encode())
        assert ais(node.url, "rm", uri).code == 0, name
    listed = [entry["name"] for entry in ais(node.url, "ls", f"{bucket}-copy", "--json").json["objects"]]
    assert listed == sorted(AWKWARD, key=str.encode)
    assert ais(node.url, "rmb", f"{bucket}-copy", "--yes").code == 0


def test_no_name_can_make_a_terminal_do_something(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    name = "\x1b[31mred\x07\x9b2Jend"
    uri = f"{bucket}/{name}"
    (tmp_path / name).write_bytes(b"x")
    for arguments in (
        ["put", str(tmp_path / name), bucket],
        ["put", str(tmp_path / name), bucket, "--dry-run"],
        ["ls", bucket],
        ["ls", bucket, "--json"],
        ["get", uri, str(tmp_path / "copy")],
        ["get", "-r", bucket, str(tmp_path / "all"), "-n"],
        ["show", "object", uri],
        ["show", "object", uri, "--json"],
        ["cp", uri, f"{uri}2"],
        ["mv", f"{uri}2", f"{name}3"],
        ["rm", uri, "-n"],
        ["rm", uri],
        ["rm", uri],
        ["rmb", uri],
        ["ls", uri, "--props", name],
    ):
        _, seen = ais_on_terminal(node.url, *arguments)
        assert "red" in seen, arguments
        # The words `Error:` may be coloured; nothing else is.
        plain = seen.replace("\x1b[31m\x1b[1mError:\x1b[0m", "Error:")
        assert [character for character in plain if not character.isprintable()] == [
            character for character in plain if character in "\r\n"
        ], arguments


def test_colour_is_only_for_terminals(node: RunningNode) -> None:
    assert "\x1b" not in ais(node.url, "ls", "ais://none").stderr
    assert "\x1b[31m" in ais_on_terminal(node.url, "ls", "ais://none")[1]


def test_colour_can_be_turned_off(node: RunningNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in ais_on_terminal(node.url, "ls", "ais://none")[1]


def test_dry_runs_change_nothing(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    for name in ("x/1", "x/2"):
        put(node, f"{bucket}/{name}", b"data")
    before = ais(node.url, "ls", bucket, "--json").json
    for arguments, count in (
        (["put", "-r", ".", bucket], 1),
        (["rm", "-r", f"{bucket}/x/"], 2),
        (["rm", f"{bucket}/x/1", f"{bucket}/x/2"], 2),
        (["rm", bucket, "--template", "x/{1..3}"], 3),
        (["get", "-r", f"{bucket}/x/", "to"], 2),
        (["rmb", bucket], 1),
    ):
        run = ais(node.url, *arguments, "-n", "--json", cwd=tmp_path)
        assert run.code == 0, run.stderr
        [told] = [value for value in run.json.values() if isinstance(value, list) and value]
        assert len(told) == count, arguments
        lines = ais(node.url, *arguments, "-n", cwd=tmp_path).lines
        assert all(line.startswith("[dry run]") for line in lines), arguments
    assert ais(node.url, "ls", bucket, "--json").json == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_patterns_and_templates_name_many_files(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"s{number}.tar").write_bytes(bytes([number]))
    run = ais(node.url, "put", "s{0..2}.tar", f"{bucket}/to", cwd=tmp_path)
    assert run.lines == [f"PUT 3 files (3B) => {bucket}"]
    assert ais(node.url, "put", "*.tar", f"{bucket}/all/", cwd=tmp_path).code == 0
    assert ais(node.url, "ls", bucket, "--regex", "2", "--name-only", "-H").lines == [
        "all/s2.tar",
        "to/s2.tar",
    ]
    run = ais(node.url, "put", "s{0..3}.tar", bucket, cwd=tmp_path)
    assert (run.code, "s3.tar: no such file" in run.stderr) == (1, True)
    run = ais(node.url, "get", bucket, "back", "--template", "to/s{0..2}.tar", cwd=tmp_path)
    assert run.lines == [f"GET 3 objects (3B) from {bucket} into back"]
    assert (tmp_path / "back" / "s2.tar").read_bytes() == b"\x02"
    run = ais(node.url, "get", bucket, "listed", "--list", "to/s0.tar,none", "--json", cwd=tmp_path)
    assert run.code == 3
    assert [each["path"] for each in run.json["files"]] == ["listed/to/s0.tar"]
    assert [each["item"] for each in run.json["failed"]] == ["none"]


def test_pages_and_limits_are_kept(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}").write_bytes(b"")
    ais(node.url, "put", "-r", ".", bucket, cwd=tmp_path)
    for arguments, names in (
        (["--page-size", "3", "--max-pages", "2"], "012345"),
        (["--page-size", "2", "--limit", "5"], "01234"),
        (["--regex", "[246]", "--limit", "2", "--page-size", "1"], "24"),
        (["--regex", "[89]"], ""),
    ):
        run = ais(node.url, "ls", bucket, "--name-only", "-H", *arguments)
        assert "".join(run.lines) == names, arguments


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from aisle.cli.main import cli; cli(['--help'], standalone_mode=False);"
        "heavy = {'http.client', 'msgspec', 'rich', 'xxhash', 'json', 'lmdb', 'asyncio'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
