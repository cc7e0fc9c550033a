from base64 import b64encode

import msgspec
import pytest

from aisle.model.record import Attributes
from aisle.rules.download_metadata import content_type, custom_metadata, is_from, source_of
from aisle.rules.download_reply import Reply, Wanted

LINK = "https://h/x"


@pytest.mark.parametrize(
    ("link", "source"),
    [
        ("https://storage.googleapis.com/b/o", "gcp"),
        ("https://www.googleapis.com/storage/v1/b/x/o/y", "gcp"),
        ("https://www.googleapis.com/other", "web"),
        ("http://b.s3.us-east-1.amazonaws.com/o", "aws"),
        ("https://amazonaws.com.evil.example/o", "web"),
        ("https://acc.blob.core.windows.net/c/o", "azure"),
        ("https://user@Storage.Googleapis.com:443/b/o", "gcp"),
        ("http://127.0.0.1:80/x", "web"),
    ],
)
def test_sources_have_aistores_names(link: str, source: str) -> None:
    assert source_of(link) == source


def test_what_the_source_told_is_kept() -> None:
    reply = Reply(
        200, {"Content-Length": "5", "ETag": '"abc"', "Last-Modified": "D", "x-goog-generation": "17"}
    )
    assert custom_metadata(reply, LINK, {"md5": "0f", "xxhash2": "1"}, size=5) == {
        "source": "web",
        "orig_url": LINK,
        "Content-Length": "5",
        "ETag": "abc",
        "Last-Modified": "D",
        "version": "17",
        "md5": "0f",
    }


def test_digests_that_were_announced_are_kept_and_what_was_checked_decides() -> None:
    crc32c, md5 = "c9942037", "5eb63bbbe01eeed093cb22bb8f5acdc3"
    reply = Reply(200, {"x-goog-hash": "crc32c=yZQgNw==,md5=XrY7u+Ae7tCTyyK7j1rNww=="})
    kept = custom_metadata(reply, LINK, {"xxhash2": "1", "crc32c": crc32c}, size=11)
    assert kept == {"source": "web", "orig_url": LINK, "orig_size": "11", "crc32c": crc32c, "md5": md5}
    wanted = msgspec.structs.replace(reply, wanted=Wanted("md5:" + "0" * 32))
    kept = custom_metadata(wanted, LINK, {"xxhash2": "1", "md5": "0" * 32}, size=11)
    assert (kept["md5"], kept["crc32c"]) == ("0" * 32, crc32c)
    blob = Reply(200, {}, Wanted("gitblob:" + "a" * 40))
    assert custom_metadata(blob, LINK, {"gitblob-11": "a" * 40}, size=11)["gitblob"] == "a" * 40


def test_the_commit_of_a_dataset_is_its_version() -> None:
    # Also where the store that the hub redirects to tells a version of its own.
    reply = Reply(200, {"x-amz-version-id": "v", "X-Repo-Commit": "c" * 40})
    assert custom_metadata(reply, LINK, {}, size=0)["version"] == "c" * 40


def test_what_cannot_be_kept_is_left_out() -> None:
    reply = Reply(
        200,
        {"ETag": 'W/"weak"', "Last-Modified": "\x07", "x-amz-version-id": "null", "Content-Type": "a" * 300},
    )
    assert custom_metadata(reply, LINK, {}, size=7) == {
        "source": "web",
        "orig_url": LINK,
        "orig_size": "7",
        "ETag": 'W/"weak"',
    }
    assert content_type(reply) == ""


def test_all_of_it_together_stays_below_what_an_object_may_have() -> None:
    fields = {
        **{name: name[0] * 256 for name in ("ETag", "Last-Modified", "x-goog-generation")},
        "Digest": f"sha-512={b64encode(bytes(64)).decode()}, sha-256={b64encode(bytes(32)).decode()}",
        "Content-MD5": "XrY7u+Ae7tCTyyK7j1rNww==",
    }
    kept = custom_metadata(Reply(200, fields), LINK + "x" * 9000, {}, size=10**15)
    assert 1900 < sum(len(name) + len(value) for name, value in kept.items()) <= 2048


def test_an_object_knows_the_link_it_came_from() -> None:
    secret = LINK + "?X-Amz-Signature=1"
    attributes = Attributes(custom=custom_metadata(Reply(200, {}), secret, {}, size=0))
    assert is_from(attributes, LINK + "?X-Amz-Signature=2")
    assert not is_from(attributes, LINK)
    assert not is_from(Attributes(), LINK)
