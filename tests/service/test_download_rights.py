"""Whose download jobs are whose, where credentials exist."""

from collections.abc import Iterator
from typing import Any

import pytest

from service.credentials import ALICE, BOB, ROOT, Asking, Keys

LINK = "http://127.0.0.1:9/hidden-name"
ACTING = [
    ("GET", "", {}),
    ("GET", "/manifest", {}),
    ("GET", "/verify", {}),
    ("DELETE", "/abort", {}),
    ("DELETE", "/remove", {}),
    ("PUT", "/pause", {}),
    ("PUT", "/resume", {}),
    ("PUT", "/priority", {"priority": 7}),
    ("POST", "/repair", {"items": [0]}),
]


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Alice has a private bucket and one that all may read; Bob has one of his own."""
    node = Asking()
    node.bucket(ALICE, "secret")
    node.bucket(ALICE, "shared", "public-read")
    node.bucket(BOB, "mine")
    yield node
    node.close()


def start(asking: Asking, who: Keys | None, bucket: str) -> tuple[int, str]:
    """Status, and the job's id if one was started."""
    asked = {
        "type": "single",
        "link": LINK,
        "object_name": "o",
        "bucket": {"name": bucket, "provider": "ais"},
    }
    answer = asking(who, "POST", "/v1/download", asked)
    return answer.status, answer.json()["id"] if answer.status == 200 else ""


def recreate(asking: Asking, name: str) -> None:
    """Alice's bucket goes, and Bob makes one of the same name."""
    assert (
        asking(ALICE, "DELETE", f"/v1/buckets/{name}?provider=ais", {"action": "destroy-bck"}).status == 200
    )
    asking.bucket(BOB, name)


@pytest.mark.parametrize(("bucket", "status"), [("secret", 403), ("shared", 403), ("mine", 200)])
def test_downloads_go_only_into_what_their_caller_may_write(asking: Asking, bucket: str, status: int) -> None:
    before = asking.node.state()
    assert start(asking, BOB, bucket)[0] == status
    assert (asking.node.state() == before) == (status == 403)
    assert start(asking, None, bucket)[0] == 401


@pytest.mark.parametrize(("method", "path", "more"), ACTING)
def test_jobs_on_a_private_bucket_are_nobody_elses(
    asking: Asking, method: str, path: str, more: dict[str, Any]
) -> None:
    _, job = start(asking, ALICE, "secret")
    before = asking.node.state()
    for who, status in ((BOB, 403), (None, 401)):
        answer = asking(who, method, f"/v1/download{path}", {"id": job, **more})
        assert (answer.status, b"hidden-name" in answer.body) == (status, False)
    assert asking.node.state() == before


@pytest.mark.parametrize(("method", "path", "more"), ACTING)
def test_a_job_does_not_go_over_to_a_new_bucket_of_the_old_ones_name(
    asking: Asking, method: str, path: str, more: dict[str, Any]
) -> None:
    _, job = start(asking, ALICE, "secret")
    recreate(asking, "secret")
    before = asking.node.state()
    answer = asking(BOB, method, f"/v1/download{path}", {"id": job, **more})
    assert (answer.status, b"hidden-name" in answer.body) == (403, False)
    assert asking.node.state() == before


def test_a_job_whose_bucket_is_gone_is_shown_to_who_asked_for_it(asking: Asking) -> None:
    _, job = start(asking, ALICE, "shared")
    assert job in asking(BOB, "GET", "/v1/download", b"{}").body.decode()
    gone = asking(ALICE, "DELETE", "/v1/buckets/shared?provider=ais", {"action": "destroy-bck"})
    assert gone.status == 200
    for who, is_shown in ((BOB, False), (ALICE, True), (ROOT, True)):
        assert (job in asking(who, "GET", "/v1/download", b"{}").body.decode()) == is_shown
        assert asking(who, "GET", "/v1/download", {"id": job}).status == (200 if is_shown else 403)
    assert asking(BOB, "DELETE", "/v1/download/abort", {"id": job}).status == 403
    assert asking(ALICE, "DELETE", "/v1/download/abort", {"id": job}).status == 200


NAMELESS: list[bytes | dict[str, Any]] = [b"{", b"[]", b"5", b"\xff", {"id": 5}, {"id": ["x"]}]
WRONG: list[tuple[str, str, dict[str, Any], int]] = [
    ("GET", "", {"id": "none"}, 404),
    ("GET", "", {"id": "none", "follow": True}, 404),
    ("GET", "", {"regex": "("}, 400),
    ("GET", "", {"id": "none", "regex": "x"}, 400),
    ("GET", "", {"follow": True}, 400),
    *((method, path, {"id": "none", **more}, 404) for method, path, more in ACTING if path),
    *((method, path, more, 400) for method, path, more in ACTING if path),
    ("PUT", "/priority", {"priority": "high"}, 400),
    ("PUT", "/priority", {"priority": 10**30}, 400),
    ("POST", "/repair", {"items": "all"}, 400),
    ("POST", "/repair", {"items": [-1]}, 400),
    ("POST", "/repair", {"items": [7]}, 400),
    ("POST", "/repair", {"items": []}, 400),
    ("PUT", "/priority", {}, 400),
]
"""What is asked wrongly about jobs; where no id is given, and more is, that of one that there is."""


@pytest.mark.parametrize(("method", "path", "more", "status"), WRONG)
def test_what_is_asked_wrongly_about_jobs_changes_nothing(
    asking: Asking, method: str, path: str, more: dict[str, Any], status: int
) -> None:
    _, job = start(asking, ALICE, "secret")
    before = asking.node.state()
    answer = asking(ROOT, method, f"/v1/download{path}", more)
    assert (answer.status, answer.error()["status"]) == (status, status), answer.body
    if path and "id" not in more and status == 400 and (method, path, more) not in ACTING:
        answer = asking(ROOT, method, f"/v1/download{path}", {"id": job, **more})
        assert answer.status == status, answer.body
    assert asking.node.state() == before


@pytest.mark.parametrize(("method", "path"), [("POST", ""), *((method, path) for method, path, _ in ACTING)])
@pytest.mark.parametrize("body", NAMELESS)
def test_what_is_no_question_about_jobs_is_refused(
    asking: Asking, method: str, path: str, body: bytes | dict[str, Any]
) -> None:
    before = asking.node.state()
    assert asking(ROOT, method, f"/v1/download{path}", body).status == 400
    assert asking.node.state() == before
