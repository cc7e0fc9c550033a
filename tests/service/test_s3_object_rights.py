"""Whose objects are whose, through S3, once credentials exist."""

from collections.abc import Iterator

import pytest

from service.test_s3_buckets import code
from service.test_s3_rights import Guarded


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    """A node with the object `hers/k` of Alice's and the bucket `his` of Bob's."""
    made = Guarded()
    for who, bucket in (("alice", "hers"), ("bob", "his")):
        assert made(who, "PUT", f"/s3/{bucket}").status == 200
    assert made("alice", "PUT", "/s3/hers/k", b"secret", x_amz_tagging="a=1").status == 200
    yield made
    made.node.close()


DELETION = b"<Delete><Object><Key>k</Key></Object></Delete>"


@pytest.mark.parametrize("who", ["bob", ""])
@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/s3/hers/k", b""),
        ("HEAD", "/s3/hers/k", b""),
        ("PUT", "/s3/hers/k", b"changed"),
        ("PUT", "/s3/hers/new", b"changed"),
        ("DELETE", "/s3/hers/k", b""),
        ("POST", "/s3/hers?delete", DELETION),
        ("GET", "/s3/hers/k?attributes", b""),
        ("GET", "/s3/hers/k?tagging", b""),
        ("DELETE", "/s3/hers/k?tagging", b""),
        ("GET", "/s3/hers/k?acl", b""),
        ("PUT", "/s3/hers/k?acl", b""),
        ("GET", "/s3/hers/missing", b""),
    ],
)
def test_others_are_refused_and_change_nothing(
    guarded: Guarded, who: str, method: str, target: str, body: bytes
) -> None:
    answer = guarded(who, method, target, body, x_amz_acl="private", x_amz_object_attributes="ETag")
    assert answer.status == 403
    assert method == "HEAD" or code(answer) == "AccessDenied"
    got = guarded("alice", "GET", "/s3/hers/k")
    assert (got.status, got.body, got.headers["x-amz-tagging-count"]) == (200, b"secret", "1")
    assert guarded("alice", "GET", "/s3/hers/new").status == 404


def test_nobody_copies_what_they_may_not_read(guarded: Guarded) -> None:
    refused = guarded("bob", "PUT", "/s3/his/copy", x_amz_copy_source="/hers/k")
    assert (refused.status, code(refused)) == (403, "AccessDenied")
    assert guarded("bob", "GET", "/s3/his/copy").status == 404
    into = guarded("bob", "PUT", "/s3/hers/copy", x_amz_copy_source="/his/k")
    assert (into.status, code(into)) == (403, "AccessDenied")
    guarded("alice", "PUT", "/s3/hers?acl", x_amz_acl="authenticated-read")
    assert guarded("bob", "PUT", "/s3/his/copy", x_amz_copy_source="/hers/k").status == 200
    assert guarded("bob", "GET", "/s3/his/copy").body == b"secret"


def test_a_public_bucket_shows_its_objects_but_not_as_something_else(guarded: Guarded) -> None:
    guarded("alice", "PUT", "/s3/hers?acl", x_amz_acl="public-read")
    assert guarded("", "GET", "/s3/hers/k?x-id=GetObject").body == b"secret"
    refused = guarded("", "GET", "/s3/hers/k?response-content-type=text/html")
    assert (refused.status, code(refused)) == (400, "InvalidRequest")
    assert guarded("bob", "GET", "/s3/hers/k?response-content-type=text/html").status == 200
    assert guarded("", "PUT", "/s3/hers/k", b"changed").status == 403
    guarded("alice", "PUT", "/s3/hers?acl", x_amz_acl="public-read-write")
    assert guarded("", "PUT", "/s3/hers/theirs", b"theirs").status == 200
    assert guarded("", "POST", "/s3/hers?delete", DELETION).status == 200
    assert guarded("alice", "GET", "/s3/hers/k").status == 404
