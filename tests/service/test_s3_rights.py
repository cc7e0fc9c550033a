"""Whose buckets are whose, through S3, once credentials exist."""

from collections.abc import Iterator

import pytest

from aisle.errors import Unauthenticated
from aisle.gateway.users import Key
from aisle.model.names import Bucket
from aisle.model.principal import ALL, USER, Principal
from service.calling import Answer, Native
from service.test_s3_buckets import code, tree

USERS = {
    "root": Principal("root", ALL),
    "alice": Principal("alice", USER, id="alice-id"),
    "bob": Principal("bob", USER, id="bob-id"),
}


class Tokens:
    """Credentials that are the users' names, as bearer tokens."""

    accepts_version_2 = False

    def find(self, access_key: str) -> Key | None:
        return None

    def bearer(self, token: str, *, now_s: float) -> Principal:
        if token not in USERS:
            raise Unauthenticated("no such token")
        return USERS[token]


class Guarded:
    """A node that asks for credentials, called by one user after the other."""

    def __init__(self) -> None:
        self.node = Native(keys=Tokens())

    def __call__(self, who: str, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        shown = {"authorization": f"Bearer {who}"} if who else {}
        return self.node(method, target, body, **shown, **headers)


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    """A node with a bucket of Alice's, `hers`."""
    made = Guarded()
    assert made("alice", "PUT", "/s3/hers").status == 200
    yield made
    made.node.close()


def names(answer: Answer) -> list[str | None]:
    return [each.findtext("Name") for each in tree(answer).iter("Bucket")]


def test_who_creates_a_bucket_owns_it(guarded: Guarded) -> None:
    assert guarded.node.buckets.find(Bucket("hers")).owner == "alice-id"
    assert tree(guarded("alice", "GET", "/s3/hers?acl")).findtext("Owner/ID") == "alice-id"
    assert code(guarded("alice", "PUT", "/s3/hers")) == "BucketAlreadyOwnedByYou"
    assert code(guarded("bob", "PUT", "/s3/hers")) == "BucketAlreadyExists"
    assert guarded.node.buckets.find(Bucket("hers")).owner == "alice-id"


def test_each_sees_their_own_buckets_and_root_all(guarded: Guarded) -> None:
    guarded("bob", "PUT", "/s3/his")
    assert names(guarded("alice", "GET", "/s3")) == ["hers"]
    assert names(guarded("bob", "GET", "/s3")) == ["his"]
    assert names(guarded("root", "GET", "/s3")) == ["hers", "his"]
    guarded("bob", "PUT", "/s3/his?acl", x_amz_acl="public-read")
    assert names(guarded("alice", "GET", "/s3")) == ["hers"]
    assert tree(guarded("bob", "GET", "/s3")).findtext("Owner/ID") == "bob-id"
    assert guarded("", "GET", "/s3").status == 403


@pytest.mark.parametrize("who", ["bob", ""])
@pytest.mark.parametrize(
    ("method", "query"),
    [
        *(("GET", ""), ("HEAD", ""), ("DELETE", ""), ("GET", "?acl"), ("PUT", "?acl")),
        *(("GET", "?policy"), ("GET", "?versioning"), ("PUT", "?versioning"), ("GET", "?location")),
    ],
)
def test_others_are_refused_and_change_nothing(guarded: Guarded, who: str, method: str, query: str) -> None:
    before = guarded.node.buckets.find(Bucket("hers"))
    answer = guarded(who, method, f"/s3/hers{query}", x_amz_acl="public-read")
    assert answer.status == 403
    if method != "HEAD":
        assert code(answer) == "AccessDenied"
    assert guarded.node.buckets.find(Bucket("hers")) == before


def test_strangers_do_not_learn_which_buckets_there_are(guarded: Guarded) -> None:
    assert guarded("", "GET", "/s3/hers").status == guarded("", "GET", "/s3/nobodys").status == 403
    assert code(guarded("bob", "GET", "/s3/nobodys")) == "NoSuchBucket"
    assert guarded("", "PUT", "/s3/new").status == 403
    assert guarded("root", "HEAD", "/s3/new").status == 404


def test_strangers_do_not_learn_which_buckets_share_a_name(guarded: Guarded) -> None:
    for space in ("#one", "#two"):
        guarded.node.runner.run(guarded.node.buckets.create(Bucket("many", "ais", space)))
    guarded("alice", "PUT", "/s3/hers?acl", x_amz_acl="public-read-write")
    assert code(guarded("root", "GET", "/s3/many")) == "AmbiguousBucketName"
    for method in ("GET", "PUT"):
        told, absent = guarded("", method, "/s3/many"), guarded("", method, "/s3/nobodys")
        assert (told.status, code(told)) == (absent.status, code(absent)) == (403, "AccessDenied")
    copied = guarded("", "PUT", "/s3/hers/copy", x_amz_copy_source="many/a")
    assert (copied.status, code(copied)) == (403, "AccessDenied")


def test_wrong_credentials_are_refused_even_where_none_are_needed(guarded: Guarded) -> None:
    guarded("alice", "PUT", "/s3/hers?acl", x_amz_acl="public-read")
    assert guarded("", "GET", "/s3/hers").status == 200
    assert code(guarded("mallory", "GET", "/s3/hers")) == "AccessDenied"


def test_a_canned_acl_opens_a_bucket_to_those_it_names(guarded: Guarded) -> None:
    for acl, stranger, known in (
        ("public-read", 200, 200),
        ("authenticated-read", 403, 200),
        ("private", 403, 403),
    ):
        assert guarded("alice", "PUT", "/s3/hers?acl", x_amz_acl=acl).status == 200
        assert guarded("", "GET", "/s3/hers").status == stranger
        assert guarded("bob", "GET", "/s3/hers").status == known
        assert guarded("bob", "DELETE", "/s3/hers").status == 403
        assert guarded("bob", "PUT", "/s3/hers?acl", x_amz_acl="public-read-write").status == 403
    assert guarded("root", "DELETE", "/s3/hers").status == 204
