"""Addresses of datasets on web servers, the names of their buckets, and manifests."""

import pytest

from aisle.errors import BadRequest, SourceFailed
from aisle.model.names import parse_bucket
from aisle.rules.http_datasets import Listed, bucket_name, dataset_url, object_link, parse_manifest

URL = "https://a.org/b/c/imagenet/"


def test_the_address_of_a_dataset_ends_with_a_slash() -> None:
    assert dataset_url("HTTPS://A.org:8080/b/C") == "https://a.org:8080/b/C/"
    assert dataset_url("http://a") == "http://a/"
    assert dataset_url("http://a/b c/") == "http://a/b%20c/"


@pytest.mark.parametrize(
    "url",
    ["a.org/b", "ftp://a/b/", "https:///b/", "https://u:p@a/b/", "https://a/b/?x=1", "https://a/#x", ""],
)
def test_what_is_no_address_of_a_folder_is_refused(url: str) -> None:
    with pytest.raises(BadRequest):
        dataset_url(url)


def test_a_mistake_is_told_without_the_password() -> None:
    with pytest.raises(BadRequest) as raised:
        dataset_url("https://user:secret@a/b/")
    assert "secret" not in str(raised.value)


def test_a_bucket_is_named_after_host_and_folders() -> None:
    assert bucket_name(URL) == "a.org_b_c_imagenet"
    assert bucket_name("http://a.org/b/c/imagenet") == "http_a.org_b_c_imagenet"
    assert bucket_name("https://a.org/") == "a.org"


def test_no_two_datasets_have_buckets_of_the_same_name() -> None:
    urls = [
        "https://a/b/c/",
        "http://a/b/c/",
        "https://a/b_c/",
        "https://a/b/C/",
        "https://a_b/c/",
        "https://http/a/b/c/",
        "https://a/b//c/",
        "https://a/b%2Fc/",
        "https://a/b/c..d/",
        "https://a:8080/b/c/",
        "https://a/b--aws/",
        "https://a/" + "x" * 60 + "/y/",
        "https://a/" + "x" * 60 + "/z/",
        "https://[::1]:80/b/",
        "https://a/%C3%A4/",
        "https://a/b/.../",
    ]
    names = [bucket_name(url) for url in urls]
    assert len(set(names)) == len(urls)
    for name in names:
        assert parse_bucket(name, "ht").cname == f"ht://{name}"


def test_an_object_is_found_below_the_folder_only() -> None:
    assert object_link(URL, "a/b c#1?.tar") == f"{URL}a/b%20c%231%3F.tar"
    assert object_link(URL, "ä%20") == f"{URL}%C3%A4%2520"
    for key in ("..", "../x", "a/../../x", "a//b", "a/", "/a", "", ".", "a/./b", "a\\..\\b", "a\0"):
        assert object_link(URL, key) is None, key


@pytest.mark.parametrize(
    "body",
    [
        b"b\n# no\n\nc/1\r\n./a\nb\n",
        b'["b", "a", "c/1"]',
        b' {"objects": [{"key": "b", "size": -5}, {"file": "c/1"}, {"path": "a", "size": "7"}]}',
        b"https://a.org/b/c/imagenet/a\nb\nhttps://A.org/b/c/imagenet/c/1\n",
    ],
)
def test_manifests_name_files(body: bytes) -> None:
    assert parse_manifest(body, URL, link=URL) == [Listed("a"), Listed("b"), Listed("c/1")]


def test_a_manifest_may_tell_sizes() -> None:
    assert parse_manifest(b'{"files": [{"name": "a", "size": 7}]}', URL, link=URL) == [Listed("a", 7)]


@pytest.mark.parametrize(
    "body",
    [
        b"../x",
        b"\xff",
        b"{",
        b"{}",
        b'{"files": 1}',
        b"[1]",
        b"[{}]",
        b'[""]',
        b"https://a.org/b/other/x",
        b"https://b.org/b/c/imagenet/x",
        b"http://a.org/b/c/imagenet/x",
        b"a" * 1025,
    ],
)
def test_a_manifest_that_names_other_things_is_refused(body: bytes) -> None:
    with pytest.raises(SourceFailed, match="manifest"):
        parse_manifest(body, URL, link=URL)
