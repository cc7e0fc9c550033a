"""Whatever is sent to S3's paths is answered in S3's words, and never by a failure of ours."""

from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aisle.api.s3.errors import CODES
from aisle.api.s3.subresources import NAMES
from aisle.httpd.request import Request
from aisle.httpd.response import FileBody, Response
from service.calling import Chunks, Native

# What the server lets through in a target: visible ASCII, and whatever percent-escapes stand for.
PIECES = st.one_of(
    st.sampled_from(["b", "k", "/", "//", "%2F", "%00", "%FF", "%C3%BC", "%", "%zz", "+", "..", ".", "~"]),
    st.text(alphabet=[chr(code) for code in range(0x21, 0x7F) if chr(code) not in "?#"], max_size=8),
)
TARGETS = st.lists(PIECES, max_size=6).map("".join)
KNOWN = [*sorted(NAMES), "list-type", "prefix", "delimiter", "marker", "max-keys", "continuation-token"]
KNOWN += ["start-after", "encoding-type", "fetch-owner", "versionId", "uploadId", "partNumber", "x-id"]
KNOWN += ["key-marker", "version-id-marker"]
PAIRS = st.tuples(st.one_of(st.sampled_from(KNOWN), PIECES), st.one_of(st.just(""), PIECES, st.just("2")))
QUERIES = st.lists(PAIRS.map("=".join), max_size=4).map("&".join)
FIELDS = st.dictionaries(
    st.sampled_from(
        [
            "x_amz_acl",
            "x_amz_copy_source",
            "range",
            "if_match",
            "if_none_match",
            "content_md5",
            "x_amz_content_sha256",
            "x_amz_tagging",
            "x_amz_checksum_crc32",
            "x_amz_metadata_directive",
        ]
    ),
    st.text(alphabet=[chr(code) for code in range(0x20, 0x7F)], max_size=12),
    max_size=3,
)
BODIES = st.one_of(st.just(b""), st.binary(max_size=20), st.sampled_from([b"<Delete/>", b"<a><b/></a>"]))


@pytest.fixture(scope="module")
def shared() -> Iterator[Native]:
    node = Native()
    node.bucket("b")
    node.put("b/k")
    yield node
    node.close()


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"]),
    path=TARGETS,
    query=QUERIES,
    fields=FIELDS,
    body=BODIES,
)
@example(method="PUT", path="b/k", query="partNumber=1", fields={}, body=b"")
@example(method="GET", path="", query="continuation-token=ff", fields={}, body=b"")
@example(method="GET", path="", query="max-buckets=" + "9" * 5000, fields={}, body=b"")
@example(method="GET", path="b", query="max-keys=" + "9" * 5000, fields={}, body=b"")
def test_any_request_is_answered(
    shared: Native, method: str, path: str, query: str, fields: dict[str, str], body: bytes
) -> None:
    async def answered() -> tuple[int, dict[str, str], bytes]:
        headers = {"host": "127.0.0.1:1"} | {name.replace("_", "-"): value for name, value in fields.items()}
        request = Request(method, f"/s3/{path}".encode(), query.encode(), headers, Chunks(body))
        answer = shared._app(request)
        response = answer if isinstance(answer, Response) else await answer
        if isinstance(response.body, FileBody):
            response.body.close()
        return (
            response.status,
            dict(response.headers),
            response.body if isinstance(response.body, bytes) else b"",
        )

    status, headers, document = shared.runner.run(answered())
    assert status in {200, 204, 206} | {status for status, _ in CODES.values()} - {500}
    if status >= 400:
        assert headers["Content-Type"] == "application/xml"
        if method != "HEAD":
            assert ElementTree.fromstring(document).findtext("Code") in CODES
