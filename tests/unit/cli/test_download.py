import json
from pathlib import Path

import click
import pytest
from click.testing import Result

from aisle.cli.download_links import object_name, web_address
from aisle.cli.download_states import UNREACHABLE_S
from aisle.cli.download_status import tell_outcome
from aisle.cli.watch import DETACH_S, Watch
from aisle.client import Client
from aisle.errors import NodeUnreachable
from support.cli import run_ais
from support.fake_node import FakeAnswer, FakeNode, error, job


@pytest.fixture
def node() -> FakeNode:
    return FakeNode({"nnn": {}})


def requested(node: FakeNode) -> dict[str, object]:
    return next(message for message in node.messages if message and "type" in message)


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("http://h/x?a=b%20c", "http://h/x?a=b%20c"),
        ("h/x", "https://h/x"),
        ("gs://b/o", "gs://b/o"),
        ("aws://b/dir/o {1..3}%", "s3://b/dir/o%20{1..3}%25"),
        ("ais://@other/b/o?x", "ais://@other/b/o%3Fx"),
        ("ais://10.1.1.1:8080/b/dir/o{1..3}", "http://10.1.1.1:8080/v1/objects/b/dir/o{1..3}"),
    ],
)
def test_sources_become_web_addresses(source: str, address: str) -> None:
    assert web_address(source) == address


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("ftp://127.0.0.1/x", "ftp://"),
        ("s3://bucket", "a whole bucket"),
        ("gs://bucket/", "ais cp gs://bucket ais://nnn"),
        ("ais://bucket/object", "ais cp"),
        ("zzz://h/x", "use http, https"),
    ],
)
def test_what_cannot_be_a_source_is_refused(node: FakeNode, source: str, said: str) -> None:
    result = run_ais(node, "download", source, "ais://nnn")
    assert result.exit_code == 2
    assert said in result.stderr
    assert not any(call.method == "POST" for call in node.calls)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say where from"),
        (["ais://nnn"], "say where from"),
        (["http://h/a", "http://h/b", "ais://nnn"], "quote a template"),
    ],
)
def test_a_download_has_a_source_and_a_destination(node: FakeNode, words: list[str], said: str) -> None:
    result = run_ais(node, "download", *words)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("link", "path", "name"),
    [
        ("http://h/dir/file%20a.tar?v=1", "", "file a.tar"),
        ("http://h/dir/a%2Fb%23c", "in/", "in/a/b#c"),
        ("s3://#space/b/dir/a%23b.tar", "", "a#b.tar"),
        ("http://h/file", "other", "other"),
        ("http://h/file", "dir/", "dir/file"),
        ("http://h/", "x", "x"),
        ("http://h/o{1..3}", "", ""),
        ("http://h/o{1..3}", "sub/", "sub"),
        ("http://h/o{1..3}", "sub", "sub"),
    ],
)
def test_objects_are_named_as_the_destination_says(link: str, path: str, name: str) -> None:
    assert object_name(link, path) == name


def test_a_folder_needs_a_link_that_ends_with_a_name() -> None:
    for path in ("dir/", ""):
        for link in ("http://h/", "http://h", "http://h/%ff", "http://h/.."):
            with pytest.raises(click.BadParameter, match="-r"):
                object_name(link, path)


def test_a_link_that_cannot_be_read_is_left_to_the_node(node: FakeNode) -> None:
    assert run_ais(node, "download", "http://[h/file", "ais://nnn").exit_code == 0
    assert requested(node)["link"] == "http://[h/file"


@pytest.mark.parametrize("form", [["download"], ["start", "download"], ["job", "start", "download"]])
def test_one_file_is_asked_for_as_aistore_asks(node: FakeNode, form: list[str]) -> None:
    run_ais(node, *form, "http://h/b/o1", "ais://nnn/one", "--desc", "my job")
    assert requested(node) == {
        "type": "single",
        "bucket": {"name": "nnn", "provider": "ais", "namespace": {"uuid": "", "name": ""}},
        "description": "my job",
        "timeout": "0s",
        "limits": {"connections": 0, "bytes_per_hour": 0},
        "link": "http://h/b/o1",
        "object_name": "one",
    }


