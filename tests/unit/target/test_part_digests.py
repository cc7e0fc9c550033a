"""Digests of parts and of the whole that they make."""

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.storage.hashing import hex_digest
from aisle.target.part_digests import COMBINABLE, Span, combined, composite, multipart_etag

PARTS = st.lists(st.binary(max_size=300), min_size=1, max_size=6)


@given(PARTS, st.sampled_from(sorted(COMBINABLE)))
def test_combined_checksums_are_those_of_the_bytes_together(parts: list[bytes], kind: str) -> None:
    spans = [Span(hex_digest(kind, part), len(part)) for part in parts]
    assert combined(kind, spans) == hex_digest(kind, b"".join(parts))


def test_the_entity_tag_is_amazons() -> None:
    # `README.md` and `LICENSE` of the document on S3 compatibility; the tag by Amazon's rule.
    md5s = ["9bc8111718e22a34f9fa6a099da1f3df", "f70a21a0c5fa26a93820b0bef5be7619"]
    assert multipart_etag(md5s) == "c6cd2c9b165f5f5551fe8d142def194d-2"


@pytest.mark.parametrize("kind", ["sha1", "sha256", "crc32"])
def test_composite_checksums_are_of_the_parts_checksums(kind: str) -> None:
    parts = [b"a" * 100, b"", b"b"]
    digests = [hex_digest(kind, part) for part in parts]
    joined = b"".join(map(bytes.fromhex, digests))
    wanted = f"{zlib.crc32(joined):08x}" if kind == "crc32" else hashlib.new(kind, joined).hexdigest()
    assert composite(kind, digests) == f"{wanted}-3"
