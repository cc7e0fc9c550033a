"""The gate of a node that has credentials: who is let in, and what they may do to which bucket."""

import itertools
from collections.abc import Iterator
from hashlib import sha256

import pytest

from aisle.api.gate import ALL, Action, Principal, authorize, permits
from aisle.errors import BucketAccessDenied, Denied, Unauthenticated
from aisle.gateway.users import MasterKey
from aisle.model.bucket import BucketInfo, BucketProperties
from aisle.model.names import Bucket
from aisle.model.principal import ANONYMOUS, CANNED_ACLS, STRANGER, USER
from aisle.rules.signatures import Seal
from aisle.rules.signatures_v4 import signing_key
from aisle.rules.tokens import Claims, mint_token
from service.calling import Answer
from service.credentials import ALICE, BOB, MASTER, NOW_S, ROOT, STAMP, Asking, Keys, sign, users
from service.test_routes import target
from support.chunks import signed

OWNER = Principal("alice", USER, "alice-id")
OTHER = Principal("bob", USER, "bob-id")
EVERYTHING = Principal("root", ALL)


@pytest.fixture
def asking() -> Iterator[Asking]:
    node = Asking()
    yield node
    node.close()


def bucket(acl: str = "private", owner: str = "alice-id", access: int = 2**64 - 1) -> BucketInfo:
    return BucketInfo(Bucket("data", "ais"), 1, BucketProperties(access=str(access)), owner, acl)


# One function decides -----------------------------------------------------------------------------------

READING = (Action.GET, Action.HEAD_OBJECT, Action.HEAD_BUCKET, Action.LIST_OBJECTS)
WRITING = (Action.PUT, Action.APPEND, Action.DELETE_OBJECT)
OWNING = (Action.PATCH, Action.SET_BUCKET_ACL, Action.DESTROY_BUCKET, Action.MOVE_BUCKET)


@pytest.mark.parametrize("acl", CANNED_ACLS)
def test_a_canned_acl_grants_what_it_says_and_nothing_else(acl: str) -> None:
    reads = {"private": [], "public-read": [OTHER, STRANGER], "authenticated-read": [OTHER]}
    reads["public-read-write"] = [OTHER, STRANGER]
    writes = [OTHER, STRANGER] if acl == "public-read-write" else []
    for who, action in itertools.product((OTHER, STRANGER), (*READING, *WRITING, *OWNING)):
        allowed = (action in READING and who in reads[acl]) or (action in WRITING and who in writes)
        assert permits(who, action, bucket(acl)) == allowed, (who.name, action)
    for who, action in itertools.product((OWNER, EVERYTHING, ANONYMOUS), (*READING, *WRITING, *OWNING)):
        assert permits(who, action, bucket(acl)), (who.name, action)


def test_owners_do_not_bring_the_machines_own_files_into_their_buckets() -> None:
    for who in (OWNER, OTHER, STRANGER):
        assert not permits(who, Action.PROMOTE, bucket("public-read-write"))
    assert permits(EVERYTHING, Action.PROMOTE, bucket())


def test_an_acl_that_nobody_knows_is_private() -> None:
    assert not permits(OTHER, Action.GET, bucket("everybody-come-in"))


def test_what_concerns_no_bucket_is_never_granted_by_one() -> None:
    for who in (OWNER, OTHER, STRANGER):
        assert not permits(who, Action.ADMIN, bucket("public-read-write"))
    assert not permits(STRANGER, Action.CREATE_BUCKET, bucket("public-read-write"))
    for action in READING:
        assert not permits(OWNER, action, None)


def test_a_bucket_of_nobody_is_not_that_of_whoever_has_no_id() -> None:
    nobody = Principal("nameless", USER, "")
    assert not permits(nobody, Action.GET, bucket(owner=""))
    assert not permits(STRANGER, Action.GET, bucket(owner=""))


def test_strangers_are_told_that_credentials_may_help() -> None:
    with pytest.raises(Unauthenticated, match=r"^token required: GET needs credentials$"):
        authorize(STRANGER, Action.GET, bucket())
    with pytest.raises(Denied) as caught:
        authorize(OTHER, Action.GET, bucket())
    assert not isinstance(caught.value, Unauthenticated)


