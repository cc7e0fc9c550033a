"""Our answers beside those that a running AIStore 5.0 gave to the same requests.

The exchanges were recorded at one gateway and one target; a redirect between them is left out, as one
node answers both parts. Compared are the status, the header fields, every key of every document, the
types of all values, and the values themselves except those that differ from run to run. What we do
differently on purpose is listed at the end (docs/decisions/0004-differences-from-aistore.md).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.calling import Native

RECORDED = Path(__file__).parent / "recorded"

ALWAYS_OURS = {"etag", "last-modified", "ais-version", "x-content-type-options", "content-security-policy"}
"""Fields that AIStore did not send in these exchanges: there, versioning was off, objects of its own
buckets have no entity tag, and browsers may run what is stored."""
VARYING = {"uuid", "remote_addr", "ais-atime", "last-modified", "created", "bid", "ais-bucket-props"}


class Exchange(NamedTuple):
    """A request, and the answer that AIStore gave."""

    about: str
    method: str
    target: str
    status: int
    body: bytes = b""
    asked: Mapping[str, str] = {}
    fields: Mapping[str, str] = {}
    answer: Any = b""


def failed(tcode: str, message: str, method: str, path: str, status: int, node: str = "p[gateway]") -> Any:
    """AIStore's error document, its keys in order."""
    head = {"tcode": tcode} if tcode else {}
    return head | {
        "message": message,
        "method": method,
        "url_path": path,
        "remote_addr": "127.0.0.1:55710",
        "caller": "",
        "node": node,
        "status": status,
    }


JSON = {"content-type": "application/json"}
JSON_CHARSET = {"content-type": "application/json; charset=utf-8"}
BYTES = {"content-type": "application/octet-stream"}
HELLO = {
    "ais-checksum-type": "xxhash2",
    "ais-checksum-value": "26c7827d889f6da3",
    "ais-atime": "179519115823",
}
EASY = HELLO | {"ais-checksum-value": "094457ddb66b7e7b"}
OBJECT, NONE = "/v1/objects/api/hello", "/v1/objects/api/none"
NO_BUCKET = 'bucket "ais://nobck" does not exist'
MD6 = 'invalid checksum type "md6" (expecting [crc32c md5 sha256 sha512 xxhash xxhash2 none])'
EXISTS = 'bucket "ais://api" already exists'
BAD_PROVIDER = (
    'invalid backend provider "zzz": '
    "must be one of [ais, aws (s3://), gcp (gs://), azure (az://), oci (oc://)]"
)
TARGET = "t[target]"
BUCKET_SHAPE = {"name": "api", "provider": "ais", "namespace": {"uuid": "", "name": ""}}
PLACED = {
    "ais-present": "true",
    "ais-mirror-copies": "1",
    "ais-location": "t[target]:mp[/data/mp1, , ]",
}

