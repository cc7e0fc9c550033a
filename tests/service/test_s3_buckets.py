"""Buckets through S3: their states, their settings, and every way of asking wrongly."""

import re
from itertools import product
from xml.etree import ElementTree

import msgspec
import pytest

from aisle.api.s3.call import Level
from aisle.api.s3.subresources import NAMES
from aisle.errors import StaleVersion
from aisle.model.bucket import BucketState, decode_document, encode_document
from aisle.model.names import Bucket, ObjectName
from aisle.model.record import Attributes
from service.calling import Answer, Native

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
CONFIGURATION = (
    "<CreateBucketConfiguration><LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>"
)


def tree(answer: Answer) -> ElementTree.Element:
    """The document of an answer, names without their namespace."""
    assert answer.headers["content-type"] == "application/xml"
    root = ElementTree.fromstring(answer.body)
    for element in root.iter():
        element.tag = element.tag.removeprefix(NAMESPACE)
    return root


def code(answer: Answer) -> str:
    """The code of an error document, which is whole."""
    root = tree(answer)
    assert root.tag == "Error"
    assert root.findtext("Message")
    assert root.find("Resource") is not None
    assert root.find("RequestId") is not None
    return root.findtext("Code") or ""


def is_there(native: Native, name: str) -> bool:
    return native("HEAD", f"/s3/{name}").status == 200


def test_a_bucket_is_created_asked_about_listed_and_destroyed(native: Native) -> None:
    created = native("PUT", "/s3/photos")
    assert (created.status, created.headers["location"], created.body) == (200, "/photos", b"")
    head = native("HEAD", "/s3/photos")
    assert (head.status, head.headers["x-amz-bucket-region"]) == (200, "us-east-1")
    assert "photos" in [each.findtext("Name") for each in tree(native("GET", "/s3")).iter("Bucket")]
    deleted = native("DELETE", "/s3/photos")
    assert (deleted.status, deleted.body) == (204, b"")
    missing = native("HEAD", "/s3/photos")
    assert (missing.status, missing.body) == (404, b"")
    assert code(native("DELETE", "/s3/photos")) == "NoSuchBucket"


def test_buckets_are_the_same_at_the_root_under_s3_and_natively(native: Native) -> None:
    assert native("PUT", "/photos").status == 200
    assert native("HEAD", "/s3/photos/").status == 200
    assert native("HEAD", "/v1/buckets/photos?provider=ais").status == 200
    native.put("photos/k")
    assert native("DELETE", "/v1/buckets/photos?provider=ais", {"action": "destroy-bck"}).status == 200
    assert native("HEAD", "/photos").status == 404


def test_creating_a_bucket_again_is_a_conflict_that_says_whose_it_is(native: Native) -> None:
    assert native("PUT", "/s3/photos").status == 200
    again = native("PUT", "/s3/photos")
    assert (again.status, code(again)) == (409, "BucketAlreadyOwnedByYou")
    assert tree(again).findtext("BucketName") == "photos"
    native.runner.run(native.buckets.create(Bucket("theirs"), owner="someone"))
    theirs = native("PUT", "/s3/theirs")
    assert (theirs.status, code(theirs)) == (409, "BucketAlreadyExists")


def test_of_many_who_create_the_same_bucket_one_wins(native: Native) -> None:
    answers = native.at_once(*[("PUT", "/s3/race")] * 8)
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert {code(answer) for answer in answers if answer.status == 409} == {"BucketAlreadyOwnedByYou"}


def test_of_many_who_delete_the_same_bucket_all_find_it_gone(native: Native) -> None:
    native("PUT", "/s3/race")
    answers = native.at_once(*[("DELETE", "/s3/race")] * 8)
    assert {answer.status for answer in answers} <= {204, 404}
    assert 204 in {answer.status for answer in answers}
    assert not is_there(native, "race")
    assert native("PUT", "/s3/race").status == 200


def test_a_name_of_another_namespace_is_taken_too(native: Native) -> None:
    native.runner.run(native.buckets.create(Bucket("inner", "ais", "#space")))
    assert code(native("PUT", "/s3/inner")) == "BucketAlreadyExists"
    # It is the only bucket of that name, so the name means it.
    assert native("HEAD", "/s3/inner").status == 200


