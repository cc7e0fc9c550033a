"""Digests by name, whole and in pieces."""

import pytest

from aisle.errors import Unsupported
from aisle.model.digests import git_blob_kind, git_blob_size, plain_kind
from aisle.model.sections import CHECKSUM_TYPES
from aisle.storage.hashing import DIGEST_KINDS, Digests, NamedDigests, hex_digest, is_digest_kind

# The check values of the catalogues for CRCs, and those of the standards' own tests.
CHECKED = b"123456789"
VALUES = {
    "crc32": "cbf43926",
    "crc32c": "e3069283",
    "crc64nvme": "ae8b14860a799888",
    "md5": "25f9e794323b453885f5181f1b624d0b",
    "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}


@pytest.mark.parametrize("kind", VALUES)
def test_digests_are_those_that_the_world_computes(kind: str) -> None:
    assert hex_digest(kind, CHECKED) == VALUES[kind]


@pytest.mark.parametrize("kind", DIGEST_KINDS)
def test_pieces_give_the_digest_of_the_whole(kind: str) -> None:
    payload = bytes(range(256)) * 9
    for digests in (NamedDigests([kind]), Digests([kind])):
        digests.update([payload[:1], memoryview(payload)[1:700]])
        digests.update([b"", payload[700:]])
        assert digests.hex(kind) == hex_digest(kind, payload)


@pytest.mark.parametrize(
    ("content", "blob"),
    [
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"test content\n", "d670460b4b4aece5915caf5c68d12f560a9fe3e4"),  # as in git's own book
    ],
)
def test_the_id_of_a_blob_is_gits(content: bytes, blob: str) -> None:
    kind = git_blob_kind(len(content))
    assert is_digest_kind(kind)
    assert hex_digest(kind, content) == blob
    digests = NamedDigests([kind])
    digests.update([content[:3], content[3:]])
    assert digests.hex(kind) == blob
    assert (git_blob_size(kind), plain_kind(kind)) == (len(content), "gitblob")


@pytest.mark.parametrize("kind", ["gitblob", "gitblob-", "gitblob-x", "gitblob--1", "sha3"])
def test_a_kind_without_what_it_needs_is_none(kind: str) -> None:
    assert not is_digest_kind(kind)
    with pytest.raises(Unsupported):
        hex_digest(kind, b"")


def test_every_type_that_a_bucket_may_have_can_be_computed() -> None:
    assert {kind for kind in CHECKSUM_TYPES if kind != "none"} <= set(DIGEST_KINDS)


def test_a_digest_of_no_known_kind_is_refused() -> None:
    with pytest.raises(Unsupported):
        hex_digest("md6", b"")
    with pytest.raises(Unsupported):
        NamedDigests(["md6"])
