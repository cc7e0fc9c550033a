"""What is kept of a write's headers, and how it is told."""

import pytest

from aisle.api.s3.errors import S3Error
from aisle.api.s3.metadata import kept_metadata, parse_tags, refuse_unbuilt, told_metadata
from aisle.model.record import Attributes


def told_of(headers: dict[str, str]) -> dict[str, str]:
    kept = kept_metadata(headers)
    attributes = Attributes(content_type=kept.content_type, user=kept.user, fields=kept.fields)
    return dict(told_metadata(attributes))


def test_nothing_said_is_amazons_content_type() -> None:
    assert told_of({"host": "a", "content-length": "3"}) == {"Content-Type": "binary/octet-stream"}


def test_what_is_said_is_told() -> None:
    said = {
        "content-type": "a/b",
        "expires": "never",
        "x-amz-meta-a-b": "  c",
        "x-amz-website-redirect-location": "/",
    }
    assert {name.lower(): value for name, value in told_of(said).items()} == said


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("gzip", "gzip"),
        ("aws-chunked", None),
        ("AWS-Chunked, gzip", "gzip"),
        ("gzip,aws-chunked,br", "gzip,br"),
        ("gzip, br", "gzip, br"),
    ],
)
def test_of_codings_those_of_the_object_are_kept(sent: str, kept: str | None) -> None:
    assert told_of({"content-encoding": sent}).get("Content-Encoding") == kept


def test_tags_are_told_by_their_number() -> None:
    assert told_of({"x-amz-tagging": "a=1&b="})["x-amz-tagging-count"] == "2"
    assert "x-amz-tagging-count" not in told_of({"x-amz-tagging": ""})


@pytest.mark.parametrize(
    ("text", "tags"), [("", []), ("a=1", [("a", "1")]), ("a%20b=%C3%A4&c=", [("a b", "ä"), ("c", "")])]
)
def test_tags_are_read(text: str, tags: list[tuple[str, str]]) -> None:
    assert parse_tags(text) == tags


@pytest.mark.parametrize(
    "text", ["=1", "a", "a=1&a=2", "k" * 129 + "=1", "a=" + "v" * 257, "&".join(f"k{n}=" for n in range(11))]
)
def test_tags_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_tags(text)
    assert caught.value.code == "InvalidTag"


def test_user_metadata_has_a_limit() -> None:
    kept_metadata({"x-amz-meta-a": "x" * 2047})
    with pytest.raises(S3Error) as caught:
        kept_metadata({"x-amz-meta-a": "x" * 1024, "x-amz-meta-b": "x" * 1023})
    assert caught.value.code == "MetadataTooLarge"


def test_what_objects_cannot_have_is_refused() -> None:
    refuse_unbuilt({"x-amz-meta-a": "1", "x-amz-acl": "private"})
    for name in ("x-amz-server-side-encryption", "x-amz-object-lock-mode", "x-amz-grant-read"):
        with pytest.raises(S3Error) as caught:
            refuse_unbuilt({name: "x"})
        assert caught.value.code == "NotImplemented"