def test_the_access_property_closes_actions_to_everybody() -> None:
    read_only = 771
    for who in (OWNER, EVERYTHING, ANONYMOUS):
        authorize(who, Action.GET, bucket(access=read_only))
        with pytest.raises(BucketAccessDenied) as caught:
            authorize(who, Action.PUT, bucket(access=read_only))
    told = "bucket ais://data: PUT access denied (allowed: [GET,HEAD-OBJECT,HEAD-BUCKET,LIST-OBJECTS])"
    assert str(caught.value) == told


def test_whoever_may_do_everything_can_open_a_closed_bucket_again() -> None:
    closed = bucket(access=0)
    for action in (Action.PATCH, Action.SET_BUCKET_ACL):
        authorize(ANONYMOUS, action, closed)
        authorize(EVERYTHING, action, closed)
        assert not permits(OWNER, action, closed)
    # Without credentials reads are never blocked, as at AIStore.
    for action in READING:
        assert permits(ANONYMOUS, action, closed)
        assert not permits(EVERYTHING, action, closed)
        assert not permits(OWNER, action, closed)


# The whole table ----------------------------------------------------------------------------------------


def test_no_row_but_health_is_reached_without_credentials(asking: Asking) -> None:
    asking.bucket(ALICE, "thing")
    for route in asking.node.routes:
        method, path, body = target(route)
        answer = asking(None, method, path, body)
        if route.path == "/v1/health":
            assert answer.status == 200
        else:
            assert answer.status in (401, 403), (route, answer.status, answer.body)
    for path in ("/v1/nothing", "/x", "/v1", "/hf/x"):
        answer = asking(None, "GET", path)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_every_row_is_reached_by_root(asking: Asking) -> None:
    for route in asking.node.routes:
        method, path, body = target(route)
        answer = asking(ROOT, method, path, body)
        assert answer.status not in (401, 403), (route, answer.body)
        assert answer.status < 500 or answer.status == 501, (route, answer.body)


def test_no_row_does_anything_to_a_private_bucket_of_somebody_else(asking: Asking) -> None:
    asking.bucket(ALICE, "thing")
    assert asking(ALICE, "PUT", "/v1/objects/thing/thing", b"x").status == 200
    for route in asking.node.routes:
        if "{bucket}" not in route.path:
            continue
        method, path, body = target(route)
        answer = asking(BOB, method, path, body)
        if route.action == Action.CREATE_BUCKET:
            assert answer.status == 409
        elif route.path.startswith(("/gs/", "/az/", "/oc/")):
            assert answer.status == 404  # those are buckets of other providers
        else:
            assert answer.status in (403, 405, 501), (route, answer.status, answer.body)
    assert asking(ALICE, "GET", "/v1/objects/thing/thing").body == b"x"


@pytest.mark.parametrize("path", ["/v1/objects/thing/name", "/s3/thing/name", "/thing/name"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"authorization": "AWS4-HMAC-SHA256 nonsense"},
        {"authorization": "AWS nonsense"},
        {"authorization": "Basic cm9vdDpyb290"},
        {"authorization": "Bearer nonsense"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Bearer " + "x" * 10_000},
        {"x-amz-security-token": "nonsense"},
    ],
)
def test_wrong_credentials_are_worse_than_none(asking: Asking, path: str, wrong: dict[str, str]) -> None:
    asking.bucket(ALICE, "thing", "public-read-write")
    assert asking(None, "PUT", path, b"x").status == 200
    assert asking(None, "GET", path, **wrong).status in (400, 401, 403)


# Signatures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "now", "code", "status"),
    [
        (("nobody-key", "x"), "", "InvalidAccessKeyId", 403),
        ((ALICE[0], "wrong"), "", "SignatureDoesNotMatch", 403),
    ],
)
def test_s3_tells_what_is_wrong_in_its_own_words(
    asking: Asking, who: Keys, now: str, code: str, status: int
) -> None:
    for path in ("/s3", "/", "/s3/thing", "/thing/name"):
        answer = asking(who, "GET", path)
        assert (answer.status, f"<Code>{code}</Code>" in answer.body.decode()) == (status, True), answer.body
    assert asking(who, "GET", "/v1/buckets").status == 401


def test_a_key_that_nobody_has_is_named(asking: Asking) -> None:
    told = asking(("nobody-key", "x"), "GET", "/v1/buckets").error()["message"]
    assert 'the access key "nobody-key" does not exist here' in told


