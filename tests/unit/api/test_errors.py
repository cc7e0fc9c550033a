"""The table from errors to answers is complete, and says what AIStore's clients match."""

import ast
import inspect
from collections.abc import Iterator

import pytest

from aisle import errors
from aisle.api.errors import TABLE, NodeNames, refusal, shown
from aisle.errors import AisleError
from aisle.httpd.request import Request

NAMES = NodeNames("p[g]", "t[t]")


def every_class(kind: type[AisleError] = AisleError) -> Iterator[type[AisleError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from every_class(below)


def test_every_error_has_a_row_of_its_own() -> None:
    defined = {kind for kind in every_class() if kind.__module__ == "aisle.errors"}
    # What never leaves a starting process shares one row.
    starting = {
        kind for kind in defined if issubclass(kind, errors.StartError) and kind is not errors.StartError
    }
    assert defined - starting == set(TABLE)


def test_every_error_is_drawn_in_the_tree() -> None:
    drawing = inspect.getdoc(errors) or ""
    names = {
        node.name for node in ast.parse(inspect.getsource(errors)).body if isinstance(node, ast.ClassDef)
    }
    assert {name for name in names if name not in drawing} == set()


def test_errors_of_other_modules_are_shown_as_what_they_are() -> None:
    class Special(errors.BucketNotFound):
        pass

    assert shown(Special("ais://b")) == TABLE[errors.BucketNotFound]


@pytest.mark.parametrize(
    ("error", "status", "tcode"),
    [
        (errors.BucketNotFound("ais://b"), 404, "ErrBckNotFound"),
        (errors.ObjectNotFound("ais://b/o"), 404, "ErrNotFound"),
        (errors.BucketExists("ais://b"), 409, "ErrBucketAlreadyExists"),
        (errors.RangeNotSatisfiable(5, "9-"), 416, "ErrRangeNotSatisfiable"),
        (errors.MultipleRanges("0-1,3-4"), 416, "ErrUnsupp"),
        (errors.ChecksumMismatch("md5", announced="a", received="b"), 400, "ErrBadCksum"),
        (errors.ConditionFailed("no"), 412, ""),
        (errors.OutOfSpace("full"), 507, "ErrCapacityExceeded"),
        (errors.TooBusy("later"), 503, "ErrBusy"),
        (errors.Unsupported("later"), 501, "ErrUnsupp"),
        (errors.BodyTooLarge(5), 413, ""),
        (errors.SourceDenied("403"), 403, "ErrSourceDenied"),
        (errors.EgressDenied("no"), 403, "ErrEgressDenied"),
    ],
)
def test_an_error_is_a_document_with_the_same_status(error: AisleError, status: int, tcode: str) -> None:
    import json

    answer = refusal(error, Request("GET", b"/v1/objects/b/a%20o", peer="1.2.3.4:5"), NAMES)
    assert isinstance(answer.body, bytes)
    document = json.loads(answer.body)
    assert answer.body.endswith(b"}\n")
    assert answer.status == document["status"] == status
    assert document.get("tcode", "") == tcode
    assert (document["method"], document["url_path"]) == ("GET", "/v1/objects/b/a o")
    assert (document["remote_addr"], document["caller"]) == ("1.2.3.4:5", "")
    assert document["node"] in NAMES
    assert ("Content-Type", "application/json") in answer.headers


def test_errors_that_pass_say_when_to_come_back() -> None:
    answer = refusal(errors.Unavailable("stopping"), Request("GET", b"/v1/health"), NAMES)
    assert (answer.status, ("Retry-After", "1") in answer.headers) == (503, True)


def test_an_error_of_head_is_a_header() -> None:
    answer = refusal(errors.ObjectNotFound("ais://b/ü\n"), Request("HEAD", b"/v1/objects/b/x"), NAMES)
    fields = dict(answer.headers)
    assert answer.body == b""
    assert fields["Hdr-Error"].startswith('{"tcode":"ErrNotFound","message":"t[t]: ais://b/')
    assert fields["Hdr-Error"].isascii()
    assert fields["Hdr-Error"].isprintable()
