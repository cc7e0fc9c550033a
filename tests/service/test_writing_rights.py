"""Who may append, promote, upload in parts and sum up, where credentials exist."""

from collections.abc import Iterator

import pytest

from service.credentials import ALICE, BOB, ROOT, Asking, Keys


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Alice has a private bucket and one that all may read; Bob has one of his own."""
    node = Asking()
    node.bucket(ALICE, "secret")
    node.bucket(ALICE, "shared", "public-read")
    node.bucket(BOB, "mine")
    yield node
    node.close()


@pytest.mark.parametrize(("bucket", "status"), [("secret", 403), ("shared", 403), ("mine", 200)])
def test_only_who_may_write_writes_in_any_way(asking: Asking, bucket: str, status: int) -> None:
    path = f"/v1/objects/{bucket}/o?provider=ais"
    append = f"{path}&append_type=append&append_handle="
    assert asking(BOB, "PUT", append, b"x").status == status
    assert asking(BOB, "POST", path, {"action": "mpt-upload"}).status == status
    assert asking(BOB, "PUT", f"/ais/{bucket}/o", b"x").status == status


def test_a_part_goes_only_into_an_upload_that_its_sender_may_write(asking: Asking) -> None:
    path = "/v1/objects/shared/o?provider=ais"
    upload = asking(ALICE, "POST", path, {"action": "mpt-upload"}).body.decode()
    assert asking(BOB, "PUT", f"{path}&uploadId={upload}&partNumber=1", b"x").status == 403
    complete = {"action": "mpt-complete", "value": [{"part-number": 1}]}
    assert asking(BOB, "POST", f"{path}&uploadId={upload}", complete).status == 403
    assert asking(BOB, "DELETE", f"{path}&uploadId={upload}", {"action": "mpt-abort"}).status == 403
    # Nor by the name of one's own bucket.
    mine = f"/v1/objects/mine/o?provider=ais&uploadId={upload}"
    assert asking(BOB, "PUT", f"{mine}&partNumber=1", b"x").status == 404


@pytest.mark.parametrize(("who", "status"), [(BOB, 403), (ROOT, 400)])
def test_files_of_the_machine_are_for_administrators(asking: Asking, who: Keys, status: int) -> None:
    message = {"action": "promote", "name": "/etc/passwd", "value": {"src": "/etc/passwd"}}
    assert asking(who, "POST", "/v1/objects/mine?provider=ais", message).status == status


def test_summaries_tell_nobody_of_buckets_that_are_not_theirs(asking: Asking) -> None:
    ask = {"action": "summary-bck", "value": {"uuid": "", "prefix": ""}}
    assert asking(BOB, "GET", "/v1/buckets/secret?provider=ais", ask).status == 403
    job = asking(BOB, "GET", "/v1/buckets?provider=ais", ask).body.decode()
    ask["value"] = {"uuid": job, "prefix": ""}
    told = asking(BOB, "GET", "/v1/buckets?provider=ais", ask).json()
    assert "secret" not in [each["name"] for each in told]
    assert "mine" in [each["name"] for each in told]


def test_appending_can_be_closed_by_the_bucket_alone(asking: Asking) -> None:
    # All rights but that to append.
    closed = {"action": "set-bprops", "value": {"access": str(2**64 - 1 - 8)}}
    assert asking(BOB, "PATCH", "/v1/buckets/mine?provider=ais", closed).status == 200
    path = "/v1/objects/mine/o?provider=ais"
    assert asking(BOB, "PUT", path, b"x").status == 200
    assert asking(BOB, "PUT", f"{path}&append_type=append&append_handle=", b"x").status == 403
