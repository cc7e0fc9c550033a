"""Pages of S3's listings: with a namespace or without, with names of all kinds."""

import pytest

from aisle.backends.aws_listing import parse_listing
from aisle.backends.provider import RemoteObject
from aisle.errors import SourceFailed

MD5 = "9e107d9d372bb6826bd81d3542a419d6"


def page(inner: str, space: str = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"') -> bytes:
    return f'<?xml version="1.0"?><ListBucketResult{space}>{inner}</ListBucketResult>'.encode()


def entry(key: str, size: str = "7", etag: str = f"&quot;{MD5}&quot;") -> str:
    owner = "<Owner><ID>x</ID><Key>no key</Key></Owner>"
    return (
        f"<Contents>{owner}<Key>{key}</Key><LastModified>2026-11-20T16:13:27.250Z</LastModified>"
        f"<ETag>{etag}</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


@pytest.mark.parametrize("space", ["", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'])
def test_entries_are_told_in_order(space: str) -> None:
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;1</NextContinuationToken>"
    folded = "<CommonPrefixes><Prefix>a%2Fb+c/</Prefix></CommonPrefixes>"
    found = parse_listing(
        page(entry("a%20b%2Bc+d%C3%BC") + entry("z", etag="&quot;x-2&quot;") + folded + more, space)
    )
    modified_ns = 1_795_191_207 * 10**9
    assert found.objects == [
        RemoteObject("a b+c dü", 7, MD5, MD5, modified_ns, {"md5": MD5}),
        RemoteObject("z", 7, "x-2", "x-2", modified_ns, {}),
    ]
    assert (found.prefixes, found.token) == (["a/b c/"], "t&1")


def test_the_last_page_has_no_token() -> None:
    last = "<IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    assert parse_listing(page(last)) == ([], [], "")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html/>", page(entry("a", size="many")), page(entry("a"))[:-5], b"<Error><Code>x</Code></Error>"],
)
def test_what_is_no_page_fails(body: bytes) -> None:
    with pytest.raises(SourceFailed):
        parse_listing(body)