def test_of_buckets_with_one_name_the_clusters_own_comes_first(native: Native) -> None:
    for space in ("#one", "#two"):
        native.runner.run(native.buckets.create(Bucket("many", "ais", space)))
    answer = native("GET", "/s3/many")
    assert (answer.status, code(answer)) == (409, "AmbiguousBucketName")
    native.bucket("many")
    native.put("many/own")
    assert [each.text for each in tree(native("GET", "/s3/many")).iter("Key")] == ["own"]


def add_remote(native: Native, name: str, provider: str) -> None:
    """A bucket of a cloud, as its document would be."""
    present = native.store.load("bucket/ais/@#/b/")
    assert present
    document = msgspec.structs.replace(decode_document(present.value), number=900)
    native.store.swap(f"bucket/{provider}/@#/{name}/", encode_document(document), expected_version=0)


def test_buckets_of_clouds_are_reached_by_name_or_by_name_and_provider(native: Native) -> None:
    add_remote(native, "photos", "aws")
    assert [native("HEAD", f"/s3/photos{suffix}").status for suffix in ("", "--aws", "--s3")] == [200] * 3
    assert [native("HEAD", f"/s3/photos{suffix}").status for suffix in ("--gcp", "--nothing")] == [404] * 2
    # Created, it would hide the other one.
    assert code(native("PUT", "/s3/photos")) == "BucketAlreadyExists"
    native.bucket("photos")
    native.put("photos/own")
    assert [each.text for each in tree(native("GET", "/s3/photos")).iter("Key")] == ["own"]
    assert list(tree(native("GET", "/s3/photos--aws")).iter("Key")) == []


def test_the_list_names_buckets_as_they_are_reached(native: Native) -> None:
    add_remote(native, "photos", "aws")
    add_remote(native, "b", "gcp")
    told = {
        each.findtext("Name"): each.findtext("String") for each in tree(native("GET", "/s3")).iter("Bucket")
    }
    assert told == {
        "photos": "Provider: aws",
        "b": "Provider: ais",
        "b--gcp": "Provider: gcp (WARNING: {b, Provider: ais} and {b, Provider: gcp} share the same name)",
    }
    for name in told:
        assert native("HEAD", f"/s3/{name}").status == 200


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 64,
        "a..b",
        ".abc",
        "-abc",
        "a%20b",
        "a%2Fb",
        "%23ab",
        "192.168.0.1",
        "%FF%FE%FF",
        "data--s3",
        "ais",
        "metrics",
        "health",
        "%zz%zz",
    ],
)
def test_names_that_no_bucket_can_have_are_refused(native: Native, name: str) -> None:
    before = native.buckets.select()
    answer = native("PUT", f"/s3/{name}")
    assert (answer.status, code(answer)) == (400, "InvalidBucketName")
    assert native.buckets.select() == before


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-2", "EU", ""])
def test_any_region_is_accepted_when_a_bucket_is_created(native: Native, region: str) -> None:
    assert native("PUT", "/s3/photos", (CONFIGURATION % region).encode()).status == 200
    assert tree(native("GET", "/s3/photos?location")).text is None


@pytest.mark.parametrize(
    ("body", "headers", "status", "refusal"),
    [
        (b"<CreateBucketConfiguration>", {}, 400, "MalformedXML"),
        (b"<Other/>", {}, 400, "MalformedXML"),
        (b"no xml", {}, 400, "MalformedXML"),
        (
            b'<!DOCTYPE x [<!ENTITY e "e">]><CreateBucketConfiguration>&e;</CreateBucketConfiguration>',
            {},
            400,
            "MalformedXML",
        ),
        (b"<CreateBucketConfiguration><Bucket/></CreateBucketConfiguration>", {}, 501, "NotImplemented"),
        (b"<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>", {}, 501, "NotImplemented"),
        (b"x" * (1024 * 1024 + 1), {}, 400, "MalformedXML"),
        (b"", {"x_amz_acl": "everybody"}, 400, "InvalidArgument"),
        (b"", {"x_amz_grant_read": 'id="x"'}, 501, "NotImplemented"),
        (b"", {"x_amz_bucket_object_lock_enabled": "true"}, 501, "NotImplemented"),
    ],
)
def test_a_bucket_that_cannot_be_is_not_created(
    native: Native, body: bytes, headers: dict[str, str], status: int, refusal: str
) -> None:
    answer = native("PUT", "/s3/photos", body, **headers)
    assert (answer.status, code(answer)) == (status, refusal)
    assert not is_there(native, "photos")