def test_a_template_is_asked_for_with_its_limits(node: FakeNode) -> None:
    run_ais(
        node,
        *("download", "http://h/o{0000..0009}", "nnn/sub/", "--download-timeout", "1m"),
        *("--limit-connections", "4", "--limit-bytes-per-hour", "1GiB"),
    )
    told = requested(node)
    assert (told["type"], told["template"], told["subdir"]) == ("range", "http://h/o{0000..0009}", "sub")
    assert (told["timeout"], told["limits"]) == ("60s", {"connections": 4, "bytes_per_hour": 1024**3})


@pytest.mark.parametrize(("given", "told"), [("12d", "1036800s"), ("1500ms", "1.5s"), ("1ms", "0.001s")])
def test_a_time_limit_is_written_without_an_exponent(node: FakeNode, given: str, told: str) -> None:
    run_ais(node, "download", "http://h/o", "nnn", "--download-timeout", given)
    assert requested(node)["timeout"] == told


def test_a_map_has_each_name_once(node: FakeNode, tmp_path: Path) -> None:
    listed = tmp_path / "links.json"
    listed.write_text('{"a": "http://h/1", "b": "http://h/2", "a": "http://h/3"}')
    result = run_ais(node, "download", "nnn", "--from", str(listed))
    assert result.exit_code == 1
    assert '"a" stands in the map twice' in result.stderr
    listed.write_text('{"a": "http://h/1", "a": "http://h/1"}')
    run_ais(node, "download", "nnn", "--from", str(listed))
    assert requested(node)["objects"] == {"a": "http://h/1"}


def test_a_small_download_is_told_as_done(node: FakeNode) -> None:
    result = run_ais(node, "download", "http://h/o", "ais://nnn")
    assert result.stdout.splitlines() == ["Started download job dnl-new", "File successfully downloaded"]


def test_a_bucket_of_a_cloud_is_not_made(node: FakeNode) -> None:
    result = run_ais(node, "download", "http://h/o", "s3://other")
    assert (result.exit_code, "will be created" in result.stderr) == (3, False)


@pytest.mark.parametrize(
    ("destination", "named"), [("ais://other", "ais://other"), ("ais://other/squad/", "ais://other/squad")]
)
def test_a_missing_bucket_is_told(node: FakeNode, destination: str, named: str) -> None:
    result = run_ais(node, "download", "http://h/o", destination)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == (
        f"Warning: destination bucket {named} doesn't exist. Bucket with default properties will be created."
    )


def test_with_json_and_no_wait_only_the_id_is_told(node: FakeNode) -> None:
    assert json.loads(run_ais(node, "download", "http://h/o", "nnn", "--json").stdout) == {"id": "dnl-new"}


def test_failed_files_are_told_and_make_the_command_fail(node: FakeNode) -> None:
    failed = job(
        "dnl-new", done=1, total=2, error_cnt=1, download_errors=[{"name": "o2", "error": "not there"}]
    )
    node.jobs["dnl-new"] = [failed]
    result = run_ais(node, "download", "http://h/o{1..2}", "nnn", "--wait")
    assert result.exit_code == 1
    assert result.stdout == "Started download job dnl-new\n"
    assert "failed o2: not there" in result.stderr
    assert "1 of 2 files could not be downloaded" in result.stderr


