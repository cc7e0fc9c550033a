"""What S3 shows as entity tag."""

import re

import pytest

from aisle.api.s3.etags import bare_etag, s3_etag
from aisle.api.s3.listing_entries import Spelling, contents
from aisle.model.record import Attributes, Files, Record, encode_record
from aisle.storage.engine import Entry

MD5 = "5d41402abc4b2a76b9719d911017c592"


def record(**attributes: object) -> Record:
    return Record(5, 1_795_191_158_000_000_001, Attributes(**attributes), b"g" * 16, 1, Files(()))  # type: ignore[arg-type]


CASES = [
    ({"digests": {"md5": MD5}}, MD5),
    ({"checksum_type": "md5", "checksum_value": MD5}, MD5),
    ({"checksum_type": "xxhash2", "checksum_value": "0123456789abcdef"}, "0123456789abcdef-1"),
    ({"etag": f"{MD5}-7", "digests": {"md5": "0" * 32}}, f"{MD5}-7"),
    ({"checksum_type": "crc32c", "checksum_value": "01234567"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("attributes", "tag"), CASES)
def test_only_an_md5_looks_like_one(attributes: dict[str, object], tag: str | None) -> None:
    shown = bare_etag(record(**attributes))
    assert shown == tag or (tag is None and re.fullmatch("[0-9a-f]{32}-1", shown))
    assert s3_etag(record(**attributes)) == f'"{shown}"'


@pytest.mark.parametrize(("attributes", "tag"), CASES)
def test_listings_show_the_same(attributes: dict[str, object], tag: str | None) -> None:
    written = record(**attributes)
    entry = Entry(b"k", encode_record(written))
    assert (
        f"<ETag>&quot;{bare_etag(written)}&quot;</ETag>" in contents([entry], "", Spelling(is_url=False))[0]
    )


def test_another_write_has_another_tag() -> None:
    first, second = record(), Record(5, 1, Attributes(), b"g" * 16, 2, Files(()))
    assert bare_etag(first) == bare_etag(record())
    assert bare_etag(first) != bare_etag(second)


def test_a_tag_from_elsewhere_breaks_no_document() -> None:
    entry = Entry(b"k", encode_record(record(etag="<&>")))
    shown = contents([entry], "", Spelling(is_url=False))[0]
    assert "<ETag>&quot;&lt;&amp;&gt;&quot;</ETag>" in shown