def test_a_bucket_that_holds_objects_stays(native: Native) -> None:
    native("PUT", "/s3/photos")
    native.put("photos/a")
    answer = native("DELETE", "/s3/photos")
    assert (answer.status, code(answer)) == (409, "BucketNotEmpty")
    assert native("GET", "/v1/objects/photos/a?provider=ais").body == b"x"
    native("DELETE", "/v1/objects/photos/a?provider=ais")
    assert native("DELETE", "/s3/photos").status == 204


def test_an_object_that_arrives_while_a_bucket_closes_is_kept(
    native: Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    native("PUT", "/s3/photos")
    close = native.engine.close_bucket

    def late(bucket: int, *, only_if_empty: bool) -> object:
        # The bucket was found empty and its document is marked; the write comes in between.
        info = native.buckets.find(Bucket("photos"))
        assert info.number == bucket
        native.engine.put_small(ObjectName(bucket, b"late"), b"late", Attributes())
        return close(bucket, only_if_empty=only_if_empty)

    monkeypatch.setattr(native.engine, "close_bucket", late)
    assert code(native("DELETE", "/s3/photos")) == "BucketNotEmpty"
    monkeypatch.undo()
    assert native("GET", "/v1/objects/photos/late?provider=ais").body == b"late"
    native.put("photos/more")
    document = native.store.load("bucket/ais/@#/photos/")
    assert document
    assert decode_document(document.value).state is BucketState.OPEN


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_destruction_that_a_crash_cut_short_ends_as_the_bucket_is(native: Native, is_empty: bool) -> None:
    native("PUT", "/s3/photos")
    if not is_empty:
        native.put("photos/a")
    key = "bucket/ais/@#/photos/"
    document = native.store.load(key)
    assert document
    closing = msgspec.structs.replace(decode_document(document.value), state=BucketState.CLOSING)
    native.store.swap(key, encode_document(closing), expected_version=document.version)
    assert is_there(native, "photos")
    ended = native.runner.run(native.buckets.repair())
    assert ended == ([Bucket("photos")] if is_empty else [])
    assert is_there(native, "photos") is not is_empty
    if not is_empty:
        native.put("photos/b")


def test_properties_that_change_while_a_bucket_closes_do_not_keep_it(
    native: Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    native("PUT", "/s3/photos")
    swap, stale = native.store.swap, iter([True])

    def sometimes(key: str, value: bytes | None, *, expected_version: int) -> object:
        if value is None and next(stale, False):
            raise StaleVersion(key, expected=expected_version, found=expected_version + 1)
        return swap(key, value, expected_version=expected_version)

    monkeypatch.setattr(native.store, "swap", sometimes)
    assert native("DELETE", "/s3/photos").status == 204
    assert next(stale, None) is None
    assert not is_there(native, "photos")


def test_every_subresource_of_amazon_is_answered_and_never_by_the_plain_verb(native: Native) -> None:
    native("PUT", "/s3/photos")
    native.put("photos/k", b"bytes")
    answer = next(route.handler for route in native.routes if route.path == "/s3/{bucket}")
    operations = answer.__self__.operations  # type: ignore[union-attr]
    built = {(row.method, row.subresource) for row in operations if row.level is Level.BUCKET}
    assert len(NAMES) == 40
    for name, method in product(NAMES, ("GET", "PUT", "POST", "DELETE", "HEAD")):
        answered = native(method, f"/s3/photos?{name}", b"<x/>" if method in ("PUT", "POST") else b"")
        where = f"{method} ?{name}: {answered.status} {answered.body!r}"
        assert is_there(native, "photos"), where
        assert native("GET", "/v1/objects/photos/k?provider=ais").body == b"bytes", where
        assert b"<ListBucketResult" not in answered.body, where
        if (method, name) not in built:
            assert answered.status == 501, where
            assert method == "HEAD" or code(answered) == "NotImplemented", where
        elif answered.status != 200:
            assert answered.status in (400, 404), where
            assert code(answered) != "NoSuchBucket", where


def test_subresources_that_contradict_each_other_are_refused(native: Native) -> None:
    answer = native("GET", "/s3/b?acl&policy")
    assert (answer.status, code(answer)) == (400, "InvalidArgument")
    assert "acl, policy" in (tree(answer).findtext("Message") or "")


@pytest.mark.parametrize("query", ["x-id=ListObjects", "foo=bar&x-id=x", "Acl", "list-types=2"])
def test_other_query_names_say_nothing(native: Native, query: str) -> None:
    assert tree(native("GET", f"/s3/b?{query}")).tag == "ListBucketResult"


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("policy", 404, "NoSuchBucketPolicy"),
        ("cors", 404, "NoSuchCORSConfiguration"),
        ("lifecycle", 404, "NoSuchLifecycleConfiguration"),
        ("tagging", 404, "NoSuchTagSet"),
        ("website", 404, "NoSuchWebsiteConfiguration"),
        ("encryption", 404, "ServerSideEncryptionConfigurationNotFoundError"),
        ("publicAccessBlock", 404, "NoSuchPublicAccessBlockConfiguration"),
        ("object-lock", 404, "ObjectLockConfigurationNotFoundError"),
        ("inventory&id=x", 404, "NoSuchConfiguration"),
        ("inventory", 200, "ListInventoryConfigurationsResult"),
        ("logging", 200, "BucketLoggingStatus"),
        ("requestPayment", 200, "RequestPaymentConfiguration"),
        ("accelerate", 200, "AccelerateConfiguration"),
    ],
)
def test_what_is_not_set_is_said_to_be_not_set(native: Native, name: str, status: int, said: str) -> None:
    answer = native("GET", f"/s3/b?{name}")
    assert (answer.status, code(answer) if status == 404 else tree(answer).tag) == (status, said)
    assert code(native("GET", f"/s3/nobucket?{name}")) == "NoSuchBucket"


