"""A whole session of AIStore's SDK 2.0.0, request by request, beside the answers that AIStore 5.0 gave.

As in test_recorded.py, a redirect between gateway and target is left out, and compared are the status,
the header fields, every key of every document in order, the types of all values, and the values
themselves except those that differ from run to run (ids, times, sizes of disks). Names in braces stand
for what an earlier answer gave: ids of jobs and uploads, handles.

Left out of the recording, and why:
- redirects (301, 307): one node answers at once; over TLS they are tested in compat/test_sdk_tls.py;
- the cluster map, health and running jobs: in test_recorded.py and test_jobs.py, with their documents;
- the renamed bucket's and the copied object's `Ais-Version: 1` where versioning is off: ours has none;
- the bytes of get-batch's archive: AIStore's own tests do not fix them; test_batches.py reads it;
- the object name of 400 characters: longer and stranger ones are in compat/test_survival_names.py.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from service.calling import Answer, Native
from service.test_recorded import ALWAYS_OURS, BUCKET_SHAPE, BYTES, JSON, JSON_CHARSET, assert_same, failed

TEXT = {"content-type": "text/plain; charset=utf-8"}
MSGPACK = {"content-type": "application/msgpack"}
PART = b"p" * 6_291_456
LARGE = bytes(range(250)) * 280
TARGET = "t[target]"
ANYTHING = object()
"""An answer whose body is not compared."""


def md5(content: bytes) -> dict[str, str]:
    """The fields that tell of an object with this content."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return {"ais-atime": "", "ais-checksum-type": "md5", "ais-checksum-value": digest}


def message(action: str, value: Any = None) -> dict[str, Any]:
    return {"action": action, "name": "", "value": value}


def listing(**asked: Any) -> dict[str, Any]:
    value = {"prefix": "", "pagesize": 0, "uuid": "", "props": "", "continuation_token": "", "flags": "0"}
    return message("list", value | {"target": ""} | asked)


def job(kind: str, name: str) -> dict[str, Any]:
    return {"ID": f"{{{name}}}", "Kind": kind, "DaemonID": "", "Bck": None, "Buckets": None}


def summary(objects: int, sizes: tuple[int, int, int], size: int, *, is_present: bool) -> dict[str, Any]:
    return {
        "name": "sdk",
        **{key: BUCKET_SHAPE[key] for key in ("provider", "namespace")},
        "ObjCount": {"obj_count_present": str(objects), "obj_count_remote": "0"},
        "ObjSize": dict(zip(("obj_min_size", "obj_avg_size", "obj_max_size"), sizes, strict=True)),
        "TotalSize": {
            "size_on_disk": "36864",
            "size_all_present_objs": str(size),
            "size_all_remote_objs": "0",
            "total_disks_size": "270553174016",
        },
        "used_pct": 0,
        "is_present": is_present,
    }


class Step(NamedTuple):
    """A request of the session, and the answer that AIStore gave."""

    method: str
    target: str
    body: Any = b""
    status: int = 200
    fields: Mapping[str, str] = {}
    answer: Any = b""
    asked: Mapping[str, str] = {}
    keep: str = ""
    """The name under which the body is remembered; `header:name` for a field."""


B, INSIDE = "/v1/buckets/sdk?provider=ais", "/v1/objects/sdk"
AB, APP, MP = f"{INSIDE}/a/b.bin?provider=ais", f"{INSIDE}/app?provider=ais", f"{INSIDE}/mp?provider=ais"
COPY = "object_to=ais%2F%40%23%2Fsdk-c%2Ffile2&latest-ver=false&synchronize=false"
PLACED = {
    "ais-present": "true",
    "ais-mirror-copies": "1",
    "ais-mirror-paths": "/data/mp1",
    "ais-location": "t[target]:mp[/data/mp1, , ]",
}
INFO = f"{B}&presence=0&bsumm_remote=True"


def entry(name: str, size: int, **more: Any) -> dict[str, Any]:
    """An entry of a listing; members come in AIStore's order."""
    return {"n": name, **more} | ({"s": size} if size else {}) | {"f": 64}


def page(entries: list[dict[str, Any]], token: str = "") -> dict[str, Any]:
    return {"UUID": "DFSTFD7iw", "ContinuationToken": token, "Entries": entries, "Flags": 0}


NUMBERED = [(f"l/{number:03}", b"x" * number) for number in range(25)]
AWKWARD = {
    "with%20space": b"with space",
    "a%252Fb": b"a%2Fb",
    "plus%2Bplus": b"plus+plus",
    "d//e": b"d//e",
    "%C3%BCn%C3%AF/%F0%9F%98%80": "ünï/😀".encode(),
    "q%3Fx%23y": b"q?x#y",
}

