import asyncio
import json
from pathlib import Path

import pytest

from aisle.api.native.download_lists import REQUEST_LINE_BYTES_MAX, is_list, take_list
from aisle.errors import BadRequest, Denied
from aisle.httpd.request import Request
from aisle.jobs.list_files import ListStore
from aisle.model.job import DownloadSpec
from aisle.rules.download_request import Submission

REQUEST = {"type": "list", "bucket": {"name": "b"}, "subdir": "in"}


class Pieces:
    """A body that comes in pieces; `read` is what was taken of it."""

    length: int | None = None

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.read_bytes = 0

    async def read(self) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        self.read_bytes += len(piece)
        return piece

    async def read_all(self, limit: int) -> bytes:
        raise AssertionError(f"a list is never read whole, nor {limit} bytes of it")

    def buffered(self) -> bytes | None:
        return None


def request(*pieces: bytes, kind: str = "application/x-ndjson") -> Request:
    return Request("POST", b"/v1/download", headers={"content-type": kind}, body=Pieces(*pieces))


def taken(folder: Path, asked: Request, *, refused: bool = False) -> Submission:
    def check(spec: DownloadSpec) -> None:
        assert spec.bucket.name == "b"
        if refused:
            raise Denied("not yours")

    return asyncio.run(take_list(asked, ListStore([folder]), check=check))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/x-ndjson", True),
        ("Application/X-NDJSON; charset=utf-8", True),
        ("application/jsonl", True),
        ("application/json", False),
        ("", False),
    ],
)
def test_a_list_is_told_by_its_type(kind: str, expected: bool) -> None:
    assert is_list(request(kind=kind)) is expected


def test_a_list_comes_behind_its_request(tmp_path: Path) -> None:
    body = json.dumps(REQUEST).encode() + b'\n{"link": "http://h/a"}\n{"link": "http://h/b"}'
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    spec = taken(tmp_path, request(*pieces)).spec
    assert (spec.kind, spec.list_items) == ("list", 2)
    assert ListStore([tmp_path]).open(spec.list_file).item(1).key == b"in/b"


def test_who_may_not_is_told_before_the_list_is_read(tmp_path: Path) -> None:
    asked = request(json.dumps(REQUEST).encode() + b"\n", b'{"link": "http://h/a"}\n')
    with pytest.raises(Denied):
        taken(tmp_path, asked, refused=True)
    assert asked.body.read_bytes == len(json.dumps(REQUEST)) + 1  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_a_request_has_an_end(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="line 1: longer"):
        taken(tmp_path, request(*(b" " * 100_000 for _ in range(REQUEST_LINE_BYTES_MAX // 100_000 + 2))))


@pytest.mark.parametrize("body", [b"", b"\n", b"[]\n", b'{"type": "list"}\n'])
def test_a_list_without_a_request_is_none(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(BadRequest):
        taken(tmp_path, request(body))
    assert list(tmp_path.iterdir()) == []