def test_versioning_is_the_buckets_property(native: Native) -> None:
    assert tree(native("GET", "/s3/b?versioning")).findtext("Status") == "Enabled"
    for status in ("Suspended", "Enabled"):
        body = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>"
        assert native("PUT", "/s3/b?versioning", body.encode()).status == 200
        assert tree(native("GET", "/s3/b?versioning")).findtext("Status") == status
        assert native.buckets.find(Bucket("b")).properties.versioning.enabled is (status == "Enabled")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ("", "MalformedXML"),
        ("<VersioningConfiguration/>", "IllegalVersioningConfigurationException"),
        (
            "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>",
            "IllegalVersioningConfigurationException",
        ),
        (
            (
                "<VersioningConfiguration><Status>Suspended</Status><MfaDelete>Enabled</MfaDelete>"
                "</VersioningConfiguration>"
            ),
            "NotImplemented",
        ),
    ],
)
def test_versioning_that_cannot_be_changes_nothing(native: Native, body: str, refusal: str) -> None:
    before = native.buckets.find(Bucket("b"))
    assert code(native("PUT", "/s3/b?versioning", body.encode())) == refusal
    assert native.buckets.find(Bucket("b")) == before


def test_canned_acls_are_shown_as_grants_and_taken_back_as_such(native: Native) -> None:
    for acl, others in (
        ("public-read", ["READ"]),
        ("public-read-write", ["READ", "WRITE"]),
        ("authenticated-read", ["READ"]),
        ("private", []),
    ):
        assert native("PUT", "/s3/b?acl", x_amz_acl=acl).status == 200
        shown = native("GET", "/s3/b?acl")
        permissions = [each.text for each in tree(shown).iter("Permission")]
        assert permissions == ["FULL_CONTROL", *others]
        native("PUT", "/s3/b?acl", x_amz_acl="private" if others else "public-read")
        assert native("PUT", "/s3/b?acl", shown.body).status == 200
        assert native.buckets.find(Bucket("b")).acl == acl
    assert native("PUT", "/s3/new", x_amz_acl="public-read").status == 200
    assert native.buckets.find(Bucket("new")).acl == "public-read"


