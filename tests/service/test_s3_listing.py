"""Listings through S3: pages against a model, awkward names, and every way of asking wrongly."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisle.model.names import Bucket, ObjectName
from aisle.model.record import Attributes
from service.calling import Answer, Native
from service.test_s3_buckets import code, tree

NAMES = st.lists(st.text(alphabet="ab/.é&+ %", min_size=1, max_size=6), max_size=25, unique=True)


def fill(native: Native, names: list[str]) -> None:
    write(native, {name.encode(): Attributes() for name in names})


def write(native: Native, objects: dict[bytes, Attributes]) -> None:
    number = native.buckets.find(Bucket("b")).number

    async def all_of_them() -> None:
        for name, attributes in objects.items():
            await native.engine.put_small(ObjectName(number, name), b"x", attributes)

    native.runner.run(all_of_them())


def model(
    names: list[str], *, prefix: str = "", delimiter: str = "", after: str = ""
) -> tuple[list[str], list[str]]:
    """The keys and common prefixes that a whole listing has, by Amazon's description of it."""
    keys, collapsed = [], []
    for name in sorted(names, key=str.encode):
        if not name.startswith(prefix):
            continue
        end = name.find(delimiter, len(prefix)) if delimiter else -1
        if end < 0:
            if name.encode() > after.encode():
                keys.append(name)
            continue
        common = name[: end + len(delimiter)]
        if name.encode() > after.encode() and common != after and common not in collapsed:
            collapsed.append(common)
    return keys, collapsed


def shown(root: ElementTree.Element, *, is_url: bool = False) -> tuple[list[str], list[str]]:
    decode = unquote if is_url else str
    keys = [decode(each.findtext("Key") or "") for each in root.iter("Contents")]
    return keys, [decode(each.findtext("Prefix") or "") for each in root.iter("CommonPrefixes")]


def ask(native: Native, **query: Any) -> ElementTree.Element:
    parameters = "&".join(f"{name.replace('_', '-')}={quote(str(value))}" for name, value in query.items())
    answer = native("GET", f"/s3/b?{parameters}")
    assert answer.status == 200, answer.body
    return tree(answer)


def pages(native: Native, version: int, **query: Any) -> list[ElementTree.Element]:
    """All pages of a listing, continued as a client does."""
    found = [ask(native, list_type=version, **query)]
    while found[-1].findtext("IsTruncated") == "true":
        assert len(found) < 100
        if version == 2:
            more = {"continuation_token": found[-1].findtext("NextContinuationToken") or ""}
        else:
            keys, collapsed = shown(found[-1], is_url="encoding_type" in query)
            last = max(keys + collapsed, key=str.encode)
            marker = found[-1].findtext("NextMarker")
            assert (marker is not None) is bool(query.get("delimiter"))
            if marker is not None:
                assert (unquote(marker) if "encoding_type" in query else marker) == last
            more = {"marker": last}
        found.append(ask(native, list_type=version, **query, **more))
    assert found[-1].find("NextContinuationToken") is None
    return found


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    names=NAMES,
    prefix=st.sampled_from(["", "a", "a/", "/", "é", "b+"]),
    delimiter=st.sampled_from(["", "/", "a", "//", ".", "é"]),
    keys_max=st.integers(1, 8),
    version=st.sampled_from([1, 2]),
    is_url=st.booleans(),
)
def test_the_pages_of_a_listing_are_the_whole_listing(
    names: list[str], prefix: str, delimiter: str, keys_max: int, version: int, is_url: bool
) -> None:
    native = Native()
    native.bucket("b")
    fill(native, names)
    query: dict[str, Any] = {"prefix": prefix, "delimiter": delimiter, "max_keys": keys_max}
    if is_url:
        query["encoding_type"] = "url"
    found = pages(native, version, **query)
    native.close()
    keys: list[str] = []
    collapsed: list[str] = []
    for page in found:
        some, prefixes = shown(page, is_url=is_url)
        if page is not found[-1]:
            assert len(some) + len(prefixes) == keys_max
        if version == 2:
            assert page.findtext("KeyCount") == str(len(some) + len(prefixes))
        keys += some
        collapsed += prefixes
    assert (keys, collapsed) == model(names, prefix=prefix, delimiter=delimiter)