BEGIN = [
    Step("POST", B, message("create-bck", {"checksum": {"type": "md5"}, "versioning": {"enabled": False}})),
    Step(
        *("GET", "/v1/buckets?provider=ais", message("list")),
        fields=JSON_CHARSET,
        answer=[BUCKET_SHAPE | {"name": "sdk"}],
    ),
    Step("HEAD", B, fields={"ais-bucket-props": ""}),
    Step(
        *("HEAD", INFO),
        status=202,
        fields={"ais-bucket-props": "", "ais-xaction-id": ""},
        keep="header:ais-xaction-id",
    ),
    Step(
        *("HEAD", INFO + "&uuid={ais-xaction-id}"),
        fields={"ais-bucket-props": "", "ais-bucket-summ": "", "ais-xaction-id": ""},
        answer=summary(0, (0, 0, 0), 0, is_present=True),
    ),
]
OBJECTS = [
    Step("PUT", AB, LARGE, fields=md5(LARGE)),
    Step("GET", AB, fields={**md5(LARGE), **BYTES}, answer=ANYTHING),
    Step(
        *("HEAD", f"{AB}&props=checksum%2Catime%2Cversion%2Ccustom"),
        fields={**md5(LARGE), "ais-present": "true"},
    ),
    Step(
        *("GET", AB),
        asked={"range": "bytes=10-19"},
        status=206,
        fields={**md5(LARGE), **BYTES, "accept-ranges": "bytes", "content-range": "bytes 10-19/70000"},
        answer=ANYTHING,
    ),
    Step("HEAD", f"{AB}&props=name%2Csize", fields={"ais-present": "true"}),
    Step(
        *("HEAD", f"{AB}&props=checksum%2Catime%2Cversion%2Ccopies%2Ccustom%2Clocation"),
        fields={**md5(LARGE), **PLACED},
    ),
    Step("PATCH", AB, message("", {"k": "v1", "x": "y"})),
    Step("PUT", f"{INSIDE}/file?provider=ais", b"f" * 4000, fields=md5(b"f" * 4000)),
    Step("PUT", f"{INSIDE}/up/sub/g?provider=ais", b"g", fields=md5(b"g")),
    Step(
        *("GET", B, listing()),
        asked={"accept": "application/msgpack"},
        fields=MSGPACK,
        answer=page([entry("a/b.bin", 70_000), entry("file", 4000), entry("up/sub/g", 1)]),
    ),
]
APPENDS = [
    Step(
        *("PUT", f"{APP}&append_type=append&append_handle=", b"one"),
        fields={"ais-append-handle": ""},
        keep="header:ais-append-handle",
    ),
    Step(
        *("PUT", f"{APP}&append_type=append&append_handle={{ais-append-handle}}", b"two"),
        fields={"ais-append-handle": ""},
        keep="header:ais-append-handle",
    ),
    Step("PUT", f"{APP}&append_type=flush&append_handle={{ais-append-handle}}"),
    Step("GET", APP, fields={**md5(b"onetwo"), **BYTES}, answer=b"onetwo"),
]
LISTINGS = [
    *(Step("PUT", f"{INSIDE}/{name}?provider=ais", body, fields=md5(body)) for name, body in NUMBERED),
    Step(
        *("GET", B, listing(prefix="l/")),
        asked={"accept": "application/msgpack"},
        fields=MSGPACK,
        answer=page([entry(name, len(body)) for name, body in NUMBERED]),
    ),
    Step(
        *("GET", B, listing(prefix="l/", pagesize=10, uuid="N-KbgFDDiw", continuation_token="l/009")),
        asked={"accept": "application/msgpack"},
        fields=MSGPACK,
        answer=page([entry(name, len(body)) for name, body in NUMBERED[10:20]], "l/019"),
    ),
    Step(
        *("GET", B, listing(prefix="l/010", props="name,size,version,checksum,atime")),
        asked={"accept": "application/msgpack"},
        fields=MSGPACK,
        answer=page([entry("l/010", 10, cs=md5(b"x" * 10)["ais-checksum-value"], a="20 Nov 26 16:10 UTC")]),
    ),
    Step("DELETE", f"{INSIDE}/l/000?provider=ais"),
    Step(
        *("GET", f"{INSIDE}/l/000?provider=ais"),
        status=404,
        fields=JSON,
        answer=failed(
            "ErrNotFound", "t[target]: ais://sdk/l/000 does not exist", "GET", f"{INSIDE}/l/000", 404, TARGET
        ),
    ),
    Step(
        *("HEAD", "/v1/buckets/nope?provider=ais"),
        status=404,
        fields=JSON | {"hdr-error": ""},
        answer=failed(
            "ErrBckNotFound", 'bucket "ais://nope" does not exist', "HEAD", "/v1/buckets/nope", 404
        ),
    ),
    Step(
        *("GET", "/v1/buckets/nope?provider=ais", listing()),
        status=404,
        fields=JSON,
        answer=failed("ErrBckNotFound", 'bucket "ais://nope" does not exist', "GET", "/v1/buckets/nope", 404),
    ),
]
JOBS = [
    Step("POST", "/v1/buckets/sdk-c?provider=ais", message("create-bck")),
    Step("PUT", f"{INSIDE}/file?provider=ais&{COPY}"),
    Step("HEAD", "/v1/objects/sdk-c/file2?provider=ais&props=size", fields={"ais-present": "true"}),
    Step("DELETE", "/v1/buckets/sdk-c?provider=ais", message("destroy-bck")),
    Step(
        *("DELETE", B, message("delete-listrange", {"template": "l/{001..005}"})),
        fields=TEXT,
        answer=ANYTHING,
        keep="job",
    ),
    Step(
        *("GET", "/v1/cluster?what=status", job("delete-listrange", "job")),
        fields=TEXT,
        answer={"kind": "delete-listrange", "uuid": "", "err": "", "end_time": 1, "aborted": False},
    ),
]
MULTIPART = [
    Step("POST", MP, message("mpt-upload"), fields=TEXT, answer=ANYTHING, keep="upload"),
    *(Step("PUT", f"{MP}&uploadId={{upload}}&partNumber={number}", PART) for number in (1, 2, 3)),
    Step(
        *("POST", f"{MP}&uploadId={{upload}}"),
        message("mpt-complete", [{"part-number": number, "etag": ""} for number in (1, 2, 3)]),
    ),
    Step("GET", MP, fields={**md5(PART * 3), **BYTES}, answer=ANYTHING),
    Step(
        "GET", B, message("summary-bck", {"uuid": "", "prefix": "", "cached": True, "present": True})
    )._replace(status=202, fields=TEXT, answer=ANYTHING, keep="summary"),
    Step(
        *("GET", B),
        message("summary-bck", {"uuid": "{summary}", "prefix": "", "cached": True, "present": True}),
        fields=TEXT,
        answer=[summary(24, (1, 789_528, 18_874_368), 18_948_660, is_present=False)],
    ),
]
END = [
    *(
        step
        for name, body in AWKWARD.items()
        for step in (
            Step("PUT", f"{INSIDE}/{name}?provider=ais", body, fields=md5(body)),
            Step("GET", f"{INSIDE}/{name}?provider=ais", fields={**md5(body), **BYTES}, answer=body),
        )
    ),
    Step("DELETE", B, message("destroy-bck")),
]
VARYING_FIELDS = {
    *("ais-atime", "ais-bucket-props", "ais-bucket-summ", "ais-xaction-id", "ais-append-handle", "hdr-error")
}
VARYING_MEMBERS = {
    *("uuid", "UUID", "remote_addr", "a", "end_time", "size_on_disk", "total_disks_size"),
}