@pytest.mark.parametrize(
    ("body", "headers", "refusal"),
    [
        (b"", {}, "MalformedXML"),
        (b"", {"x_amz_acl": "nonsense"}, "InvalidArgument"),
        (b"", {"x_amz_grant_write": "id=x"}, "NotImplemented"),
        (b"<AccessControlPolicy/>", {}, "MalformedXML"),
        (
            (
                b"<AccessControlPolicy><AccessControlList><Grant><Grantee><ID>x</ID></Grantee>"
                b"<Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>"
            ),
            {},
            "NotImplemented",
        ),
    ],
)
def test_acls_that_cannot_be_change_nothing(
    native: Native, body: bytes, headers: dict[str, str], refusal: str
) -> None:
    assert code(native("PUT", "/s3/b?acl", body, **headers)) == refusal
    assert native.buckets.find(Bucket("b")).acl == "private"


def test_the_list_of_buckets_tells_owner_date_and_provider(native: Native) -> None:
    native("PUT", "/s3/photos")
    native.runner.run(native.buckets.create(Bucket("photos", "ais", "#hidden")))
    root = tree(native("GET", "/s3/"))
    assert root.tag == "ListAllMyBucketsResult"
    assert root.findtext("Owner/ID") == "root"
    names = [each.findtext("Name") for each in root.iter("Bucket")]
    assert names == ["b", "photos"]
    for each in root.iter("Bucket"):
        assert re.fullmatch(r"2026-11-20T16:12:\d\d\.\d{3}Z", each.findtext("CreationDate") or "")
        assert each.findtext("String") == "Provider: ais"


def test_the_list_of_buckets_comes_in_pages_if_asked(native: Native) -> None:
    for name in ("ant", "bee", "bear", "cat"):
        native("PUT", f"/s3/{name}")
    found, query = [], "max-buckets=2"
    while query:
        root = tree(native("GET", f"/s3?{query}"))
        page = [each.findtext("Name") for each in root.iter("Bucket")]
        found.append(page)
        token = root.findtext("ContinuationToken")
        query = f"max-buckets=2&continuation-token={token}" if token else ""
    assert found == [["ant", "b"], ["bear", "bee"], ["cat"]]
    root = tree(native("GET", "/s3?prefix=be"))
    assert [each.findtext("Name") for each in root.iter("Bucket")] == ["bear", "bee"]
    assert root.findtext("Prefix") == "be"


def test_the_list_of_buckets_may_be_of_one_region(native: Native) -> None:
    for query, found in (
        ("", [("b", None)]),
        ("?x-id=ListBuckets", [("b", None)]),
        ("?bucket-region=us-east-1", [("b", "us-east-1")]),
        ("?max-buckets=9", [("b", "us-east-1")]),
        ("?bucket-region=eu-west-1", []),
    ):
        root = tree(native("GET", f"/s3{query}"))
        told = [(each.findtext("Name"), each.findtext("BucketRegion")) for each in root.iter("Bucket")]
        assert told == found, query


@pytest.mark.parametrize(
    "query", ["max-buckets=0", "max-buckets=10001", "max-buckets=x", "max-buckets=", "continuation-token=xyz"]
)
def test_lists_of_buckets_that_cannot_be_are_refused(native: Native, query: str) -> None:
    answer = native("GET", f"/s3?{query}")
    assert (answer.status, code(answer)) == (400, "InvalidArgument")