def test_waiting_gives_the_whole_job_as_json(node: FakeNode) -> None:
    node.jobs["dnl-new"] = [
        job(
            "dnl-new",
            done=1,
            total=1,
            finished_tasks=[{"name": "o", "downloaded": "10240", "total": "10240"}],
        )
    ]
    told = json.loads(run_ais(node, "download", "http://h/o", "nnn", "--wait", "--json").stdout)
    assert told["state"] == "finished"
    assert (told["done"], told["total"]) == (1, 1)
    assert told["tasks"] == [{"name": "o", "downloaded": 10240, "total": 10240}]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--timeout", "1m"], ["--download-timeout", "1m"]),
        (["--conns", "3"], ["--max-conns", "3"]),
        (["--limit-connections", "3"], ["--max-conns", "3"]),
        (["--limit-bytes-per-hour", "1GiB"], ["--limit-bph", "1GiB"]),
        (["--desc", "x"], ["--description", "x"]),
        (["--headers", "A: b"], ["-H", "A:b"]),
    ],
)
def test_old_and_new_names_of_options_ask_for_the_same(old: list[str], new: list[str]) -> None:
    asked = []
    for options in (old, new):
        node = FakeNode({"nnn": {}})
        assert run_ais(node, "download", "http://h/o", "nnn", *options).exit_code == 0
        asked.append(requested(node))
    assert asked[0] == asked[1]
    plain = FakeNode({"nnn": {}})
    run_ais(plain, "download", "http://h/o", "nnn")
    assert asked[0] != requested(plain)


def test_with_waiting_a_time_limit_is_that_of_the_waiting(node: FakeNode) -> None:
    run_ais(node, "download", "http://h/o", "nnn", "--wait", "--timeout", "1m")
    assert requested(node)["timeout"] == "0s"


def test_headers_and_priority_are_asked_for(node: FakeNode, tmp_path: Path) -> None:
    (tmp_path / "fields").write_text("X-One: 1\n\nX-Two: a: b\n")
    run_ais(
        node,
        *("download", "http://h/o", "nnn", "-H", "Authorization: Bearer t", "-H", f"@{tmp_path}/fields"),
        *("-H", "X-One: 2", "--priority", "-3"),
    )
    told = requested(node)
    assert told["headers"] == {"Authorization": ["Bearer t"], "X-One": ["1", "2"], "X-Two": ["a: b"]}
    assert told["priority"] == -3


def test_a_header_without_a_name_is_refused_and_not_shown(node: FakeNode) -> None:
    result = run_ais(node, "download", "http://h/o", "nnn", "-H", "very-secret")
    assert result.exit_code == 2
    assert "very-secret" not in result.output


def with_list(node: FakeNode, listed: object, *words: str) -> Result:
    return run_ais(node, "download", *words, "--from", "-", stdin=json.dumps(listed))


def test_a_list_behind_a_link_has_names(node: FakeNode) -> None:
    assert with_list(node, ["a/x 1", "b/x%1"], "http://h/dir/", "nnn/in").exit_code == 0
    told = requested(node)
    assert told["type"] == "multi"
    assert told["objects"] == {
        "in/a/x 1": "http://h/dir/a/x%201",
        "in/b/x%251": "http://h/dir/b/x%251",  # names are read like ends of links: an escape stays one
    }


def test_a_list_alone_has_links(node: FakeNode) -> None:
    assert with_list(node, ["http://h/a%20b", "h2/c?v=1"], "nnn").exit_code == 0
    assert requested(node)["objects"] == {"a%20b": "http://h/a%20b", "c": "https://h2/c?v=1"}


def test_a_map_has_names_and_links(node: FakeNode, tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text(json.dumps({"one": "http://h/1", "two": "http://h/2"}))
    run_ais(node, "download", "ais://nnn/dir/", "--object-list", str(tmp_path / "map.json"))
    assert requested(node)["objects"] == {"dir/one": "http://h/1", "dir/two": "http://h/2"}


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ([], "something in it"),
        ([1], "something in it"),
        ("text", "something in it"),
        ({"a": 1}, "something in it"),
        (["http://h/x", "http://h2/x"], 'would both become object "x"'),
        (["http://h/"], "cannot derive a valid object name"),
    ],
)
def test_a_wrong_list_is_refused(node: FakeNode, listed: object, said: str) -> None:
    result = with_list(node, listed, "nnn")
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert not node.calls


