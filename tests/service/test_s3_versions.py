"""Listings of versions through S3: of each object the one that there is, in the pages of a plain listing."""

from typing import Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.calling import Native
from service.test_s3_buckets import code, tree
from service.test_s3_listing import NAMES, ask, fill, pages, shown


def versions(native: Native, **query: Any) -> ElementTree.Element:
    """A page of the versions in the bucket `b`."""
    parameters = "".join(f"&{name.replace('_', '-')}={quote(str(value))}" for name, value in query.items())
    answer = native("GET", f"/s3/b?versions{parameters}")
    assert answer.status == 200, answer.body
    return tree(answer)


def listed(root: ElementTree.Element, *, is_url: bool = False) -> tuple[list[str], list[str]]:
    """Keys and common prefixes of a page."""
    decode = unquote if is_url else str
    keys = [decode(each.findtext("Key") or "") for each in root.iter("Version")]
    return keys, [decode(each.findtext("Prefix") or "") for each in root.iter("CommonPrefixes")]


def version_pages(native: Native, *, is_url: bool, **query: Any) -> list[ElementTree.Element]:
    """All pages of a listing, continued as a client does: with the markers as they were told."""
    if is_url:
        query["encoding_type"] = "url"
    found = [versions(native, **query)]
    while found[-1].findtext("IsTruncated") == "true":
        assert len(found) < 100
        marker = found[-1].findtext("NextKeyMarker") or ""
        more = {"key_marker": unquote(marker) if is_url else marker}
        version = found[-1].findtext("NextVersionIdMarker")
        keys, collapsed = listed(found[-1], is_url=is_url)
        assert more["key_marker"] == max(keys + collapsed, key=str.encode)
        assert version == ("null" if more["key_marker"] in keys else None)
        if version is not None:
            more["version_id_marker"] = version
        found.append(versions(native, **query, **more))
        assert found[-1].findtext("KeyMarker") == marker
        assert (found[-1].findtext("VersionIdMarker") or None) == version
    assert (found[-1].find("NextKeyMarker"), found[-1].find("NextVersionIdMarker")) == (None, None)
    return found


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    names=NAMES,
    prefix=st.sampled_from(["", "a", "a/", "/", "é", "b+"]),
    delimiter=st.sampled_from(["", "/", "a", "//", ".", "é"]),
    keys_max=st.integers(1, 8),
    is_url=st.booleans(),
)
def test_the_pages_of_versions_are_those_of_the_plain_listing(
    names: list[str], prefix: str, delimiter: str, keys_max: int, is_url: bool
) -> None:
    native = Native()
    native.bucket("b")
    fill(native, names)
    query: dict[str, Any] = {"prefix": prefix, "delimiter": delimiter, "max_keys": keys_max}
    plain = [shown(page) for page in pages(native, 2, **query)]
    found = [listed(page, is_url=is_url) for page in version_pages(native, is_url=is_url, **query)]
    native.close()
    assert found == plain


def test_a_version_is_told_with_all_that_amazon_tells(native: Native) -> None:
    native.put("b/a", b"before")
    native.put("b/a", b"12345")
    root = versions(native)
    assert root.tag == "ListVersionsResult"
    (entry,) = root.iter("Version")
    (plain,) = ask(native).iter("Contents")
    assert {child.tag for child in entry} - {child.tag for child in plain} == {"VersionId", "IsLatest"}
    assert (entry.findtext("VersionId"), entry.findtext("IsLatest")) == ("null", "true")
    for same in ("Key", "LastModified", "ETag", "Size", "StorageClass", "Owner/ID", "Owner/DisplayName"):
        assert entry.findtext(same) == plain.findtext(same) != "", same
    assert entry.findtext("Size") == "5"


def test_what_was_asked_of_versions_is_repeated(native: Native) -> None:
    native.put("b/x+y/1")
    query = {"prefix": "x+", "delimiter": "/", "key_marker": "a b", "version_id_marker": "null"}
    root = versions(native, **query, max_keys=7, encoding_type="url")
    assert {child.tag: child.text for child in root if not len(child)} == {
        "Name": "b",
        "Prefix": "x%2B",
        "KeyMarker": "a%20b",
        "VersionIdMarker": "null",
        "MaxKeys": "7",
        "Delimiter": "/",
        "EncodingType": "url",
        "IsTruncated": "false",
    }
    assert listed(root) == ([], ["x%2By/"])


def test_an_empty_bucket_and_a_page_of_no_keys_have_no_versions(native: Native) -> None:
    assert (versions(native).findtext("IsTruncated"), listed(versions(native))) == ("false", ([], []))
    native.put("b/a")
    root = versions(native, max_keys=0)
    assert (root.findtext("IsTruncated"), listed(root)) == ("false", ([], []))
    native("DELETE", "/s3/b/a")
    assert native("GET", "/s3/b?versions").body.count(b"DeleteMarker") == 0
    assert listed(versions(native)) == ([], [])


@pytest.mark.parametrize(
    "query",
    [
        "max-keys=-1",
        "encoding-type=xml",
        "version-id-marker=null",
        "key-marker=&version-id-marker=null",
        "key-marker=a&version-id-marker=7",
    ],
)
def test_listings_of_versions_that_cannot_be_are_refused(native: Native, query: str) -> None:
    native.put("b/a")
    answer = native("GET", f"/s3/b?versions&{query}")
    assert (answer.status, code(answer)) == (400, "InvalidArgument")


def test_versions_of_no_bucket_are_refused(native: Native) -> None:
    answer = native("GET", "/s3/nobody?versions")
    assert (answer.status, code(answer)) == (404, "NoSuchBucket")


def test_the_id_null_means_the_object_that_there_is_and_any_other_none(native: Native) -> None:
    native.put("b/a", b"12345")
    assert native("GET", "/s3/b/a?versionId=null").body == b"12345"
    head = native("HEAD", "/s3/b/a?versionId=null")
    assert (head.status, head.headers["etag"]) == (200, native("HEAD", "/s3/b/a").headers["etag"])
    for method in ("GET", "HEAD", "DELETE"):
        assert native(method, "/s3/b/a?versionId=7").status == 404, method
    assert code(native("GET", "/s3/b/missing?versionId=null")) == "NoSuchKey"
    assert listed(versions(native))[0] == ["a"]
    assert native("DELETE", "/s3/b/a?versionId=null").status == 204
    assert listed(versions(native))[0] == []


def test_versions_are_removed_many_at_once_and_told_with_their_ids(native: Native) -> None:
    fill(native, ["a", "b", "c"])
    asked = "".join(
        f"<Object><Key>{key}</Key>{version}</Object>"
        for key, version in (
            ("a", "<VersionId>null</VersionId>"),
            ("b", "<VersionId>7</VersionId>"),
            ("c", ""),
        )
    )
    answer = tree(native("POST", "/s3/b?delete", f"<Delete>{asked}</Delete>".encode()))
    told = [(each.tag, each.findtext("Key"), each.findtext("VersionId")) for each in answer]
    assert told == [("Deleted", "a", "null"), ("Error", "b", "7"), ("Deleted", "c", None)]
    assert answer.findtext("Error/Code") == "NoSuchVersion"
    assert listed(versions(native))[0] == ["b"]
