"""Ways around the rights that there are where credentials exist; each was open once."""

import hmac
import json
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from urllib.parse import quote
from xml.etree import ElementTree

import msgspec
import pytest

from aisle.model.bucket import decode_document, encode_document
from service.credentials import ALICE, BOB, NOW_S, ROOT, Asking, presign, sign
from service.test_routes import target


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Alice has a private bucket and two public ones; Bob has one of his own."""
    node = Asking()
    node.bucket(ALICE, "secret")
    node.bucket(ALICE, "shared", "public-read")
    node.bucket(ALICE, "open", "public-read-write")
    node.bucket(BOB, "mine")
    for bucket in ("secret", "shared"):
        assert node(ALICE, "PUT", f"/v1/objects/{bucket}/a?provider=ais", b"x").status == 200
    yield node
    node.close()


@pytest.mark.parametrize("path", ["/v1/objects/{}/a?provider=ais&", "/ais/{}/a?"])
def test_a_copy_asks_to_read_its_source_and_to_write_where_it_goes(asking: Asking, path: str) -> None:
    to = "object_to=ais%2F%40%23%2F{}%2Fb"
    assert asking(BOB, "PUT", path.format("shared") + to.format("mine")).status == 200
    assert asking(BOB, "GET", "/v1/objects/mine/b").body == b"x"
    assert asking(BOB, "PUT", path.format("secret") + to.format("mine")).status == 403
    assert asking(BOB, "PUT", path.format("shared") + to.format("secret")).status == 403
    assert asking(None, "PUT", path.format("shared") + to.format("mine")).status == 401


@pytest.mark.parametrize("beside", ["archpath=m", "append_type=append", "archmode=prefix", "uploadId=u"])
def test_nothing_else_passes_as_a_copy(asking: Asking, beside: str) -> None:
    target = f"/v1/objects/shared/a?provider=ais&{beside}&object_to=ais%2F%40%23%2Fmine%2Fb"
    if beside == "uploadId=u":
        target = "/v1/objects/shared/a?provider=ais&object_to=&uploadId=u&partNumber=1"
    assert asking(BOB, "PUT", target, b"y", ais_pine="2").status == 403
    assert asking(BOB, "PUT", "/v1/objects/shared/a?object_to=", b"y").status == 403
    assert asking(ALICE, "GET", "/v1/objects/shared/a").body == b"x"


@pytest.mark.parametrize("added", [{}, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}])
def test_a_presigned_url_takes_the_body_it_was_signed_for(asking: Asking, added: dict[str, str]) -> None:
    url = presign(ALICE, "PUT", "/s3/secret/o", payload=sha256(b"right").hexdigest())
    assert asking(None, "PUT", url, b"wrong", **added).status == 400
    assert asking(ALICE, "GET", "/s3/secret/o").status == 404
    assert asking(None, "PUT", url, b"right", **added).status == 200


def test_a_presigned_url_tells_how_long_it_is_valid_in_few_digits(asking: Asking) -> None:
    assert asking(None, "GET", presign(ALICE, "GET", "/s3/secret/a")).status == 200
    url = presign(ALICE, "GET", "/s3/secret/a")
    for digits in ("0000000019999", "1" * 5000):
        refused = asking(None, "GET", url.replace("X-Amz-Expires=600", f"X-Amz-Expires={digits}"))
        assert b"X-Amz-Expires must be" in refused.body


@pytest.mark.parametrize(
    "path", ["/v1/daemon?what=bmd", "/v1/cluster?what=bmd", "/v1/reverse/daemon?what=bmd"]
)
def test_the_map_of_buckets_shows_what_its_reader_may_see(asking: Asking, path: str) -> None:
    told = asking(BOB, "GET", path).json()
    assert sorted(told["providers"]["ais"]["@#"]) == ["mine", "open", "shared"]
    told = asking(ROOT, "GET", path).json()
    assert "secret" in told["providers"]["ais"]["@#"]


def test_strangers_learn_that_the_node_lives_and_nothing_of_the_cluster(asking: Asking) -> None:
    assert asking(None, "GET", "/v1/health").status == 200
    assert asking(None, "GET", "/v1/health?cii=true").status == 401
    assert asking(BOB, "GET", "/v1/health?cii=true").status == 200


def test_strangers_do_not_learn_of_buckets_by_copying_from_them(asking: Asking) -> None:
    for bucket in ("secret", "missing"):
        source = f"{bucket}/a"
        assert asking(None, "PUT", "/s3/open/o", x_amz_copy_source=source).status in (401, 403)
        to = f"object_to=ais%2F%40%23%2F{bucket}%2Fb"
        assert asking(None, "PUT", f"/v1/objects/shared/a?provider=ais&{to}").status == 401
        batch = {"in": [{"objname": "a", "bucket": bucket}], "strm": True}
        assert asking(None, "GET", "/v1/ml/moss/shared?provider=ais", batch).status == 401


@pytest.mark.parametrize(("path", "status"), [("/s3/secret/a", 200), ("/v1/objects/secret/a", 401)])
def test_what_version_2_presigns_is_not_made_another_request(asking: Asking, path: str, status: int) -> None:
    key, secret = ALICE
    expires = int(NOW_S) + 600
    text = f"PUT\n\n\n{expires}\n{path}".encode()
    signature = quote(b64encode(hmac.digest(secret.encode(), text, "sha1")).decode(), safe="")
    url = f"{path}?AWSAccessKeyId={key}&Expires={expires}&Signature={signature}"
    # Nothing of what is added is signed.
    answer = asking(None, "PUT", f"{url}&object_to=ais%2F%40%23%2Fopen%2Fb", b"y")
    assert answer.status in (status, 400 if status == 401 else status)
    assert asking(ALICE, "GET", "/v1/objects/open/b").status == 404


def test_a_presigned_listing_may_ask_for_whatever_begins_like_another_signature(asking: Asking) -> None:
    """Version 2 signs neither prefixes nor their spelling: a `=` in them may come as it is."""
    key, secret = ALICE
    expires = int(NOW_S) + 600
    text = f"GET\n\n\n{expires}\n/s3/secret".encode()
    signature = quote(b64encode(hmac.digest(secret.encode(), text, "sha1")).decode(), safe="")
    url = f"/s3/secret?prefix=X-Amz-Signature=&AWSAccessKeyId={key}&Expires={expires}&Signature={signature}"
    assert asking(None, "GET", url).status == 200
    assert asking(None, "GET", url.replace(f"Expires={expires}", "Expires=1")).status == 403


@pytest.mark.parametrize("what", ["status_all", "qryxstats", "running_all"])
def test_jobs_are_shown_to_who_may_see_their_buckets(asking: Asking, what: str) -> None:
    def copy(source: str, to: str) -> str:
        target = f"/v1/buckets/{source}?provider=ais&bck_to=ais%2F%40%23%2F{to}%2F"
        answer = asking(ALICE, "POST", target, {"action": "copy-bck", "value": {}})
        assert answer.status == 200
        return answer.body.decode()

    hidden, shown = copy("secret", "open"), copy("shared", "open")
    path = f"/v1/cluster?what={what}"
    told = asking(BOB, "GET", path, b"{}").body.decode()
    assert shown in told
    assert hidden not in told
    assert hidden in asking(ALICE, "GET", path, b"{}").body.decode()
    assert hidden in asking(ROOT, "GET", path, b"{}").body.decode()
    one = {"id": hidden}
    assert asking(BOB, "GET", "/v1/cluster?what=status", one).status == 404
    assert asking(BOB, "GET", "/v1/cluster?what=qryxstats", one).status == 404
    assert asking(ALICE, "GET", "/v1/cluster?what=status", one).status == 200


OUTWARD = [
    {"extra": {"aws": {"endpoint": "http://127.0.0.1:1"}}},
    {"extra": {"aws": {"profile": "admin"}}},
    {"EXTRA": {"gcp": {"application_creds": "/etc/passwd"}}},
    {"backend_bck": {"name": "others", "provider": "aws"}},
]


@pytest.mark.parametrize("value", OUTWARD)
def test_owners_do_not_choose_which_credentials_the_node_uses(
    asking: Asking, value: dict[str, object]
) -> None:
    mine = "/v1/buckets/mine?provider=ais"
    before = asking(BOB, "HEAD", mine).headers["ais-bucket-props"]
    assert asking(BOB, "PATCH", mine, {"action": "set-bprops", "value": value}).status == 403
    assert asking(BOB, "HEAD", mine).headers["ais-bucket-props"] == before
    new = "/v1/buckets/new?provider=ais"
    assert asking(BOB, "POST", new, {"action": "create-bck", "value": value}).status == 403
    assert asking(ROOT, "HEAD", new).status == 404
    is_built = "backend_bck" not in value
    status = 200 if is_built else 501
    assert asking(ROOT, "PATCH", mine, {"action": "set-bprops", "value": value}).status == status
    assert asking(ROOT, "POST", new, {"action": "create-bck", "value": value}).status == status
    # What is there already may be sent back with a change of something else.
    same = {**value, "lru": {"enabled": True}} if is_built else {"lru": {"enabled": True}}
    assert asking(BOB, "PATCH", mine, {"action": "set-bprops", "value": same}).status == 200


def test_a_copy_of_a_bucket_takes_none_of_the_nodes_credentials_along(asking: Asking) -> None:
    value = {"extra": {"aws": {"profile": "admin"}}, "lru": {"enabled": True}}
    changed = asking(
        ROOT, "PATCH", "/v1/buckets/shared?provider=ais", {"action": "set-bprops", "value": value}
    )
    assert changed.status == 200
    target = "/v1/buckets/shared?provider=ais&bck_to=ais%2F%40%23%2Fcopy%2F"
    assert asking(BOB, "POST", target, {"action": "copy-bck", "value": {}}).status == 200
    told = json.loads(asking(BOB, "HEAD", "/v1/buckets/copy?provider=ais").headers["ais-bucket-props"])
    assert told["lru"]["enabled"]
    assert told["extra"]["aws"] == {}


def add_remote(asking: Asking, name: str, owner: str) -> None:
    """A bucket of a cloud, as its document would be."""
    present = asking.node.store.load("bucket/ais/@#/mine/")
    assert present
    document = msgspec.structs.replace(decode_document(present.value), number=900, owner=owner)
    asking.node.store.swap(f"bucket/gcp/@#/{name}/", encode_document(document), expected_version=0)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_an_easy_url_is_judged_by_the_bucket_of_its_own_provider(asking: Asking, method: str) -> None:
    add_remote(asking, "mine", "alice-id")
    add_remote(asking, "secret", "bob-id")
    for path in ("/gs/mine/a", "/gs/mine/a?provider=ais", "/ais/secret/a", "/ais/secret/a?provider=gcp"):
        assert asking(BOB, method, path, b"y").status == 403, path
    assert asking(ALICE, "GET", "/ais/secret/a").body == b"x"
    # It is hers, and the node has no backend for it.
    assert asking(ALICE, "GET", "/gs/mine/a").status == 501


@pytest.mark.parametrize("access", ["8", str(8 + 16)])
def test_appending_needs_the_right_to_append_and_no_other(asking: Asking, access: str) -> None:
    closed = {"action": "set-bprops", "value": {"access": access}}
    assert asking(BOB, "PATCH", "/v1/buckets/mine?provider=ais", closed).status == 200
    for path in ("/v1/objects/mine/o", "/ais/mine/o"):
        appended = asking(BOB, "PUT", f"{path}?append_type=append&append_handle=", b"x")
        assert appended.status == 200, appended.body
        handle = quote(appended.headers["ais-append-handle"], safe="")
        assert asking(BOB, "PUT", f"{path}?append_type=flush&append_handle={handle}").status == 200
        assert asking(BOB, "PUT", path, b"x").status == 403
        assert asking(BOB, "PUT", f"{path}?append_type=", b"x").status == 403
        assert asking(BOB, "PUT", f"{path}?archpath=m&append_type=append", b"x").status == 403
        assert asking(ALICE, "PUT", f"{path}?append_type=append&append_handle=", b"x").status == 403


def test_uploads_of_others_are_out_of_reach_over_s3(asking: Asking) -> None:
    begun = asking(ALICE, "POST", "/s3/shared/o?uploads")
    upload = ElementTree.fromstring(begun.body).findtext("{*}UploadId")
    part = f"/s3/{{}}/o?partNumber=1&uploadId={upload}"
    assert asking(ALICE, "PUT", part.format("shared"), b"hers").status == 200
    whole = f"/s3/{{}}/o?uploadId={upload}"
    part_1 = b"<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>"
    document = b"<CompleteMultipartUpload>%b</CompleteMultipartUpload>" % part_1
    for bucket, status in (("shared", 403), ("mine", 404)):
        assert asking(BOB, "PUT", part.format(bucket), b"his").status == status
        assert asking(BOB, "PUT", part.format(bucket), x_amz_copy_source="shared/a").status == status
        assert asking(BOB, "GET", whole.format(bucket)).status == status
        assert asking(BOB, "DELETE", whole.format(bucket)).status == status
        assert asking(BOB, "POST", whole.format(bucket), document).status == status
    listed = ElementTree.fromstring(asking(ALICE, "GET", whole.format("shared")).body)
    assert [part.findtext("{*}Size") for part in listed.findall("{*}Part")] == ["4"]


SCOPE = [
    ("PUT", "/s3/open/a", "", {}),
    ("DELETE", "/s3/open/a", "", {}),
    ("HEAD", "/s3/open/a", "", {}),
    ("GET", "/s3/open/b", "", {}),
    ("GET", "/s3/secret/a", "", {}),
    ("GET", "/open/a", "", {}),
    ("GET", "/s3/open/a", "&acl", {}),
    ("GET", "/s3/open/a", "&tagging=", {}),
    ("GET", "/s3/open/a", "&response-content-type=text%2Fhtml", {}),
    ("GET", "/s3/open/a", "&X-Amz-Expires=604800", {}),
    ("GET", "/s3/open/a", "", {"x-amz-object-attributes": "ETag"}),
    ("GET", "/s3/open/a", "", {"x-amz-checksum-mode": "ENABLED"}),
    ("GET", "/s3/open/a", "", {"host": "localhost:8080"}),
]


@pytest.mark.parametrize(("method", "path", "more", "fields"), SCOPE)
def test_a_presigned_url_is_good_for_nothing_else(
    asking: Asking, method: str, path: str, more: str, fields: dict[str, str]
) -> None:
    assert asking(ALICE, "PUT", "/s3/open/a", b"x").status == 200
    query = presign(BOB, "GET", "/s3/open/a").partition("?")[2]
    assert asking(None, "GET", f"/s3/open/a?{query}").body == b"x"
    before = asking.node.state()
    assert asking(None, method, f"{path}?{query}{more}", b"", **fields).status in (400, 403)
    assert asking.node.state() == before


def test_a_presigned_upload_cannot_be_made_a_copy(asking: Asking) -> None:
    url = presign(ALICE, "PUT", "/s3/open/o")
    for field in ("x-amz-copy-source", "x-amz-acl", "x-amz-tagging", "x-amz-meta-a"):
        assert asking(None, "PUT", url, b"", **{field: "secret/a"}).status == 403
    assert asking(None, "PUT", f"{url}&uploadId=x&partNumber=1", b"").status == 403
    assert asking(ALICE, "GET", "/s3/open/o").status == 404


def test_what_was_verified_once_is_verified_anew_when_anything_differs(asking: Asking) -> None:
    assert asking(ROOT, "POST", "/v1/auth/users", {"name": "carol"}).status == 200
    made = asking(ROOT, "POST", "/v1/auth/keys/carol").json()
    carol = (made["access_key"], made["secret_key"])
    fields = sign(carol, "GET", "/s3/shared/a")
    for _ in range(2):
        assert asking(None, "GET", "/s3/shared/a", **fields).body == b"x"
    for method, path, more in (
        ("PUT", "/s3/shared/a", {}),
        ("GET", "/s3/shared/b", {}),
        ("GET", "/s3/shared/a?acl", {}),
        ("GET", "/s3/shared/a", {"x-amz-meta-a": "b"}),
        ("GET", "/s3/shared/a", {"host": "localhost"}),
        ("GET", "/s3/shared/a", {"x-amz-date": "20261120T161239Z"}),
        ("GET", "/s3/shared/a", {"x-amz-content-sha256": "0" * 64}),
    ):
        assert asking(None, method, path, **{**fields, **more}).status == 403, (method, path, more)
    assert asking(None, "GET", "/s3/shared/a", **fields).status == 200
    assert asking(ROOT, "DELETE", f"/v1/auth/keys/{carol[0]}").status == 200
    assert asking(None, "GET", "/s3/shared/a", **fields).status == 403


def test_a_removed_user_is_nobody_by_key_and_by_token(asking: Asking) -> None:
    assert asking(ROOT, "POST", "/v1/auth/users", {"name": "carol"}).status == 200
    made = asking(ROOT, "POST", "/v1/auth/keys/carol").json()
    token = asking(ROOT, "POST", "/v1/auth/tokens/carol", {"expires_s": 60}).json()["token"]
    carol = (made["access_key"], made["secret_key"])
    asking.bucket(carol, "carols")
    for who in (carol, token):
        assert asking(who, "GET", "/v1/objects/shared/a").status == 200
    assert asking(ROOT, "DELETE", "/v1/auth/users/carol").status == 200
    for who in (carol, token):
        # Not even what is public: whoever shows credentials must show good ones.
        assert asking(who, "GET", "/v1/objects/shared/a").status == 401
    # Whoever has that name later does not inherit the bucket.
    assert asking(ROOT, "POST", "/v1/auth/users", {"name": "carol"}).status == 200
    other = asking(ROOT, "POST", "/v1/auth/tokens/carol", {"expires_s": 60}).json()["token"]
    assert asking(token, "GET", "/v1/objects/shared/a").status == 401
    assert asking(other, "HEAD", "/v1/buckets/carols?provider=ais").status == 403


def test_members_of_archives_are_as_private_as_their_buckets(asking: Asking) -> None:
    target = "/v1/objects/{}/new.tar?provider=ais&archpath=m"
    for bucket, status in (("secret", 403), ("shared", 403), ("open", 200), ("mine", 200)):
        assert asking(BOB, "PUT", target.format(bucket), b"y", ais_pine="2").status == status
    assert asking(ALICE, "PUT", target.format("secret"), b"y").status == 200
    for query in ("archpath=m", "archmode=prefix&archregx=m"):
        path = f"/v1/objects/secret/new.tar?provider=ais&{query}"
        assert asking(BOB, "GET", path).status == 403
        assert asking(None, "GET", path).status == 401
        assert asking(BOB, "GET", f"/ais/secret/new.tar?{query}").status == 403
    batch = {"in": [{"objname": "new.tar", "bucket": "secret", "archpath": "m"}]}
    assert asking(BOB, "GET", "/v1/ml/moss/mine?provider=ais", batch).status == 403
    by_uname = {"in": [{"uname": "ais/@#/secret/new.tar"}]}
    assert asking(BOB, "GET", "/v1/ml/moss/mine?provider=ais", by_uname).status == 403
    packed = {"archname": "x.tar", "objnames": ["a"], "tobck": {"name": "secret", "provider": "ais"}}
    message = {"action": "archive", "value": packed}
    assert asking(BOB, "PUT", "/v1/buckets/shared?provider=ais", message).status == 403
    message = {"action": "archive", "value": {**packed, "tobck": {"name": "mine", "provider": "ais"}}}
    assert asking(BOB, "PUT", "/v1/buckets/secret?provider=ais", message).status == 403


def test_an_empty_authorization_shows_nothing(asking: Asking) -> None:
    assert asking(None, "GET", "/s3/shared/a", authorization="").body == b"x"
    refused = asking(None, "GET", "/s3/secret/a", authorization="")
    assert (refused.status, b"<Code>AccessDenied</Code>" in refused.body) == (403, True)


@pytest.mark.parametrize(
    ("changed", "to", "code", "status"),
    [
        ("X-Amz-Expires=600", "X-Amz-Expires=0", "AuthorizationQueryParametersError", 400),
        ("X-Amz-Date=2026", "X-Amz-Date=x", "AuthorizationQueryParametersError", 400),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=date", "AuthorizationQueryParametersError", 400),
        ("X-Amz-Algorithm=AWS4", "X-Amz-Algorithm=AWS5", "AuthorizationQueryParametersError", 400),
        ("X-Amz-Credential=alice", "X-Amz-Credential=nobody", "InvalidAccessKeyId", 403),
        ("X-Amz-Signature=", "X-Amz-Signature=0", "AuthorizationQueryParametersError", 400),
    ],
)
def test_broken_presigned_urls_are_told_as_such(
    asking: Asking, changed: str, to: str, code: str, status: int
) -> None:
    url = presign(ALICE, "GET", "/s3/secret/a")
    assert changed in url
    answer = asking(None, "GET", url.replace(changed, to))
    assert (answer.status, f"<Code>{code}</Code>" in answer.body.decode()) == (status, True), answer.body


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        # The day must be that of the credential's scope.
        ({"x-amz-date": "20261119T161238Z"}, "AuthorizationHeaderMalformed"),
        ({"x-amz-date": "20261120T155238Z"}, "RequestTimeTooSkewed"),
        ({"x-amz-date": ""}, "AccessDenied"),
        ({"x-amz-date": "yesterday"}, "AccessDenied"),
        ({"x-amz-date": "", "date": "Fri, 20 Nov 2026 15:52:38 GMT"}, "RequestTimeTooSkewed"),
    ],
)
def test_the_time_of_a_signature_is_checked(asking: Asking, fields: dict[str, str], code: str) -> None:
    signed = {**sign(ALICE, "GET", "/s3/secret/a"), **fields}
    answer = asking(None, "GET", "/s3/secret/a", **signed)
    assert f"<Code>{code}</Code>" in answer.body.decode(), answer.body


@pytest.mark.parametrize(
    ("path", "status"), [("/s3/open/b", 200), ("/v1/objects/open/b", 401), ("/ais/open/b", 401)]
)
def test_version_2_signs_for_s3_alone(asking: Asking, path: str, status: int) -> None:
    key, secret = ALICE
    date = "Fri, 20 Nov 2026 16:12:38 GMT"
    text = f"PUT\n\n\n{date}\n{path}".encode()
    signature = b64encode(hmac.digest(secret.encode(), text, "sha1")).decode()
    # It covers no parameter of the native API: on the way any could be added.
    assert asking(None, "PUT", path, b"y", date=date, authorization=f"AWS {key}:{signature}").status == status


def test_version_2_on_a_request_about_no_path_is_judged_like_any_other(asking: Asking) -> None:
    assert asking(None, "OPTIONS", "*", authorization="AWS nobody:c2lnbmF0dXJl").status == 403
    date = "Fri, 20 Nov 2026 16:12:38 GMT"
    wrong = asking(None, "OPTIONS", "*", date=date, authorization=f"AWS {ALICE[0]}:c2lnbmF0dXJl")
    assert wrong.status == 403


def test_the_long_messages_of_strangers_are_not_read_for_nothing(asking: Asking) -> None:
    message = b'{"action":"list","value":[' + b"[]," * 30_000
    for method, path in (
        ("POST", "/v1/buckets/secret"),
        ("PUT", "/v1/cluster"),
        ("DELETE", "/v1/objects/secret/a"),
    ):
        assert asking(None, method, path, message).status == 401, path
        assert asking(ALICE, method, path, message).status == 400, path
    # What a public bucket lets them do they may say at length.
    assert asking(None, "GET", "/v1/buckets/shared", message).status == 400


def test_strangers_are_told_the_same_of_buckets_that_there_are_and_that_there_are_not(asking: Asking) -> None:
    def told(method: str, path: str, body: bytes, name: str) -> tuple[int, str]:
        answer = asking(None, method, path.replace("thing", name, 1), body)
        text = answer.headers.get("hdr-error", answer.body.decode())
        return answer.status, text.replace(name, "NAME")

    checked = 0
    for route in asking.node.routes:
        if "{bucket}" in route.path:
            method, path, body = target(route)
            assert told(method, path, body, "secret") == told(method, path, body, "absent"), route
            checked += 1
    for path in ("/s3/thing", "/s3/thing/k", "/thing", "/thing/k"):
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            for query in (
                "",
                "?acl",
                "?uploads",
                "?uploadId=x",
                "?delete",
                "?tagging",
                "?versions",
                "?policy",
            ):
                answers = [told(method, path + query, b"<a/>", name) for name in ("secret", "absent")]
                assert answers[0] == answers[1], (method, path, query)
                checked += 1
    assert checked > 200