def test_signed_requests_of_every_dialect_are_let_in(asking: Asking) -> None:
    asking.bucket(ALICE, "thing")
    for path in ("/v1/objects/thing/a%20b//%C3%BC", "/s3/thing/a%20b//%C3%BC", "/thing/a%20b//%C3%BC"):
        assert asking(ALICE, "PUT", path, path.encode()).status == 200
        assert asking(ALICE, "GET", path).body == path.encode()
        assert asking(BOB, "GET", path).status == 403
        assert asking(None, "GET", path).status in (401, 403)
    assert b"thing" in asking(ALICE, "GET", "/").body
    assert b"thing" not in asking(BOB, "GET", "/").body


def test_version_2_can_be_switched_off() -> None:
    node = Asking(accepts_version_2=False)
    answer = node(None, "GET", "/s3", authorization="AWS root-key:x", date="Fri, 20 Nov 2026 16:12:38 GMT")
    assert b"please use AWS4-HMAC-SHA256" in answer.body
    node.close()


def test_two_ways_to_authenticate_are_one_too_many(asking: Asking) -> None:
    answer = asking(ROOT, "GET", "/s3?X-Amz-Signature=x")
    assert (answer.status, b"only one way" in answer.body) == (400, True)


# Bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/objects/thing/name", "/s3/thing/name"])
@pytest.mark.parametrize("size", [0, 10, 40_000])
def test_a_body_is_what_was_signed_or_nothing_stays(asking: Asking, path: str, size: int) -> None:
    asking.bucket(ALICE, "thing")
    body = b"x" * size
    fields = sign(ALICE, "PUT", path, sha256(body).hexdigest())
    assert asking(None, "PUT", path, body, **fields).status == 200
    assert asking(ALICE, "GET", path).body == body if size < 16_384 else True
    for forged in (body + b"y", body[:-1] + b"y"):
        answer = asking(
            None, "PUT", path + "2", forged, **sign(ALICE, "PUT", path + "2", sha256(body).hexdigest())
        )
        assert answer.status == 400, answer.body
        if path.startswith("/s3"):
            assert b"<Code>XAmzContentSHA256Mismatch</Code>" in answer.body
        assert asking(ALICE, "HEAD", path + "2").status == 404


def test_a_body_is_verified_without_credentials_too() -> None:
    from service.calling import Native

    node = Native()
    node.bucket("thing")
    answer = node("PUT", "/s3/thing/name", b"x", **{"x-amz-content-sha256": sha256(b"y").hexdigest()})
    assert (answer.status, b"XAmzContentSHA256Mismatch" in answer.body) == (400, True)
    assert node("HEAD", "/s3/thing/name").status == 404
    chunked = {
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-decoded-content-length": "3",
    }
    frame = b"3;chunk-signature=%b\r\nabc\r\n0;chunk-signature=%b\r\n\r\n" % (b"0" * 64, b"0" * 64)
    assert node("PUT", "/s3/thing/name", frame, **chunked).status == 200
    assert node("GET", "/s3/thing/name").body == b"abc"
    assert node("PUT", "/s3/thing/other", b"x", **{"x-amz-content-sha256": "nonsense"}).status == 400
    node.close()


# Tokens and users ---------------------------------------------------------------------------------------


