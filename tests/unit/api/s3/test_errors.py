"""Errors as S3 shows them."""

import inspect
from xml.etree import ElementTree

import pytest

from aisle import errors
from aisle.api.s3.errors import CODES, TABLE, S3Error, code_of, s3_refusal
from aisle.errors import AisleError
from aisle.httpd.request import Request


def test_every_error_leads_to_a_code_that_is_known() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, AisleError)]
    assert len(kinds) > 30
    for kind in kinds:
        error = kind.__new__(kind)
        assert code_of(error) in CODES, kind
        # Only what is the node's own fault has no row before the tree's root.
        is_own_fault = issubclass(kind, errors.CorruptObject | errors.NodeFailed | errors.StartError)
        assert (code_of(error) == "InternalError") == (is_own_fault or kind is AisleError), kind


def test_every_code_has_a_status_of_an_error() -> None:
    assert set(TABLE.values()) <= set(CODES)
    assert {status for status, _ in CODES.values()} <= {
        304,
        400,
        403,
        404,
        405,
        409,
        411,
        412,
        416,
        501,
        502,
    } | {*(500, 503, 507)}


def test_an_error_tells_code_message_details_resource_and_request() -> None:
    request = Request("GET", b"/s3/b/a%20%3C%01", request_id="r1")
    answer = s3_refusal(S3Error("NoSuchKey", Key="a <"), request)
    assert (answer.status, answer.headers[0]) == (404, ("Content-Type", "application/xml"))
    assert answer.headers[1] == ("x-amz-request-id", "r1")
    assert isinstance(answer.body, bytes)
    root = ElementTree.fromstring(answer.body)
    assert root.findtext("Resource") == "/s3/b/a <\ufffd"
    assert [child.tag for child in root] == ["Code", "Message", "Key", "Resource", "RequestId"]
    assert root.findtext("RequestId") == "r1"
    assert root.findtext("Message") == "The specified key does not exist."


def test_heads_are_refused_without_a_document() -> None:
    answer = s3_refusal(errors.BucketNotFound("ais://b"), Request("HEAD", b"/b"))
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (errors.RangeNotSatisfiable(10, "bytes=20-"), 416, ("Content-Range", "bytes */10")),
        (errors.TooBusy("full"), 503, ("Retry-After", "1")),
        (errors.OutOfSpace("full"), 507, None),
    ],
)
def test_some_errors_say_more_in_fields(
    error: AisleError, status: int, header: tuple[str, str] | None
) -> None:
    answer = s3_refusal(error, Request("GET", b"/b/k"))
    assert answer.status == status
    assert list(answer.headers[2:]) == ([header] if header else [])
