"""Whatever is sent to the native API is answered, and never by a failure of ours."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisle.api.router import Route
from aisle.httpd.delivery import BrokenAnswer
from aisle.httpd.request import Request
from aisle.httpd.response import FileBody, Response, StreamBody
from service.calling import Chunks, Native
from service.test_routes import S3_PATHS

NAMES = st.one_of(
    st.sampled_from(
        ["b", "o", "a.tar", "none", "%2F", "%00", "%FF", "%C3%BC", "%", "%zz", "+", "..", ".", "~", ""]
    ),
    st.text(alphabet=[chr(code) for code in range(0x21, 0x7F) if chr(code) not in "?#"], max_size=8),
)
KNOWN = [
    *(
        "provider",
        "namespace",
        "props",
        "presence",
        "archpath",
        "archmode",
        "archregx",
        "archmime",
        "object_to",
    ),
    *("append_type", "append_handle", "uploadId", "partNumber", "bck_to", "bsumm_remote", "uuid", "what"),
    *("set-new-custom", "validate-checksum", "coloc", "transient", "checksum.type", "cii", "etl_name"),
]
QUERY_VALUES = st.one_of(
    NAMES,
    st.sampled_from(
        [
            "ais",
            "aws",
            "gcp",
            "1",
            "true",
            "append",
            "flush",
            "prefix",
            "regexp",
            "ais/@%23/b/x",
            "ais/@%23/x/",
            "ais/@%23/new/",
            "m",
        ]
    ),
    st.sampled_from(["9" * 30, "-1", "bRaSsqgO|x|1", "%23ns", "%40u", "(", "md5"]),
)
QUERIES = st.lists(st.tuples(st.sampled_from(KNOWN), QUERY_VALUES).map("=".join), max_size=3).map("&".join)
FIELD_VALUES = st.one_of(
    st.text(
        alphabet=[chr(code) for code in range(0x20, 0x100) if code not in range(0x7F, 0xA0)], max_size=10
    ),
    st.sampled_from(
        ["bytes=0-1", "bytes=-", "bytes=" + "9" * 5000 + "-", "k=v", "md5", "xxhash2", "*", '"x"', "1", "2"]
    ),
    st.sampled_from(["Fri, 20 Nov 99999999999 16:12:38 GMT", "Fri, 31 Dec 9999 23:59:59 -2359"]),
)
FIELDS = st.dictionaries(
    st.sampled_from(
        [
            *("range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"),
            *(
                "ais-checksum-type",
                "ais-checksum-value",
                "ais-custom-md",
                "ais-pine",
                "ais-node-id",
                "accept",
            ),
            *(
                "content-type",
                "x-amz-content-sha256",
                "x-amz-trailer",
                "x-amz-decoded-content-length",
                "host",
            ),
        ]
    ),
    FIELD_VALUES,
    max_size=3,
)
KEYS = [
    *(
        "objnames",
        "template",
        "num-workers",
        "coer",
        "prefix",
        "prepend",
        "ext",
        "tobck",
        "archname",
        "mime",
        "uuid",
    ),
    *(
        "pagesize",
        "props",
        "flags",
        "continuation_token",
        "start_after",
        "checksum",
        "type",
        "extra",
        "aws",
        "lru",
    ),
    *(
        "src",
        "obj",
        "ID",
        "Kind",
        "bck",
        "buckets",
        "name",
        "provider",
        "in",
        "objname",
        "bucket",
        "uname",
        "opaque",
    ),
    *(
        "archpath",
        "start",
        "length",
        "part-number",
        "k",
        "expires_s",
        "action",
        "value",
        "access",
        "backend_bck",
    ),
]
SCALARS = st.one_of(
    *(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.text(max_size=6),
    st.sampled_from(
        ["b", "o", "a.tar", "{0..3}", "a{1..2}b", "@10", "copy-bck", "download", "none", "md5", "\ud800"]
    ),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)
SHAPES = st.fixed_dictionaries(
    {"name": st.sampled_from(["b", "x", "new"])}, optional={"provider": st.just("ais")}
)
PLAUSIBLE: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "objnames": st.lists(st.sampled_from(["o", "a1b", "none", "../up", "é"]), max_size=3),
        "template": st.sampled_from(["", "*", "a*", "a{0..2}b", "{0..1}", "o"]),
        "num-workers": st.integers(-1, 3),
        "coer": st.booleans(),
        "prefix": st.sampled_from(["", "a", "é"]),
        "prepend": st.sampled_from(["", "p/", "\0", "x" * 1023]),
        "ext": st.just({"tar": "tgz"}),
        "dry_run": st.booleans(),
        "tobck": SHAPES,
        "archname": st.sampled_from(["new.tar", "a.tar", "z.zip", "t.tgz", "l.tar.lz4", "x" * 1020 + ".tar"]),
        "isbn": st.booleans(),
        "aate": st.booleans(),
        "bnonly": st.booleans(),
        "in": st.lists(
            st.fixed_dictionaries(
                {"objname": st.sampled_from(["o", "a.tar", "none"]), "bucket": st.just("b")},
                optional={"archpath": st.sampled_from(["m", "n"]), "start": SCALARS, "length": SCALARS},
            ),
            max_size=3,
        ),
        "strm": st.booleans(),
        "mime": st.sampled_from([".tar", ".zip", ".tgz", ".rar"]),
        "pagesize": st.integers(-1, 3),
        "flags": st.integers(0, 65_535).map(str),
        "Kind": st.sampled_from(["copy-bck", "cleanup", "lru", "archive"]),
        "k": st.text(max_size=3),
    },
)
PLACES = ("{bucket}", "{object}", "{rest}", "{prefix}", "{item}")


@cache
def rows() -> list[Route]:
    """What may be asked; downloads have tests of their own."""
    node = Native()
    node.close()
    return [
        row for row in node.routes if row.path not in S3_PATHS and not row.path.startswith("/v1/download")
    ]


@pytest.fixture
def filled() -> Iterator[Callable[[], Native]]:
    """Makes new nodes: what was asked before may have destroyed anything."""
    made: list[Native] = []

    def make() -> Native:
        while made:
            made.pop().close()
        node = Native()
        made.append(node)
        for name in ("b", "x"):
            node.bucket(name)
        for name in ("o", "a1b", "0"):
            node.put(f"b/{name}")
        assert node("PUT", "/v1/objects/b/a.tar?archpath=m", b"x").status == 200
        return node

    yield make
    while made:
        made.pop().close()


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), query=QUERIES, fields=FIELDS)
def test_any_request_is_answered_and_any_job_ends(
    filled: Callable[[], Native], data: st.DataObject, query: str, fields: dict[str, str]
) -> None:
    row: Route = data.draw(st.sampled_from(rows()))
    path = row.path
    for place in PLACES:
        name = data.draw(st.one_of(st.sampled_from(["b", "o", "x", "a.tar"]), NAMES)) if place in path else ""
        path = path.replace(place, name)
    by, _, verb = row.verb.partition("=")
    if by == "what":
        query = f"what={verb}&{query}"
    if verb in ("copy-bck", "move-bck"):
        query += f"&bck_to={data.draw(st.sampled_from(['ais/@%23/x/', 'ais/@%23/new/', 'x']))}"
    value = data.draw(st.one_of(PLAUSIBLE, VALUES))
    message = {"action": verb, "name": data.draw(st.sampled_from(["", "o", "x"])), "value": value}
    body = json.dumps(message if by == "action" else value).encode()
    body = data.draw(st.sampled_from([body, body, body, b"", b"nonsense", body[:-1]]))
    node = filled()

    async def answered() -> int:
        headers = {"host": "127.0.0.1:1"} | fields
        answer = node._app(Request(row.method, path.encode(), query.encode(), headers, Chunks(body)))
        response = answer if isinstance(answer, Response) else await answer
        if isinstance(response.body, FileBody):
            response.body.close()
        elif isinstance(response.body, StreamBody):
            try:
                _ = [chunk async for chunk in response.body.chunks]
            except BrokenAnswer:  # what is sent was removed meanwhile
                pass
        return response.status

    status = node.runner.run(answered())
    assert status < 500 or status in (501, 503), (row, path, query, fields, body)
    if status == 200 and row.method != "GET":
        node.work()