def test_users_are_added_get_keys_and_tokens_and_lose_them(asking: Asking) -> None:
    added = asking(ROOT, "POST", "/v1/auth/users", {"name": "carol", "email": "c@example.org"}).json()
    assert (added["name"], added["admin"], added["access_keys"]) == ("carol", False, [])
    made = asking(ROOT, "POST", "/v1/auth/keys/carol").json()
    carol = (made["access_key"], made["secret_key"])
    assert (len(carol[0]), len(carol[1])) == (20, 40)
    asking.bucket(carol, "carols")
    assert asking(carol, "PUT", "/s3/carols/name", b"x").status == 200
    assert asking(ALICE, "GET", "/s3/carols/name").status == 403

    minted = asking(ROOT, "POST", "/v1/auth/tokens/carol", {"expires_s": 60}).json()
    assert asking(minted["token"], "GET", "/v1/objects/carols/name").body == b"x"
    assert (
        asking(None, "GET", "/v1/objects/carols/name", **{"x-amz-security-token": minted["token"]}).status
        == 200
    )
    (shown,) = asking(ROOT, "GET", "/v1/auth/tokens").json()
    assert (shown["id"], shown["user"], shown["expires"]) == (minted["id"], "carol", minted["expires"])

    assert asking(ROOT, "DELETE", f"/v1/auth/tokens/{minted['id']}").status == 200
    answer = asking(minted["token"], "GET", "/v1/objects/carols/name")
    assert (answer.status, "token revoked" in answer.error()["message"]) == (401, True)

    again = asking(ROOT, "POST", "/v1/auth/tokens/carol", {"expires_s": 60}).json()["token"]
    assert asking(ROOT, "DELETE", "/v1/tokens", {"token": again}).status == 200
    assert asking(again, "GET", "/v1/buckets").status == 401

    assert asking(ROOT, "DELETE", f"/v1/auth/keys/{carol[0]}").status == 200
    assert asking(carol, "GET", "/v1/objects/carols/name").status == 401
    assert asking(ROOT, "DELETE", "/v1/auth/users/carol").status == 200
    assert asking(ROOT, "GET", "/v1/auth/users/carol").status == 404
    assert asking(ROOT, "GET", "/v1/objects/carols/name").body == b"x"


def test_nobody_but_an_administrator_changes_users(asking: Asking) -> None:
    asking(ROOT, "POST", "/v1/auth/users", {"name": "carol"})
    for route in asking.node.routes:
        if route.path.startswith(("/v1/auth", "/v1/tokens")):
            method, path, body = target(route)
            assert asking(ALICE, method, path, body).status == 403, route
            assert asking(None, method, path, body).status == 401, route


def test_an_administrator_of_the_store_may_do_what_root_may(asking: Asking) -> None:
    asking(ROOT, "POST", "/v1/auth/users", {"name": "carol", "admin": True})
    token = asking(ROOT, "POST", "/v1/auth/tokens/carol", {"expires_s": 60}).json()["token"]
    asking.bucket(ALICE, "thing")
    assert asking(token, "PUT", "/v1/objects/thing/name", b"x").status == 200
    assert asking(token, "GET", "/v1/auth/users").status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/auth/users", {"name": "alice"}, 409),
        ("POST", "/v1/auth/users", {"name": "root"}, 409),
        ("POST", "/v1/auth/users", {"name": "no spaces"}, 400),
        ("POST", "/v1/auth/users", {"name": ""}, 400),
        ("POST", "/v1/auth/users", {"name": "x" * 65}, 400),
        ("POST", "/v1/auth/users", {}, 400),
        ("POST", "/v1/auth/users", b"nonsense", 400),
        ("POST", "/v1/auth/keys/nobody", b"", 404),
        ("POST", "/v1/auth/keys/alice", b"", 501),
        ("DELETE", "/v1/auth/users/alice", b"", 501),
        ("DELETE", "/v1/auth/users/nobody", b"", 404),
        ("DELETE", "/v1/auth/keys/alice-key", b"", 501),
        ("DELETE", "/v1/auth/keys/nothing", b"", 404),
        ("POST", "/v1/auth/tokens/nobody", {"expires_s": 1}, 404),
        ("POST", "/v1/auth/tokens/alice", {"expires_s": 0}, 400),
        ("POST", "/v1/auth/tokens/alice", {"expires_s": 10**12}, 400),
        ("POST", "/v1/auth/tokens/alice", {}, 400),
        ("DELETE", "/v1/auth/tokens/nothing", b"", 404),
    ],
)
def test_wrong_wishes_about_users_change_nothing(
    asking: Asking, method: str, path: str, body: dict[str, object] | bytes, status: int
) -> None:
    before = asking(ROOT, "GET", "/v1/auth/users").json()
    assert asking(ROOT, method, path, body).status == status
    assert asking(ROOT, "GET", "/v1/auth/users").json() == before
    assert asking(ROOT, "GET", "/v1/auth/tokens").json() == []


def test_without_credentials_there_are_no_users_to_change() -> None:
    from aisle.api.native.auth import AuthVerbs
    from service.calling import Native

    node = Native(parts=(AuthVerbs(None),))
    for route in AuthVerbs(None).routes():
        method, path, body = target(route)
        answer = node(method, path, body or b"{}")
        assert (answer.status, "AISLE_ROOT_ACCESS_KEY" in answer.error()["message"]) == (501, True), route
    node.close()


