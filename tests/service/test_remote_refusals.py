"""What is not built for buckets whose bytes are elsewhere says so, and what to do instead."""

from collections.abc import Iterator
from typing import Any

import pytest

from aisle.backends.memory import MemoryProvider
from service.calling import Native

OF_REMOTE = "provider=aws"
PACK = {"archname": "x.tar", "objnames": ["a"], "tobck": {"name": "data", "provider": "aws"}}


@pytest.fixture
def native() -> Iterator[Native]:
    calling = Native(providers={"aws": lambda _: MemoryProvider(["data"])})
    assert calling("POST", "/v1/buckets/own?provider=ais", {"action": "create-bck"}).status == 200
    assert calling("HEAD", f"/v1/buckets/data?{OF_REMOTE}").status == 200
    yield calling
    calling.close()


@pytest.mark.parametrize(
    ("method", "path", "action", "says"),
    [
        ("PUT", f"/v1/buckets/data?{OF_REMOTE}", {"action": "archive", "value": PACK}, "own bucket first"),
        (
            "PUT",
            "/v1/buckets/own?provider=ais",
            {"action": "archive", "value": PACK},
            "s3://data: packing objects into remote buckets is not built: pack into an own bucket",
        ),
        ("POST", f"/v1/objects/data/a?{OF_REMOTE}", {"action": "rename-obj", "name": "b"}, "ais cp, ais rm"),
        (
            "POST",
            f"/v1/buckets/data?{OF_REMOTE}&bck_to=ais%2F%40%23%2Fx%2F",
            {"action": "move-bck"},
            "copy its objects (ais cp)",
        ),
        (
            "POST",
            "/v1/buckets/own?provider=ais&bck_to=aws%2F%40%23%2Fx%2F",
            {"action": "move-bck"},
            "create it there first",
        ),
        ("POST", f"/v1/objects/data?{OF_REMOTE}", {"action": "promote", "name": "/x"}, "ais put"),
    ],
)
def test_a_refusal_says_what_to_do_instead(
    native: Native, method: str, path: str, action: dict[str, Any], says: str
) -> None:
    answer = native(method, path, action)
    assert answer.status == 501, answer.body
    assert says in answer.error()["message"]


def test_links_are_not_downloaded_into_remote_buckets(native: Native) -> None:
    to = {"name": "data", "provider": "aws"}
    asked = {"type": "single", "bucket": to, "link": "http://127.0.0.1/x", "object_name": "x"}
    answer = native("POST", "/v1/download", asked)
    assert answer.status == 501, answer.body
    assert "download into an own bucket, and copy (ais cp)" in answer.error()["message"]
