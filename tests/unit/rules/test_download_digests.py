"""What sources announce about digests, in each of their ways."""

import hashlib
from base64 import b64encode

import pytest

from aisle.rules.download_digests import announced, linked_size, sized, to_check, wanted_digest

BODY = b"hello world"
MD5 = hashlib.md5(BODY).hexdigest()
SHA1 = hashlib.sha1(BODY).hexdigest()
SHA256 = hashlib.sha256(BODY).hexdigest()
SHA512 = hashlib.sha512(BODY).hexdigest()
CRC32C = "c9942037"
BLOB = hashlib.sha1(b"blob 11\0" + BODY).hexdigest()


def b64(digest: str) -> str:
    return b64encode(bytes.fromhex(digest)).decode()


AMAZON = {"x-amz-request-id": "1", "ETag": f'"{MD5}"'}
HUB = {"X-Repo-Commit": "c" * 40}


@pytest.mark.parametrize(
    ("fields", "digests"),
    [
        ({"Content-MD5": b64(MD5)}, {"md5": MD5}),
        ({"Content-MD5": "not base64!"}, {}),
        ({"Content-MD5": "AAAA"}, {}),
        ({"Digest": f"MD5={b64(MD5)},unixsum=30637"}, {"md5": MD5}),
        ({"Digest": f"SHA={b64(SHA1)}, sha-256={b64(SHA256)}"}, {"sha1": SHA1, "sha256": SHA256}),
        ({"Digest": f"sha-256={SHA256}"}, {}),  # hex is not what it has to be
        ({"Repr-Digest": f"sha-512=:{b64(SHA512)}:"}, {"sha512": SHA512}),
        ({"Repr-Digest": f"md5=:{b64(MD5)}:;a=1, sha-256=:{b64(SHA256)}:"}, {"md5": MD5, "sha256": SHA256}),
        ({"Repr-Digest": f"sha-256={b64(SHA256)}"}, {}),
        ({"Repr-Digest": f"SHA-256=:{b64(SHA256)}:"}, {}),  # keys of such dictionaries are in lower case
        ({"Content-Digest": f"sha-256=:{b64(SHA256)}:"}, {"sha256": SHA256}),
        ({"x-goog-hash": f"crc32c={b64(CRC32C)},md5={b64(MD5)}"}, {"crc32c": CRC32C, "md5": MD5}),
        # Google unpacks what it stores packed, and tells the digests of what it stores.
        ({"x-goog-hash": f"md5={b64(MD5)}", "x-goog-stored-content-encoding": "gzip"}, {}),
        ({"x-goog-hash": f"md5={b64(MD5)}", "x-goog-stored-content-encoding": "identity"}, {"md5": MD5}),
        ({"x-amz-checksum-sha256": b64(SHA256)}, {"sha256": SHA256}),
        ({"x-amz-checksum-crc32c": f"{b64(CRC32C)}-3"}, {}),
        ({"x-amz-checksum-crc32c": b64(CRC32C), "x-amz-checksum-type": "COMPOSITE"}, {}),
        (AMAZON, {"md5": MD5}),
        ({"Server": "AmazonS3", "ETag": f'"{MD5}"'}, {"md5": MD5}),
        ({"ETag": f'"{MD5}"'}, {}),  # somebody else's tag may be anything
        ({**AMAZON, "ETag": f'"{MD5}-7"'}, {}),
        ({**AMAZON, "x-amz-server-side-encryption": "AES256"}, {"md5": MD5}),
        ({**AMAZON, "x-amz-server-side-encryption": "aws:kms"}, {}),
        ({**AMAZON, "x-amz-server-side-encryption-customer-algorithm": "AES256"}, {}),
        ({**AMAZON, "x-amz-storage-class": "EXPRESS_ONEZONE"}, {}),
        ({**HUB, "X-Linked-Etag": f'"{SHA256}"', "ETag": f'"{MD5}-2"'}, {"sha256": SHA256}),
        ({**HUB, "ETag": f'"{BLOB}"'}, {"gitblob-11": BLOB}),
        ({**HUB, "ETag": f'W/"{BLOB}"'}, {"gitblob-11": BLOB}),
        ({**HUB, "ETag": f'"{SHA256}"'}, {}),  # the tag of a store behind the hub, not a digest of the bytes
        ({"X-Linked-Etag": f'"{SHA256}"'}, {}),
        ({"Content-Length": "11"}, {}),
    ],
)
def test_digests_are_read(fields: dict[str, str], digests: dict[str, str]) -> None:
    assert announced(fields, status=200, size=11) == digests


def test_what_is_about_the_body_is_not_the_objects_when_a_part_comes() -> None:
    fields = {
        "Content-MD5": b64(MD5),
        "Content-Digest": f"sha-256=:{b64(SHA256)}:",
        "x-amz-checksum-sha1": b64(SHA1),
        "Repr-Digest": f"sha-512=:{b64(SHA512)}:",
    }
    assert announced(fields, status=206, size=11) == {"sha512": SHA512}


def test_an_id_of_a_blob_needs_the_size() -> None:
    assert announced({**HUB, "ETag": f'"{BLOB}"'}, status=200, size=None) == {}
    assert wanted_digest(f"gitblob:{BLOB.upper()}", None) == {"gitblob": BLOB}
    assert wanted_digest(f"gitblob:{BLOB}", 11) == sized({"gitblob": BLOB}, 11) == {"gitblob-11": BLOB}
    assert wanted_digest(f"sha256:{SHA256}", None) == {"sha256": SHA256}


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [
        ("md5 crc32c", "crc32c"),
        ("md5 sha256", "sha256"),
        ("sha512 sha256 sha1", "sha1"),
        ("md5", "md5"),
        ("md5 gitblob-11", "gitblob-11"),
        ("crc64nvme gitblob-11", "crc64nvme"),
    ],
)
def test_the_cheapest_is_checked_and_an_md5_only_if_there_is_nothing_else(kinds: str, kind: str) -> None:
    assert to_check(dict.fromkeys(kinds.split(), "0")) == {kind: "0"}
    assert to_check({}) == {}


def test_the_hub_tells_the_size_of_what_it_links_to() -> None:
    assert linked_size({**HUB, "X-Linked-Size": "12"}) == 12
    assert linked_size({"X-Linked-Size": "12"}) is None
    assert linked_size({**HUB, "X-Linked-Size": "9" * 5000}) is None
    assert linked_size({**HUB, "X-Linked-Size": "many"}) is None