@settings(deadline=None, max_examples=40)
@given(names=NAMES, after=st.text(alphabet="ab/.é&+ %", max_size=6), delimiter=st.sampled_from(["", "/"]))
def test_a_listing_begins_behind_what_it_is_told(names: list[str], after: str, delimiter: str) -> None:
    native = Native()
    native.bucket("b")
    fill(native, names)
    second = shown(ask(native, list_type=2, start_after=after, delimiter=delimiter))
    first = shown(ask(native, marker=after, delimiter=delimiter))
    native.close()
    assert second == first == model(names, delimiter=delimiter, after=after)


def test_an_object_is_told_with_all_that_amazon_tells(native: Native) -> None:
    native.put("b/a", b"12345")
    entry = next(ask(native).iter("Contents"))
    assert [child.tag for child in entry] == ["Key", "LastModified", "ETag", "Size", "Owner", "StorageClass"]
    head = native("HEAD", "/v1/objects/b/a?provider=ais")
    assert entry.findtext("Size") == "5"
    assert entry.findtext("StorageClass") == "STANDARD"
    assert entry.findtext("Owner/ID") == "root"
    assert entry.findtext("ETag") == f'"{head.headers["ais-checksum-value"]}-1"'
    assert (entry.findtext("LastModified") or "").startswith("2026-11-20T16:12:38.0")
    assert next(ask(native, list_type=2).iter("Contents")).find("Owner") is None
    assert next(ask(native, list_type=2, fetch_owner="true").iter("Contents")).find("Owner") is not None


def test_an_md5_is_the_entity_tag_wherever_it_is_kept(native: Native) -> None:
    md5 = "5d41402abc4b2a76b9719d911017c592"
    objects = {
        b"digest": Attributes(checksum_type="xxhash2", checksum_value="0" * 16, digests={"md5": md5}),
        b"checksum": Attributes(checksum_type="md5", checksum_value=md5),
        b"own": Attributes(etag=f"{md5}-2", digests={"md5": "0" * 32}),
        b"unknown": Attributes(),
    }
    write(native, objects)
    tags = {each.findtext("Key"): each.findtext("ETag") for each in ask(native).iter("Contents")}
    assert (tags["digest"], tags["checksum"], tags["own"]) == (f'"{md5}"', f'"{md5}"', f'"{md5}-2"')
    assert (tags["unknown"] or "").endswith('-1"')


def test_what_was_asked_is_repeated(native: Native) -> None:
    native.put("b/x+y/1")
    root = ask(native, list_type=2, prefix="x+", delimiter="/", start_after="a b", max_keys=7)
    told = {child.tag: child.text for child in root if not len(child)}
    assert told == {
        "Name": "b",
        "Prefix": "x+",
        "Delimiter": "/",
        "StartAfter": "a b",
        "MaxKeys": "7",
        "KeyCount": "1",
        "IsTruncated": "false",
    }
    root = ask(native, prefix="x+", delimiter="/", marker="a b", encoding_type="url")
    told = {child.tag: child.text for child in root if not len(child)}
    assert told == {
        "Name": "b",
        "Prefix": "x%2B",
        "Delimiter": "/",
        "Marker": "a%20b",
        "MaxKeys": "1000",
        "EncodingType": "url",
        "IsTruncated": "false",
    }


def test_a_page_of_no_keys_is_whole(native: Native) -> None:
    native.put("b/a")
    for version in (1, 2):
        root = ask(native, list_type=version, max_keys=0)
        assert (root.findtext("IsTruncated"), root.findtext("MaxKeys")) == ("false", "0")
        assert shown(root) == ([], [])


