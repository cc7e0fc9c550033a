"""What the `access` property of a bucket leaves open, and to whom, without credentials.

Reading and setting properties is always allowed then, or nobody could open the bucket again.
"""

from typing import Any

import pytest

from aisle.model.access import ACCESS_NAMES, access_bits, access_names
from service.calling import Native

URL = "/v1/buckets/b?provider=ais"
OBJECT = "/v1/objects/b/o?provider=ais"
LIST = {"action": "list", "value": {"pagesize": 10}}

REFUSED_WITHOUT: list[tuple[str, str, str, Any]] = [
    ("PUT", "PUT", OBJECT, b"new"),
    ("PUT", "PUT", "/s3/b/o", b"new"),
    ("DELETE-OBJECT", "DELETE", OBJECT, b""),
    ("DELETE-OBJECT", "DELETE", "/s3/b/o", b""),
    ("UPDATE-OBJECT", "PATCH", OBJECT, {"action": "", "value": {"k": "v"}}),
    ("DESTROY-BUCKET", "DELETE", URL, {"action": "destroy-bck"}),
]
ALWAYS: list[tuple[str, str, Any]] = [
    ("GET", OBJECT, b""),
    ("HEAD", OBJECT, b""),
    ("GET", "/s3/b/o", b""),
    ("HEAD", URL, b""),
    ("GET", URL, LIST),
]


def allow(native: Native, names: str) -> None:
    value = {"access": str(access_bits(names))}
    assert native("PATCH", URL, {"action": "set-bprops", "value": value}).status == 200


@pytest.mark.parametrize(("right", "method", "target", "body"), REFUSED_WITHOUT)
def test_what_is_closed_is_refused_and_what_is_open_is_not(
    native: Native, right: str, method: str, target: str, body: Any
) -> None:
    native.put("b/o", b"old")
    others = ",".join(name for name in ACCESS_NAMES if name != right)
    allow(native, others)
    # Whether a right on the bucket itself is one of its property's or of the cluster's, the gate decides.
    if right != "DESTROY-BUCKET":
        assert native(method, target, body).status == 403
        assert native("GET", OBJECT).body == b"old"
    allow(native, "su")
    assert native(method, target, body).status in (200, 204)


@pytest.mark.parametrize(("method", "target", "body"), ALWAYS)
def test_reading_stays_open_to_all_who_need_no_credentials(
    native: Native, method: str, target: str, body: Any
) -> None:
    native.put("b/o", b"old")
    allow(native, "none")
    assert native(method, target, body).status == 200
    assert native("PUT", OBJECT, b"new").status == 403
    allow(native, "rw")
    assert native("PUT", OBJECT, b"new").status == 200


def test_a_read_only_bucket_is_made_writable_again(native: Native) -> None:
    allow(native, "ro")
    assert native("PUT", OBJECT, b"new").status == 403
    assert native("PATCH", URL, {"action": "reset-bprops", "value": None}).status == 200
    assert native("PUT", OBJECT, b"new").status == 200


def test_a_bucket_can_be_created_closed(native: Native) -> None:
    native.bucket("closed", access="771")
    assert native("PUT", "/v1/objects/closed/o?provider=ais", b"x").status == 403


def test_sets_of_rights_are_aistores() -> None:
    assert (access_bits("ro"), access_bits("rw"), access_bits("none")) == (771, 831, 0)
    assert access_bits("su") == 2**64 - 1
    assert access_bits("get, put 512") == 1 + 4 + 512
    assert access_names(771) == ["GET", "HEAD-OBJECT", "HEAD-BUCKET", "LIST-OBJECTS"]
    assert access_bits(",".join(ACCESS_NAMES)) == 262_143
