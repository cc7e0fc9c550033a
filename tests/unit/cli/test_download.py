import json

import click
import pytest

from aisle.cli.download import object_name, web_address
from aisle.cli.watch import Watch
from aisle.client import Client
from support.cli import run_ais
from support.fake_node import FakeNode, error, job


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
        ("gs://b/o", "https://storage.googleapis.com/b/o"),
        ("s3://b/o", "https://s3.amazonaws.com/b/o"),
    ],
)
def test_sources_become_web_addresses(source: str, address: str) -> None:
    assert web_address(source) == address


def test_other_schemes_are_refused(node: FakeNode) -> None:
    result = run_ais(node, "download", "ftp://127.0.0.1/x", "ais://nnn")
    assert result.exit_code == 2
    assert "ftp://" in result.stderr
    assert not node.calls


@pytest.mark.parametrize(
    ("link", "path", "name"),
    [
        ("http://h/dir/file%20a.tar?v=1", "", "file a.tar"),
        ("http://h/file", "other", "other"),
        ("http://h/file", "dir/", "dir/file"),
        ("http://h/", "x", "x"),
        ("http://h/", "", ""),
        ("http://h/o{1..3}", "", ""),
        ("http://h/o{1..3}", "sub/", "sub"),
        ("http://h/o{1..3}", "sub", "sub"),
    ],
)
def test_objects_are_named_as_the_destination_says(link: str, path: str, name: str) -> None:
    assert object_name(link, path) == name


def test_a_folder_needs_a_link_that_ends_with_a_name() -> None:
    with pytest.raises(click.BadParameter):
        object_name("http://h/", "dir/")


def test_one_file_is_asked_for_as_aistore_asks(node: FakeNode) -> None:
    run_ais(node, "start", "download", "http://h/b/o1", "ais://nnn/one", "--desc", "my job")
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


def test_a_small_download_is_told_as_done(node: FakeNode) -> None:
    result = run_ais(node, "download", "http://h/o", "ais://nnn")
    assert result.stdout.splitlines() == ["Started download job dnl-new", "Done: 1 file downloaded"]


def test_a_missing_bucket_is_told(node: FakeNode) -> None:
    result = run_ais(node, "download", "http://h/o", "ais://other")
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: ais://other does not exist")


def test_with_json_and_no_wait_only_the_id_is_told(node: FakeNode) -> None:
    assert json.loads(run_ais(node, "download", "http://h/o", "nnn", "--json").stdout) == {"id": "dnl-new"}


def test_failed_files_are_told_and_make_the_command_fail(node: FakeNode) -> None:
    failed = job(
        "dnl-new", done=1, total=2, error_cnt=1, download_errors=[{"name": "o2", "error": "not there"}]
    )
    node.jobs["dnl-new"] = [failed]
    result = run_ais(node, "download", "http://h/o{1..2}", "nnn", "--wait")
    assert result.exit_code == 1
    assert "Done: 1 file downloaded, 1 error" in result.stdout
    assert "o2: not there" in result.stderr


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
    watch = Watch(Client(connections=node), "dnl-x", now_s=clock.now_s, sleep=clock.sleep)
    assert watch.until_finished(timeout_s=None, progress=False).done == 3
    assert clock.now == 0.75


def test_waiting_ends_at_its_limit_and_the_job_goes_on(node: FakeNode) -> None:
    node.jobs["dnl-x"] = [job("dnl-x", done=0, total=3, running=True)]
    clock = Clock()
    watch = Watch(Client(connections=node), "dnl-x", now_s=clock.now_s, sleep=clock.sleep)
    with pytest.raises(click.exceptions.Exit) as ended:
        watch.until_finished(timeout_s=5, progress=False)
    assert ended.value.exit_code == 1
    assert clock.now == 5


def test_without_waiting_a_long_job_is_left_alone(node: FakeNode) -> None:
    node.jobs["dnl-x"] = [job("dnl-x", done=0, total=3, running=True)]
    clock = Clock()
    watch = Watch(Client(connections=node), "dnl-x", now_s=clock.now_s, sleep=clock.sleep)
    assert watch.for_a_moment(2.0).is_running
    assert clock.now == 2


def test_progress_without_a_terminal_is_a_line(node: FakeNode) -> None:
    result = run_ais(node, "download", "http://h/o", "nnn", "--progress")
    assert result.exit_code == 0
    assert "dnl-new: 1/1 files" in result.stderr


def test_a_refused_request_is_told_in_the_nodes_words(node: FakeNode) -> None:
    from support.fake_node import FakeAnswer

    node.answers = [
        FakeAnswer(headers={"Ais-Bucket-Props": "{}"}),
        error(400, "Error starting download: invalid template"),
    ]
    result = run_ais(node, "download", "http://h/o{3..1}", "nnn")
    assert result.exit_code == 1
    assert "invalid template" in result.stderr