def test_a_session_of_the_sdk_is_answered_as_recorded() -> None:
    node, kept = Native(), dict[str, str]()
    for step in [*BEGIN, *OBJECTS, *APPENDS, *LISTINGS, *JOBS, *MULTIPART, *END]:
        about = f"{step.method} {step.target}"
        got = node(step.method, filled(step.target, kept), filled(step.body, kept), **step.asked)
        assert got.status == step.status, (about, got.body)
        ours = ALWAYS_OURS | ({"content-type"} if step.method == "HEAD" else set())
        ours |= {"ais-custom-md"} if step.target.startswith(AB) else set()
        assert set(got.headers) - ours == set(step.fields) - ours, about
        for name, value in step.fields.items():
            if name not in VARYING_FIELDS:
                assert node_named(got.headers[name]) == value, (about, name)
        compare(got, step, about)
        if step.keep:
            name = step.keep.removeprefix("header:")
            kept[name] = got.headers[name] if step.keep != name else got.body.decode()
            if step.keep == "job":
                node.work()
    node.close()


def compare(got: Answer, step: Step, about: str) -> None:
    """The document or the bytes that came, beside those of the recording."""
    if step.answer is ANYTHING:
        assert got.body, about
    elif isinstance(step.answer, bytes):
        assert got.body == step.answer, about
    elif step.fields == MSGPACK:
        assert_alike(got.msgpack(), step.answer, about)
    elif "ais-bucket-summ" in step.fields:
        assert_alike(json.loads(got.headers["ais-bucket-summ"]), step.answer, about)
    elif step.status >= 400:
        assert_same(got.error(), step.answer, about)
    else:
        assert got.body.endswith(b"\n") or step.fields == TEXT, about
        assert_alike(got.json(), step.answer, about)


def assert_alike(ours: Any, theirs: Any, where: str) -> None:
    """The same keys in the same order, the same types, the same values where they do not vary."""
    assert type(ours) is type(theirs), (where, ours)
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key, value in theirs.items():
            if key in VARYING_MEMBERS:
                assert type(ours[key]) is type(value), (where, key)
            else:
                assert_alike(ours[key], value, f"{where}.{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for ours_item, theirs_item in zip(ours, theirs, strict=True):
            assert_alike(ours_item, theirs_item, where)
    else:
        assert ours == theirs, where


def filled(value: Any, kept: Mapping[str, str]) -> Any:
    """A target or a body with what earlier answers gave in place of its names in braces."""
    if isinstance(value, dict):
        return {key: filled(item, kept) for key, item in value.items()}
    if isinstance(value, str):
        for name, text in kept.items():
            value = value.replace(f"{{{name}}}", text)
    return value


def node_named(value: str) -> str:
    return value.replace("bRaSsqgO", "target")
