"""The log as clients read it."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aisle.api.native.logs import LogVerbs
from aisle.gateway.logs import LogFiles
from service.calling import IDENTITY, Native

INFO = "2026-11-21T10:00:00.000Z INFO worker-0 all is well\n"
WARNING = "2026-11-21T10:00:01.000Z WARNING jobs-0 slow\n"
ERROR = "2026-11-21T10:00:02.000Z ERROR worker-0 failed\nTraceback (most recent call last):\n  it says why\n"
OLD = "2026-11-20T10:00:02.000Z ERROR worker-0 old\n"
RELAYED = "/v1/reverse/daemon?what=log"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Native]:
    (tmp_path / "log").write_text(INFO + WARNING + ERROR + INFO)
    (tmp_path / "log.1").write_text(INFO + OLD)
    made = Native(parts=(LogVerbs(LogFiles(tmp_path), IDENTITY),))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("severity", "text"),
    [
        ("", INFO + WARNING + ERROR + INFO),
        ("info", INFO + WARNING + ERROR + INFO),
        ("warning", WARNING + ERROR),
        ("error", ERROR),
        ("E", ERROR),
    ],
)
def test_lines_are_selected_by_severity(node: Native, severity: str, text: str) -> None:
    for who in ("bRaSsqgO", "bRaSsqgO-g"):
        answer = node("GET", f"{RELAYED}&severity={severity}", ais_node_id=who)
        assert (answer.status, answer.body.decode()) == (200, text)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert node("GET", f"/v1/daemon?what=log&severity={severity}").body.decode() == text


def test_reading_goes_on_at_an_offset(node: Native) -> None:
    answer = node("GET", f"/v1/daemon?what=log&offset={len(INFO)}")
    assert answer.body.decode() == WARNING + ERROR + INFO
    beyond = node("GET", "/v1/daemon?what=log&offset=100000")
    assert (beyond.status, "log likely rotated" in beyond.json()["message"]) == (400, True)


def test_all_files_come_in_one_archive(node: Native) -> None:
    answer = node("GET", f"{RELAYED}&all=true&severity=error", ais_node_id="bRaSsqgO")
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        members = {name: archive.extractfile(name) for name in archive.getnames()}
        assert {name: file.read().decode() for name, file in members.items() if file} == {
            "log": ERROR,
            "log.1": OLD,
        }


@pytest.mark.parametrize(
    ("query", "fields", "status"),
    [
        ("&severity=loud", {"ais_node_id": "bRaSsqgO"}, 400),
        ("&severity=loud&all=true", {"ais_node_id": "bRaSsqgO"}, 400),
        ("&offset=-1", {"ais_node_id": "bRaSsqgO"}, 400),
        ("&offset=x", {"ais_node_id": "bRaSsqgO"}, 400),
        ("", {}, 400),
        ("", {"ais_node_id": "other"}, 404),
    ],
)
def test_wrong_questions_are_refused(node: Native, query: str, fields: dict[str, str], status: int) -> None:
    assert node("GET", RELAYED + query, **fields).status == status


def test_a_node_without_a_log_file_shows_an_empty_one(tmp_path: Path) -> None:
    node = Native(parts=(LogVerbs(LogFiles(tmp_path / "none"), IDENTITY),))
    assert node("GET", "/v1/daemon?what=log").body == b""
    node.close()
