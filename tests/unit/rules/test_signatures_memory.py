"""What is remembered of signatures is short: anybody may send what is not."""

import gc
import tracemalloc

import pytest

from aisle.errors import Unauthenticated
from aisle.httpd.request import Request
from aisle.rules.signatures_v4 import read_header

NOW_S = 1_369_353_600.0
STAMP = "20130524T000000Z"
NAMES = ";".join(f"{number:04}" for number in range(1500))


def judge(number: int, *, path: bytes = b"/b/k", region: str = "r", names: str = "", date: str = "") -> None:
    """Judge a request that names a known key and is signed wrong; each `number` is another one."""
    credential = f"key/20130524/{region}{number}/s3/aws4_request"
    signed = f"host;x-amz-content-sha256;x-amz-date{names}"
    authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={'0' * 64}"
    fields = {"host": "node", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    fields |= {"date": f"{date}({number})"} if date else {"x-amz-date": STAMP}
    request = Request("GET", path, b"", fields)
    with pytest.raises(Unauthenticated):
        read_header(request, authorization).verify(request, "secret", now_s=NOW_S)


@pytest.mark.parametrize("part", ["region", "names", "date", "path"])
def test_nothing_long_is_remembered_of_requests_that_are_wrong(part: str) -> None:
    judge(0)
    tracemalloc.start()
    try:
        for number in range(100):
            if part == "region":
                judge(number, region="r" * 9000)
            elif part == "names":
                judge(number, names=f";{NAMES}")
            elif part == "date":
                judge(number, date=f"Fri, 24 May 2013 00:00:00 GMT ({'x' * 9000})")
            else:
                judge(number, path=b"/b/%d" % number + b"\xff" * 9000)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 300_000