def test_a_token_is_believed_only_as_it_was_made(asking: Asking) -> None:
    claims = Claims(sub="alice-id", exp=int(NOW_S) + 60, iat=int(NOW_S), jti="never-made")
    keys = users()
    import hmac

    key = hmac.digest(MASTER.value, b"aisle token", "sha256")
    with pytest.raises(Unauthenticated, match="revoked"):
        keys.bearer(mint_token(claims, key), now_s=NOW_S)
    with pytest.raises(Unauthenticated, match="not signed here"):
        keys.bearer(mint_token(claims, b"other"), now_s=NOW_S)
    token = asking(ROOT, "POST", "/v1/auth/tokens/alice", {"expires_s": 60}).json()["token"]
    assert asking.users.bearer(token, now_s=NOW_S + 59.9).id == "alice-id"
    with pytest.raises(Unauthenticated, match="expired"):
        asking.users.bearer(token, now_s=NOW_S + 60)
    head, payload, signature = token.split(".")
    for forged in (f"{head}.{payload}.", f"{head}.{payload}", f"eyJhbGciOiJub25lIn0.{payload}.{signature}"):
        with pytest.raises(Unauthenticated):
            asking.users.bearer(forged, now_s=NOW_S)


def test_a_new_master_key_leaves_what_follows_from_an_earlier_one_valid() -> None:
    from aisle.cluster.memory import MemoryStore

    store = MemoryStore()
    node = Asking(store=store)
    node(ROOT, "POST", "/v1/auth/users", {"name": "carol"})
    made = node(ROOT, "POST", "/v1/auth/keys/carol").json()
    token = node(ROOT, "POST", "/v1/auth/tokens/carol", {"expires_s": 60}).json()["token"]
    node.close()
    new = MasterKey("m2", b"n" * 32)
    rotated = users(store, master_keys=[new, MASTER])
    found = rotated.find(made["access_key"])
    assert found is not None
    assert found.secret == made["secret_key"]
    assert rotated.bearer(token, now_s=NOW_S).name == "carol"
    forgotten = users(store, master_keys=[new])
    assert forgotten.find(made["access_key"]) is None
    with pytest.raises(Unauthenticated):
        forgotten.bearer(token, now_s=NOW_S)


def chunked(
    who: Keys, path: str, chunks: list[bytes], trailers: dict[str, str] | None = None
) -> tuple[bytes, dict[str, str]]:
    """A body in signed chunks, and the fields of its request."""
    mode = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailers else "")
    fields = {"x-amz-decoded-content-length": str(sum(map(len, chunks)))}
    if trailers:
        fields["x-amz-trailer"] = ",".join(trailers)
    fields |= sign(who, "PUT", path, mode, **fields)
    seal = Seal(
        signing_key(who[1], STAMP[:8], "anywhere"),
        STAMP,
        f"{STAMP[:8]}/anywhere/s3/aws4_request",
        fields["authorization"].rpartition("=")[2],
        mode,
    )
    return signed(chunks, trailers, seal=seal), fields


@pytest.mark.parametrize("path", ["/v1/objects/thing/name", "/s3/thing/name"])
@pytest.mark.parametrize("arrives", ["whole", "in pieces"])
def test_signed_chunks_continue_the_requests_signature(asking: Asking, path: str, arrives: str) -> None:
    asking.bucket(ALICE, "thing")

    def put(body: bytes, fields: dict[str, str]) -> Answer:
        pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)]
        return asking.node("PUT", path, body if arrives == "whole" else pieces, **fields)

    payload = [b"a" * 5000, b"b" * 5000]
    body, fields = chunked(ALICE, path, payload, {"x-amz-checksum-crc32": "DlxmfQ=="})
    if path.startswith("/v1"):
        assert put(body, fields).status == 200
        assert asking(ALICE, "GET", path).body == b"".join(payload)
    body, fields = chunked(ALICE, path, payload)
    assert put(body, fields).status == 200
    assert asking(ALICE, "GET", path).body == b"".join(payload)
    for forged in (body.replace(b"bbb", b"ccc", 1), body[:5200] + body[10_300:]):
        answer = put(forged, fields)
        assert answer.status in (400, 401, 403), answer.body
        assert asking(ALICE, "GET", path).body == b"".join(payload)
    other, _ = chunked(BOB, path, payload)
    assert put(other, fields).status in (401, 403)
