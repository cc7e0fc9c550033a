"""Copies, renames and deletions of many objects need rights on both ends."""

from collections.abc import Callable, Iterator

import pytest

from service.credentials import ALICE, BOB, ROOT, Asking, Keys

Ask = Callable[[Asking, Keys, str, str], int]


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Alice has a private bucket and one that all may read; Bob has one of his own."""
    node = Asking()
    node.bucket(ALICE, "secret")
    node.bucket(ALICE, "shared", "public-read")
    node.bucket(BOB, "mine")
    for bucket in ("secret", "shared"):
        assert node(ALICE, "PUT", f"/v1/objects/{bucket}/a?provider=ais", b"x").status == 200
    yield node
    node.close()


def copy(asking: Asking, who: Keys, source: str, to: str) -> int:
    target = f"/v1/buckets/{source}?provider=ais&bck_to=ais%2F%40%23%2F{to}%2F"
    return asking(who, "POST", target, {"action": "copy-bck", "value": {}}).status


def select(asking: Asking, who: Keys, source: str, to: str) -> int:
    value = {"objnames": ["a"], "tobck": {"name": to, "provider": "ais"}, "prepend": "p"}
    return asking(who, "POST", f"/v1/buckets/{source}", {"action": "copy-listrange", "value": value}).status


def names(asking: Asking, bucket: str) -> list[str]:
    listed = asking(ROOT, "GET", f"/v1/buckets/{bucket}", {"action": "list", "value": {}}).json()
    return [entry["name"] for entry in listed["entries"] or ()]


@pytest.mark.parametrize("ask", [copy, select])
def test_copying_reads_one_end_and_writes_the_other(asking: Asking, ask: Ask) -> None:
    assert ask(asking, BOB, "secret", "mine") == 403
    assert ask(asking, BOB, "shared", "secret") == 403
    assert ask(asking, BOB, "mine", "shared") == 403
    assert ask(asking, BOB, "shared", "mine") == 200
    assert ask(asking, ROOT, "secret", "mine") == 200
    asking.node.work()
    assert len(names(asking, "mine")) == 1
    assert names(asking, "secret") == names(asking, "shared") == ["a"]


def test_a_bucket_made_for_copies_belongs_to_who_asked(asking: Asking) -> None:
    assert copy(asking, BOB, "shared", "new") == 200
    asking.node.work()
    assert asking(BOB, "GET", "/v1/objects/new/a").body == b"x"
    assert asking(ALICE, "GET", "/v1/objects/new/a").status == 403


def test_an_object_is_copied_only_into_what_its_caller_may_write(asking: Asking) -> None:
    target = "/v1/objects/shared/a?object_to=ais%2F%40%23%2F{}%2Fb"
    assert asking(ALICE, "PUT", target.format("secret")).status == 200
    assert asking(ALICE, "PUT", target.format("mine")).status == 403
    assert asking(BOB, "PUT", target.format("secret")).status == 403
    assert (names(asking, "secret"), names(asking, "mine")) == (["a", "b"], [])


def test_others_rename_and_delete_nothing(asking: Asking) -> None:
    move = {"action": "move-bck"}
    assert asking(BOB, "POST", "/v1/buckets/shared?bck_to=ais%2F%40%23%2Fx%2F", move).status == 403
    delete = {"action": "delete-listrange", "value": {"template": ""}}
    assert asking(BOB, "DELETE", "/v1/buckets/shared", delete).status == 403
    rename = {"action": "rename-obj", "name": "b"}
    assert asking(BOB, "POST", "/v1/objects/shared/a", rename).status == 403
    for action in ("start", "stop"):
        message = {"action": action, "value": {"Kind": "lru"}}
        assert asking(BOB, "PUT", "/v1/cluster", message).status == 403
    asking.node.work()
    assert names(asking, "shared") == ["a"]
    assert asking(ALICE, "POST", "/v1/buckets/shared?bck_to=ais%2F%40%23%2Fx%2F", move).status == 200
    asking.node.work()
    assert asking(BOB, "GET", "/v1/objects/x/a").body == b"x"
    assert asking(BOB, "DELETE", "/v1/buckets/x", {"action": "destroy-bck"}).status == 403


@pytest.mark.parametrize("what", ["status_all", "qryxstats", "running_all"])
def test_jobs_of_buckets_that_are_gone_are_shown_to_who_asked_for_them(asking: Asking, what: str) -> None:
    asking.bucket(ALICE, "shown", "public-read")
    message = {"action": "delete-listrange", "value": {"template": "a{0..3}"}}
    job = asking(ALICE, "DELETE", "/v1/buckets/shown?provider=ais", message).body.decode()

    def sees(who: Keys) -> bool:
        return job in asking(who, "GET", f"/v1/cluster?what={what}", b"{}").body.decode()

    assert sees(BOB)
    destroyed = asking(ALICE, "DELETE", "/v1/buckets/shown?provider=ais", {"action": "destroy-bck"})
    assert destroyed.status == 200
    assert (sees(BOB), sees(ALICE), sees(ROOT)) == (False, True, True)
    # Nor are they shown to whoever makes a bucket of that name.
    asking.bucket(BOB, "shown")
    assert (sees(BOB), sees(ALICE), sees(ROOT)) == (False, True, True)
