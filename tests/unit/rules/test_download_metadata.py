import pytest

from aisle.model.record import Attributes
from aisle.rules.download_metadata import content_type, custom_metadata, is_from, source_of
from aisle.rules.download_reply import Reply

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
    reply = Reply(200, {"ETag": '"abc"', "Last-Modified": "D", "x-goog-generation": "17"})
    assert custom_metadata(reply, LINK, {"md5": "0f", "xxhash2": "1"}) == {
        "source": "web",
        "orig_url": LINK,
        "ETag": "abc",
        "Last-Modified": "D",
        "version": "17",
        "md5": "0f",
    }


def test_what_cannot_be_kept_is_left_out() -> None:
    reply = Reply(
        200,
        {"ETag": 'W/"weak"', "Last-Modified": "\x07", "x-amz-version-id": "null", "Content-Type": "a" * 300},
    )
    assert custom_metadata(reply, LINK, {}) == {"source": "web", "orig_url": LINK, "ETag": 'W/"weak"'}
    assert content_type(reply) == ""
    assert (
        sum(map(len, custom_metadata(Reply(200, {"ETag": "e" * 256}), LINK + "x" * 9000, {}).values())) < 2048
    )


def test_an_object_knows_the_link_it_came_from() -> None:
    secret = LINK + "?X-Amz-Signature=1"
    attributes = Attributes(custom=custom_metadata(Reply(200, {}), secret, {}))
    assert is_from(attributes, LINK + "?X-Amz-Signature=2")
    assert not is_from(attributes, LINK)
    assert not is_from(Attributes(), LINK)