EXCHANGES = [
    Exchange("create", "POST", "/v1/buckets/api?provider=ais", 200, b'{"action": "create-bck"}'),
    Exchange(
        *("create what exists", "POST", "/v1/buckets/api?provider=ais", 409, b'{"action": "create-bck"}'),
        fields=JSON,
        answer=failed("ErrBucketAlreadyExists", EXISTS, "POST", "/v1/buckets/api", 409),
    ),
    Exchange(
        *("unknown action", "POST", "/v1/buckets/api?provider=ais", 400, b'{"action": "nonsense"}'),
        fields=JSON,
        answer=failed("", 'invalid action "nonsense"', "POST", "/v1/buckets/api", 400),
    ),
    Exchange(
        *("unknown provider", "GET", "/v1/objects/api/x?provider=zzz", 400),
        fields=JSON,
        answer=failed("ErrInvalidBackendProvider", BAD_PROVIDER, "GET", "/v1/objects/api/x", 400),
    ),
    Exchange("put", "PUT", f"{OBJECT}?provider=ais", 200, b"hello", fields=HELLO),
    Exchange("get", "GET", f"{OBJECT}?provider=ais", 200, fields={**HELLO, **BYTES}, answer=b"hello"),
    Exchange(
        *("get range", "GET", f"{OBJECT}?provider=ais&pid=wAinplxk&utm=dn065kzome78", 206),
        asked={"range": "bytes=1-3"},
        fields={**HELLO, **BYTES, "accept-ranges": "bytes", "content-range": "bytes 1-3/5"},
        answer=b"ell",
    ),
    Exchange(
        *("range beyond the end", "GET", f"{OBJECT}?provider=ais", 416),
        asked={"range": "bytes=100-"},
        fields={**JSON, "content-range": "bytes */5"},
        answer=failed(
            *("ErrRangeNotSatisfiable", "size=5: not satisfiable range [100-]", "GET", OBJECT, 416, TARGET)
        ),
    ),
    Exchange(
        *("head", "HEAD", f"{OBJECT}?provider=ais", 200),
        fields={
            **HELLO,
            **PLACED,
            "ais-bucket-name": "api",
            "ais-bucket-provider": "ais",
            "ais-mirror-paths": "[/data/mp1]",
            "ais-name": "hello",
        },
    ),
    Exchange(
        *(
            "head with properties",
            "HEAD",
            f"{OBJECT}?provider=ais&props=checksum%2Catime%2Cversion%2Ccustom",
            200,
        ),
        fields={**HELLO, "ais-present": "true"},
    ),
    Exchange(
        *("head with places", "HEAD", f"{OBJECT}?provider=ais&props=copies%2Clocation", 200),
        fields={**PLACED, "ais-mirror-paths": "/data/mp1"},
    ),
    Exchange(
        *("head with the SDK's default", "HEAD", f"{OBJECT}?provider=ais&props=name%2Csize", 200),
        fields={"ais-present": "true"},
    ),
    Exchange(
        *("head of nothing", "HEAD", "/v1/buckets/nobck?provider=ais", 404),
        fields=JSON,
        answer=failed("ErrBckNotFound", NO_BUCKET, "HEAD", "/v1/buckets/nobck", 404),
    ),
    Exchange(
        *("head with an unknown property", "HEAD", f"{OBJECT}?provider=ais&props=all", 400),
        fields=JSON,
        answer=failed("", 'invalid property "all" in props list', "HEAD", OBJECT, 400, TARGET),
    ),
    Exchange(
        *("get nothing", "GET", f"{NONE}?provider=ais", 404),
        fields=JSON,
        answer=failed("ErrNotFound", "t[target]: ais://api/none does not exist", "GET", NONE, 404, TARGET),
    ),
    Exchange(
        *("get from no bucket", "GET", "/v1/objects/nobck/none?provider=ais", 404),
        fields=JSON,
        answer=failed("ErrBckNotFound", NO_BUCKET, "GET", "/v1/objects/nobck/none", 404),
    ),
    Exchange(
        *("delete nothing", "DELETE", f"{NONE}?provider=ais", 404),
        fields=JSON,
        answer=failed("", "ais://api/none doesn't exist", "DELETE", NONE, 404, TARGET),
    ),
    Exchange("add metadata", "PATCH", f"{OBJECT}?provider=ais", 200, b'{"value": {"k": "v"}}'),
    Exchange(
        *("another entity tag", "GET", f"{OBJECT}?provider=ais", 200),
        asked={"if-none-match": '"x"'},
        fields={**HELLO, **BYTES, "ais-custom-md": "k=v"},
        answer=b"hello",
    ),
    Exchange(
        *("list as JSON", "GET", "/v1/buckets/api?provider=ais", 200),
        b'{"action": "list", "value": {"props": "name,size,checksum,atime", "pagesize": 10}}',
        fields=JSON_CHARSET,
        answer={
            "uuid": "A3SKnw77iF",
            "continuation_token": "",
            "entries": [
                {
                    "name": "hello",
                    "checksum": "26c7827d889f6da3",
                    "atime": "20 Nov 26 16:12 UTC",
                    "size": "5",
                    "flags": 64,
                }
            ],
            "flags": 0,
        },
    ),
    Exchange(
        *("list buckets", "GET", "/v1/buckets?provider=ais", 200, b'{"action": "list"}'),
        fields=JSON_CHARSET,
        answer=[BUCKET_SHAPE],
    ),
    Exchange("head bucket", "HEAD", "/v1/buckets/api?provider=ais", 200, fields={"ais-bucket-props": ""}),
    Exchange(
        *("unknown question", "GET", "/v1/cluster?what=config", 400),
        fields=JSON,
        answer=failed("", "unexpected query [what=config]", "GET", "/v1/cluster", 400),
    ),
    Exchange(
        *("question for another path", "GET", "/v1/daemon?what=status", 400),
        fields=JSON,
        answer=failed(
            *("", "invalid '/v1/daemon' request: unrecognized 'what=status' query", "GET", "/v1/daemon", 400)
        ),
    ),
    Exchange("backends", "GET", "/v1/cluster?what=backends", 200, fields=JSON_CHARSET, answer=[]),
    Exchange(
        *("health", "GET", "/v1/health?prr=true", 200),
        fields={"ais-cluster-uptime": "363388914815", "ais-node-uptime": "378405109655"},
    ),
    Exchange(
        *("jobs at work", "GET", "/v1/cluster?what=running_all", 200),
        b'{"kind": "", "node": "", "show_active": true}',
        fields=JSON_CHARSET,
        answer=[],
    ),
    Exchange(
        *("set properties", "PATCH", "/v1/buckets/api?provider=ais", 200),
        b'{"action": "set-bprops", "value": {"mirror": {"copies": 3}, "versioning": {"enabled": false}}}',
    ),
    Exchange(
        *("set an impossible property", "PATCH", "/v1/buckets/api?provider=ais", 400),
        b'{"value": {"checksum": {"type": "md6"}}, "action": "set-bprops", "name": ""}',
        fields=JSON,
        answer=failed("", MD6, "PATCH", "/v1/buckets/api", 400),
    ),
    Exchange(
        *("reset properties", "PATCH", "/v1/buckets/api?provider=ais", 200),
        b'{"value": null, "action": "reset-bprops", "name": ""}',
    ),
    Exchange(
        *("set the configuration", "PUT", "/v1/cluster", 200),
        b'{"action": "set-config", "name": "set-config", "value": {"checksum": {"type": "md5"}}}',
    ),
    Exchange("set it by query", "PUT", "/v1/cluster/set-config?checksum.type=xxhash2", 200),
    Exchange("easy put", "PUT", "/ais/api/easy", 200, b"easy", fields=EASY),
    Exchange("easy get", "GET", "/ais/api/easy", 200, fields={**EASY, **BYTES}, answer=b"easy"),
    Exchange(
        *("easy list", "GET", "/ais/api", 200),
        fields=JSON_CHARSET,
        answer={
            "uuid": "TKKnFDDiw",
            "continuation_token": "",
            "entries": [
                {"name": "easy", "size": "4", "flags": 64},
                {"name": "hello", "size": "5", "flags": 64},
            ],
            "flags": 0,
        },
    ),
    Exchange("destroy", "DELETE", "/v1/buckets/api?provider=ais", 200, b'{"action": "destroy-bck"}'),
    Exchange(
        *(
            "destroy what is gone",
            "DELETE",
            "/v1/buckets/nobck?provider=ais",
            404,
            b'{"action": "destroy-bck"}',
        ),
        fields=JSON,
        answer=failed("ErrBckNotFound", NO_BUCKET, "DELETE", "/v1/buckets/nobck", 404),
    ),
]