def test_methods_that_a_level_does_not_have_are_told_which_it_has(native: Native) -> None:
    answer = native("PUT", "/s3")
    assert (answer.status, code(answer), answer.headers["allow"]) == (405, "MethodNotAllowed", "GET")
    assert native("PATCH", "/s3/b").headers["allow"] == "DELETE, GET, HEAD, PUT"
    assert native("POST", "/s3").status == 405
    form = native("POST", "/s3/b", b"--form")
    assert (form.status, code(form)) == (501, "NotImplemented")


@pytest.mark.parametrize("target", ["/s3/b?prefix=%zz", "/s3/b?prefix=%FF"])
def test_queries_that_are_no_text_are_refused(native: Native, target: str) -> None:
    answer = native("GET", target)
    assert (answer.status, code(answer)) == (400, "InvalidURI")


def test_errors_escape_what_they_repeat(native: Native) -> None:
    answer = native("GET", "/s3/b%3Ci%3E&amp;")
    assert code(answer) == "InvalidBucketName"
    assert tree(answer).findtext("Resource") == "/s3/b<i>&amp;"


SIGNED = "AWS4-HMAC-SHA256 Credential=any/20261120/us-east-1/s3/aws4_request"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"authorization": SIGNED}),
        ("?X-Amz-Signature=0&X-Amz-Credential=any", {}),
        ("?x-id=ListBuckets", {"amz_sdk_invocation_id": "1"}),
    ],
)
def test_the_root_is_the_service_for_s3_clients(native: Native, query: str, headers: dict[str, str]) -> None:
    assert tree(native("GET", f"/{query}", **headers)).tag == "ListAllMyBucketsResult"
    assert b"Aisle" in native("GET", f"/{query.replace('X-Amz', 'Y-Amz')}", accept="text/html").body


ALL_USERS = 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'
KNOWN_USERS = 'uri="http://acs.amazonaws.com/groups/global/AuthenticatedUsers"'


@pytest.mark.parametrize(
    ("grants", "acl"),
    [
        ({"read": ALL_USERS}, "public-read"),
        ({"read": ALL_USERS, "write": ALL_USERS}, "public-read-write"),
        ({"read": KNOWN_USERS}, "authenticated-read"),
        ({"full-control": 'id="root"'}, "private"),
        ({"full-control": "id=root", "read": f"id=root, {ALL_USERS}"}, "public-read"),
    ],
)
def test_grants_in_headers_are_taken_where_a_canned_acl_says_the_same(
    native: Native, grants: dict[str, str], acl: str
) -> None:
    headers = {f"x_amz_grant_{name}": value for name, value in grants.items()}
    assert native("PUT", "/s3/granted", **headers).status == 200
    assert native("PUT", "/s3/b?acl", **headers).status == 200
    wanted = native("PUT", "/s3/canned", x_amz_acl=acl)
    assert wanted.status == 200
    granted = [native("GET", f"/s3/{name}?acl").body for name in ("granted", "b", "canned")]
    assert granted[0] == granted[1] == granted[2]


@pytest.mark.parametrize(
    ("headers", "status", "refusal"),
    [
        ({"x_amz_grant_read": 'id="somebody"'}, 501, "NotImplemented"),
        ({"x_amz_grant_write": ALL_USERS}, 501, "NotImplemented"),
        ({"x_amz_grant_read_acp": ALL_USERS}, 501, "NotImplemented"),
        ({"x_amz_grant_read": 'emailAddress="a@example.org"'}, 501, "NotImplemented"),
        ({"x_amz_grant_read": "everybody"}, 400, "InvalidArgument"),
        ({"x_amz_grant_read": ""}, 400, "InvalidArgument"),
        ({"x_amz_grant_fly": ALL_USERS}, 400, "InvalidArgument"),
        ({"x_amz_grant_read": ALL_USERS, "x_amz_acl": "private"}, 400, "InvalidRequest"),
    ],
)
def test_grants_in_headers_that_cannot_be_change_nothing(
    native: Native, headers: dict[str, str], status: int, refusal: str
) -> None:
    before = native.state()
    for target in ("/s3/granted", "/s3/b?acl"):
        answer = native("PUT", target, **headers)
        assert (answer.status, code(answer)) == (status, refusal)
    assert native.state() == before