def test_a_page_has_at_most_a_thousand_names(native: Native) -> None:
    fill(native, [f"n{number:05}" for number in range(1001)])
    root = ask(native, list_type=2, max_keys=5000)
    assert (root.findtext("MaxKeys"), root.findtext("KeyCount")) == ("1000", "1000")
    token = root.findtext("NextContinuationToken") or ""
    last = ask(native, list_type=2, continuation_token=token, start_after="n99")
    assert shown(last)[0] == ["n01000"]
    assert last.findtext("ContinuationToken") == token


@pytest.mark.parametrize("name", ["a//b", "dir/", "/lead", "a%b", "ü", "a b", "<&>\"'", "tab\t", "line\nend"])
def test_awkward_names_come_back_as_they_were(native: Native, name: str) -> None:
    fill(native, [name, "plain"])
    assert name in shown(ask(native))[0]
    assert name in shown(ask(native, encoding_type="url"), is_url=True)[0]
    assert shown(ask(native, prefix=name))[0] == [name]


def test_names_that_xml_does_not_know_need_the_other_spelling(native: Native) -> None:
    fill(native, ["a\x01b", "c\x00d", "e\rf"])
    assert shown(ask(native, encoding_type="url"), is_url=True)[0] == ["a\x01b", "c\x00d", "e\rf"]
    plain = native("GET", "/s3/b").body
    assert b"<Key>a&#x1;b</Key>" in plain
    assert shown(ask(native, prefix="e"))[0] == ["e\rf"]


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ("max-keys=-1", "InvalidArgument"),
        ("max-keys=many", "InvalidArgument"),
        ("max-keys=2147483648", "InvalidArgument"),
        ("max-keys=%D9%A3", "InvalidArgument"),
        ("encoding-type=xml", "InvalidArgument"),
        ("list-type=3", "InvalidArgument"),
        ("list-type=2&continuation-token=", "InvalidArgument"),
        ("list-type=2&continuation-token=nonsense", "InvalidArgument"),
        ("list-type=2&continuation-token=%C3%BC", "InvalidArgument"),
        ("list-type=2&continuation-token=AQ", "InvalidArgument"),
    ],
)
def test_listings_that_cannot_be_are_refused(native: Native, query: str, refusal: str) -> None:
    answer = native("GET", f"/s3/b?{query}")
    assert (answer.status, code(answer)) == (400, refusal)


def test_a_token_continues_the_listing_that_it_came_from_and_no_other(native: Native) -> None:
    native.bucket("other")
    fill(native, ["a/1", "a/2", "b"])
    token = ask(native, list_type=2, max_keys=1, prefix="a").findtext("NextContinuationToken") or ""

    def status(target: str) -> int:
        return native("GET", f"{target}list-type=2&continuation-token={token}").status

    assert status("/s3/b?prefix=a&") == 200
    assert [status(f"/s3/{wrong}") for wrong in ("b?", "b?prefix=a&delimiter=/&", "other?prefix=a&")] == [
        400
    ] * 3
    raw = bytearray(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[-1] ^= 1
    token = urlsafe_b64encode(raw).rstrip(b"=").decode()
    assert status("/s3/b?prefix=a&") == 400


def test_a_token_goes_on_behind_a_key_that_is_gone(native: Native) -> None:
    fill(native, ["a", "b", "c"])
    token = ask(native, list_type=2, max_keys=2).findtext("NextContinuationToken")
    native("DELETE", "/v1/objects/b/b?provider=ais")
    fill(native, ["b0"])
    assert shown(ask(native, list_type=2, continuation_token=token))[0] == ["b0", "c"]


def test_listing_no_bucket_is_refused(native: Native) -> None:
    answer: Answer = native("GET", "/s3/nobody?list-type=2")
    assert (answer.status, code(answer)) == (404, "NoSuchBucket")
    assert tree(answer).findtext("BucketName") == "nobody"