def test_answers_are_those_of_aistore_field_by_field() -> None:
    node = Native()
    for exchange in EXCHANGES:
        got = node(exchange.method, exchange.target, exchange.body, **exchange.asked)
        assert got.status == exchange.status, (exchange.about, got.body)
        document = exchange.answer
        if exchange.method == "HEAD" and isinstance(document, dict):
            assert_same(got.error(), document, exchange.about)
            document = b""
        expected = set(exchange.fields) | ({"hdr-error"} if "hdr-error" in got.headers else set())
        ours = ALWAYS_OURS | ({"content-type"} if exchange.method == "HEAD" else set())
        assert set(got.headers) - ours == expected - ours, exchange.about
        for name, value in exchange.fields.items():
            if name not in VARYING and not name.endswith("-uptime"):
                assert named(got.headers[name]) == value, (exchange.about, name)
        if isinstance(document, bytes):
            assert got.body == document, exchange.about
        else:
            assert got.body.endswith(b"\n"), exchange.about
            assert_same(got.json(), document, exchange.about)
    node.close()


def assert_same(ours: Any, theirs: Any, where: str) -> None:
    """The same keys in the same order, the same types, and the same values where they do not vary."""
    assert type(ours) is type(theirs), where
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key, value in theirs.items():
            if key not in VARYING:
                assert_same(ours[key], value, f"{where}.{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for ours_item, theirs_item in zip(ours, theirs, strict=True):
            assert_same(ours_item, theirs_item, where)
    else:
        assert named(ours) == theirs, where


def named(value: Any) -> Any:
    """A value with our node's ids replaced by what the table calls them."""
    if not isinstance(value, str):
        return value
    return value.replace("bRaSsqgO-g", "gateway").replace("bRaSsqgO", "target")


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text("utf-8"))