def test_a_list_that_cannot_be_read_is_told(node: FakeNode, tmp_path: Path) -> None:
    result = run_ais(node, "download", "nnn", "--from", str(tmp_path / "none"))
    assert (result.exit_code, "no such file" in result.stderr) == (2, True)
    assert "not JSON" in run_ais(node, "download", "nnn", "--from", "-", stdin="a\nb").stderr


def test_a_name_is_what_was_written(node: FakeNode) -> None:
    run_ais(node, "download", "http://h/o", "nnn/100%?#")
    assert requested(node)["object_name"] == "100%25%3F%23"


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def now_s(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_waiting_polls_until_the_job_ends(node: FakeNode) -> None:
    running = [job("dnl-x", done=done, total=3, running=True) for done in range(3)]
    node.jobs["dnl-x"] = [*running, job("dnl-x", done=3, total=3)]
    clock = Clock()
    watch = Watch(Client(connections=node), "dnl-x", listens=False, now_s=clock.now_s, sleep=clock.sleep)
    assert watch.until_finished(timeout_s=None, progress=False).done == 3
    assert clock.now == 0.75


def test_waiting_ends_at_its_limit_and_the_job_goes_on(node: FakeNode) -> None:
    node.jobs["dnl-x"] = [job("dnl-x", done=0, total=3, running=True)]
    clock = Clock()
    watch = Watch(Client(connections=node), "dnl-x", listens=False, now_s=clock.now_s, sleep=clock.sleep)
    with pytest.raises(click.exceptions.Exit) as ended:
        watch.until_finished(timeout_s=5, progress=False)
    assert ended.value.exit_code == 1
    assert clock.now == 5


def test_without_waiting_a_long_job_is_left_alone(node: FakeNode) -> None:
    node.jobs["dnl-x"] = [job("dnl-x", done=0, total=3, running=True)]
    clock = Clock()
    watch = Watch(Client(connections=node), "dnl-x", listens=False, now_s=clock.now_s, sleep=clock.sleep)
    assert watch.for_a_moment(2.0).is_running
    assert 2 <= clock.now < 2.25


class Interrupted(Clock):
    """Time in which Ctrl-C is pressed, now and then again while the watch waits for that."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self._left = 2 if twice else 1

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self._left:
            self._left -= 1
            raise KeyboardInterrupt


def test_ctrl_c_leaves_the_job_alone_and_says_how_to_look_again(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.jobs["dnl-x"] = [job("dnl-x", done=0, total=3, running=True)]
    clock = Interrupted(twice=False)
    watch = Watch(Client(connections=node), "dnl-x", listens=False, now_s=clock.now_s, sleep=clock.sleep)
    with pytest.raises(click.exceptions.Exit) as ended:
        watch.until_finished(timeout_s=None, progress=False)
    assert ended.value.exit_code == 130
    assert "ais show job download dnl-x --progress" in capsys.readouterr().err
    assert clock.now == 0.25 + DETACH_S
    assert all(call.method == "GET" for call in node.calls)


def test_ctrl_c_at_once_leaves_the_job_alone_too(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.jobs["dnl-x"] = [job("dnl-x", done=0, total=3, running=True)]
    clock = Interrupted(twice=False)
    watch = Watch(Client(connections=node), "dnl-x", listens=False, now_s=clock.now_s, sleep=clock.sleep)
    with pytest.raises(click.exceptions.Exit) as ended:
        watch.for_a_moment(2.0)
    assert ended.value.exit_code == 130
    assert "goes on in the node" in capsys.readouterr().err


def test_ctrl_c_twice_stops_the_job(node: FakeNode) -> None:
    node.jobs["dnl-x"] = [job("dnl-x", done=0, total=3, running=True)]
    clock = Interrupted(twice=True)
    watch = Watch(Client(connections=node), "dnl-x", listens=False, now_s=clock.now_s, sleep=clock.sleep)
    with pytest.raises(click.exceptions.Exit) as ended:
        watch.until_finished(timeout_s=None, progress=False)
    assert ended.value.exit_code == 130
    assert (node.calls[-1].method, node.calls[-1].target) == ("DELETE", "/v1/download/abort")


def running_answer() -> FakeAnswer:
    return FakeAnswer(200, json.dumps(job("dnl-x", done=0, total=3, running=True)).encode())


def test_a_node_that_restarts_is_waited_for(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    gone = NodeUnreachable("http://fake", "connection refused")
    node.jobs["dnl-x"] = [job("dnl-x", done=3, total=3)]
    node.answers = [running_answer(), gone, gone, gone]
    clock = Clock()
    watch = Watch(Client(connections=node), "dnl-x", listens=False, now_s=clock.now_s, sleep=clock.sleep)
    assert watch.until_finished(timeout_s=None, progress=False).done == 3
    assert capsys.readouterr().err.count("waiting") == 1


def test_a_node_that_stays_away_is_told(node: FakeNode) -> None:
    gone = NodeUnreachable("http://fake", "connection refused")
    node.answers = [running_answer(), *[gone] * 1000]
    clock = Clock()
    watch = Watch(Client(connections=node), "dnl-x", listens=False, now_s=clock.now_s, sleep=clock.sleep)
    with pytest.raises(NodeUnreachable):
        watch.until_finished(timeout_s=None, progress=False)
    assert UNREACHABLE_S <= clock.now <= UNREACHABLE_S + 1


def test_a_node_that_is_not_there_is_not_waited_for(node: FakeNode) -> None:
    node.answers = [NodeUnreachable("http://fake", "connection refused")]
    clock = Clock()
    watch = Watch(Client(connections=node), "dnl-x", listens=False, now_s=clock.now_s, sleep=clock.sleep)
    with pytest.raises(NodeUnreachable):
        watch.until_finished(timeout_s=None, progress=False)
    assert clock.now == 0


def test_events_are_taken_where_the_node_sends_them(node: FakeNode) -> None:
    one = {"name": "o1", "error": "status 404"}
    states = [
        ("status", job("dnl-x", done=0, total=3, running=True)),
        ("status", job("dnl-x", done=1, total=3, running=True, error_cnt=1, download_errors=[one])),
        ("end", job("dnl-x", done=2, total=3, error_cnt=1, download_errors=[one])),
    ]
    text = "".join(f":\n\nevent: {event}\ndata: {json.dumps(state)}\n\n" for event, state in states)
    node.answers = [FakeAnswer(200, text.encode(), {"Content-Type": "text/event-stream"})]
    watch = Watch(Client(connections=node), "dnl-x")
    job_ = watch.until_finished(timeout_s=None, progress=True)
    assert (job_.done, [failure.name for failure in job_.failures]) == (2, ["o1"])
    assert [failure.name for failure in watch.told] == ["o1"]
    assert [call.target for call in node.calls] == ["/v1/download?id=dnl-x&follow=1"]


def test_a_stream_that_breaks_is_no_end(node: FakeNode) -> None:
    event = f"event: status\ndata: {json.dumps(job('dnl-x', done=0, total=3, running=True))}\n\n"
    node.answers = [FakeAnswer(200, event.encode())]
    node.jobs["dnl-x"] = [job("dnl-x", done=3, total=3)]
    watch = Watch(Client(connections=node), "dnl-x")
    assert watch.until_finished(timeout_s=None, progress=False).done == 3


def test_failures_are_told_when_they_happen_and_once(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {"name": "o1", "error": "status 404"}
    states = [
        job("dnl-new", done=0, total=3, running=True),
        job("dnl-new", done=0, total=3, running=True, error_cnt=1),
        job("dnl-new", done=0, total=3, running=True, error_cnt=1, download_errors=[one]),
        job("dnl-new", done=2, total=3, error_cnt=1, download_errors=[one]),
    ]
    node.jobs["dnl-new"] = states
    clock = Clock()
    watch = Watch(Client(connections=node), "dnl-new", listens=False, now_s=clock.now_s, sleep=clock.sleep)
    tell_outcome(watch.until_finished(timeout_s=None, progress=True), told=watch.told)
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("failed o1: status 404") == 1
    assert lines.index("failed o1: status 404") < lines.index("dnl-new: 3/3 files (100%), 1 failed")
    assert any("check the link" in line for line in lines)


def test_progress_without_a_terminal_is_a_line(node: FakeNode) -> None:
    result = run_ais(node, "download", "http://h/o", "nnn", "--progress")
    assert result.exit_code == 0
    assert "dnl-new: 1/1 files (100%)" in result.stderr


def test_a_refused_request_is_told_in_the_nodes_words(node: FakeNode) -> None:
    node.answers = [
        FakeAnswer(headers={"Ais-Bucket-Props": "{}"}),
        error(400, "Error starting download: invalid template"),
    ]
    result = run_ais(node, "download", "http://h/o{3..1}", "nnn")
    assert result.exit_code == 1
    assert "invalid template" in result.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--hf-dataset", "a/b", "--hf-model", "c/d", "ais://nnn"], "exclude each other"),
        (["--hf-dataset", "a/b", "http://h/x", "ais://nnn"], "only the destination is given"),
        (["--hf-revision", "main", "ais://nnn"], "say of which repository"),
        (["--hf-auth", "secret", "ais://nnn"], "say of which repository"),
        (["--hf-auth", "secret", "http://h/x", "ais://nnn"], "other servers: --header"),
        (["--hf-model", "a/b", "--hf-files", "parquet", "ais://nnn"], "for whole datasets"),
        (["--hf-dataset", "a/b", "--hf-files", "parquet", "--hf-revision", "v1", "ais://nnn"], "COMMIT"),
        (["--hf-model", "a/b", "--hf-file", "x", "--hf-include", "*", "ais://nnn"], "no globs"),
        (["--hf-model", "a/b", "--include", "*", "ais://nnn"], "--hf-include"),
        (["--hf-model", "a/b", "--from", "x.json", "ais://nnn"], "--hf-include"),
        (["hf://a/b@v1/x", "--hf-revision", "v2", "ais://nnn"], "two revisions"),
        (["hf://a/b/*.x", "--hf-include", "*.y", "ais://nnn"], "a glob in an address"),
    ],
)
def test_what_cannot_be_said_of_a_repository_is_refused(node: FakeNode, words: list[str], told: str) -> None:
    result = run_ais(node, "download", *words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "secret" not in result.stderr
    assert not node.calls


@pytest.mark.parametrize(
    "source", ["https://huggingface.co/gpt2/resolve/main/x", "huggingface.co/a", "hf.co/a"]
)
def test_a_token_goes_along_with_a_link_to_the_hub(
    node: FakeNode, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    run_ais(node, "download", source, "nnn")
    assert requested(node)["headers"] == {"Authorization": ["Bearer secret"]}


@pytest.mark.parametrize("source", ["https://nothuggingface.co/x", "https://huggingface.co.example/x"])
def test_a_token_goes_along_with_no_other_link(
    node: FakeNode, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    run_ais(node, "download", source, "nnn")
    assert "headers" not in requested(node)


def test_sync_without_a_bucket_to_fill_names_the_form_that_works(node: FakeNode) -> None:
    told = run_ais(node, "download", "http://h/x", "ais://nnn", "--sync").stderr
    assert "ais download s3://b s3://b --sync" in told


def test_what_only_the_node_finds_out_is_not_guessed_in_a_dry_run(node: FakeNode) -> None:
    result = run_ais(node, "download", "http://h/folder/", "ais://nnn", "-r", "--dry-run")
    assert result.exit_code == 2
    assert "ais ls ht://NAME" in result.stderr