TRACKED = {"tracker", "tmap", "pmap", "mountpaths", "fspaths", "@#", "backend", "target", "disks"}
"""Members whose keys are names or depend on what the node has done."""
NOT_OURS = {"verifying_key"}
"""Members that are optional (`?` in the reference) and that one node does not need."""


@pytest.mark.parametrize(
    ("document", "target", "node"),
    [
        ("smap", "/v1/daemon?what=smap", ""),
        ("smap", "/v1/cluster?what=smap", ""),
        ("snode", "/v1/daemon?what=snode", ""),
        ("bmd", "/v1/daemon?what=bmd", ""),
        ("bmd", "/v1/cluster?what=bmd", ""),
        ("node_config", "/v1/daemon?what=config", ""),
        ("sysinfo", "/v1/daemon?what=sysinfo", ""),
        ("cluster_sysinfo", "/v1/cluster?what=sysinfo", ""),
        ("gateway_status", "/v1/daemon?what=node_status", ""),
        ("gateway_status", "/v1/reverse/daemon?what=node_status", "bRaSsqgO-g"),
        ("node_status", "/v1/reverse/daemon?what=node_status", "bRaSsqgO"),
    ],
)
def test_documents_have_aistores_members_and_types(
    native: Native, document: str, target: str, node: str
) -> None:
    answer = native("GET", target, **({"ais-node-id": node} if node else {}))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert_shape(answer.json(), recorded(document), document)


def assert_shape(ours: Any, theirs: Any, where: str) -> None:
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), where
        if where.rpartition(".")[2] in TRACKED:
            pairs = zip(ours.values(), theirs.values(), strict=False)
        else:
            wanted = [key for key in theirs if key not in NOT_OURS]
            assert list(ours) == wanted, where
            pairs = ((ours[key], theirs[key]) for key in wanted)
            for key in wanted:
                assert_shape(ours[key], theirs[key], f"{where}.{key}")
            return
        for ours_value, theirs_value in pairs:
            assert_shape(ours_value, theirs_value, f"{where}[]")
    elif isinstance(theirs, float):
        assert isinstance(ours, float | int), where
    else:
        assert type(ours) is type(theirs), (where, ours, theirs)


def test_new_buckets_show_aistores_properties_in_its_order(native: Native) -> None:
    ours = json.loads(native("HEAD", "/v1/buckets/b?provider=ais").headers["ais-bucket-props"])
    theirs = recorded("bucket_properties")
    # The recorded cluster had versioning switched off; AIStore's own default is on.
    theirs["versioning"]["enabled"] = True
    assert_same(ours, theirs, "properties")


def test_the_configuration_has_aistores_values(native: Native) -> None:
    ours, theirs = native("GET", "/v1/cluster?what=cluster_config").json(), recorded("node_config")
    same = set(theirs) - {
        *("fspaths", "confdir", "log_dir", "test_fspaths", "host_net", "uuid", "lastupdate_time"),
        *("proxy", "net", "config_version", "backend", "log", "space", "lru", "versioning"),
    }
    for section in sorted(same):
        assert ours[section] == theirs[section], section
    assert ours["log"] == {**theirs["log"], "to_stderr": True}
    assert ours["auth"] == {"client_auth_required": False}
    # The recorded cluster had it switched off; it holds for remote buckets only.
    assert ours["lru"] == {**theirs["lru"], "enabled": True}
