"""Wrong input to every operation of the native API: status, message, and that nothing is changed by it.

The table names every row of the route table; a test holds the two together, so that none can be built
without saying what is refused. What can be wrong with all rows of a kind (names of buckets and objects,
providers, bodies, methods) is tried on each. Downloads have tables of their own, where their rows are.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from aisle.api.gate import Action
from aisle.api.router import ANY_METHOD, Route
from aisle.cluster.memory import MemoryStore
from service.calling import Answer
from service.credentials import ROOT, Asking
from service.test_routes import S3_PATHS

Key = tuple[str, str, str]
"""Method, path, and the verb that chooses among the rows of both."""

OBJECT, BUCKET, EVERY = "/v1/objects/{bucket}/{object}", "/v1/buckets/{bucket}", "/v1/buckets"
BATCH, BATCH_OF = "/v1/ml/moss", "/v1/ml/moss/{bucket}"
EASY = ("ais", "gs", "az", "oc")
HUGE = "9" * 5000
PLACES = {"{bucket}": "b", "{object}": "o", "{rest}": "r", "{prefix}": "", "{user}": "carol", "{key}": "none"}
UNKNOWN = object()


@dataclass(frozen=True)
class Wrong:
    """A request that is refused: what of it is not as usual, and the answer."""

    status: int
    text: str = ""
    """What the message holds."""
    query: str = ""
    value: Any = UNKNOWN
    """The value of the message, where there is one."""
    name: str = ""
    """The name in the message."""
    body: Any = UNKNOWN
    """The whole body instead."""
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    """Another path than the usual one."""


def values(status: int, text: str, *every: Any, query: str = "") -> list[Wrong]:
    """Requests that are wrong by their messages' values alone."""
    return [Wrong(status, text, query, value=value) for value in every]


def queries(status: int, text: str, *every: str) -> list[Wrong]:
    """Requests that are wrong by their queries alone."""
    return [Wrong(status, text, query) for query in every]


def fields(status: int, text: str, *every: Mapping[str, str]) -> list[Wrong]:
    """Requests that are wrong by their header fields alone."""
    return [Wrong(status, text, headers=headers) for headers in every]


def uname(bucket: str, name: str = "") -> str:
    """A unique name as queries carry it."""
    return f"ais%2F%40%23%2F{bucket}%2F{name}"


NOWHERE = [Wrong(404, "does not exist", path="/v1/objects/b/none")]
READ = [
    *NOWHERE,
    *fields(412, "", {"if-match": '"x"'}, {"if-unmodified-since": "Thu, 01 Jan 2015 00:00:00 GMT"}),
]
PAGE = [
    *values(400, "", {"pagesize": "x"}, {"props": 5}, {"flags": "x"}, {"prefix": 5}, [], "x"),
    *values(400, "", {"pagesize": HUGE}),
]
SELECTION = [
    *values(400, "errTemplateInvalid", {"template": "{9..1}"}, {"template": "a%06d"}),
    *values(400, "at most", {"template": "{1..99999999}"}),
    *values(400, "exclude each other", {"objnames": ["a"], "template": "a"}),
    *values(400, "", {"objnames": [""]}, {"objnames": "a"}, {"objnames": [5]}, {"num-workers": -2}, "a", [1]),
    *values(400, "at most 1024", {"objnames": ["x" * 1025]}),
]
UPLOAD = [
    *queries(400, "upload id", "uploadId="),
    *queries(404, "", "uploadId=none"),
    # Another object's.
    Wrong(404, "", "uploadId={upload}"),
]
MOSS = [
    Wrong(400, "", body=b""),
    Wrong(400, "", body=b"nonsense"),
    Wrong(400, "", body={}),
    Wrong(400, "", body={"in": []}),
    Wrong(400, "", body={"in": "x"}),
    Wrong(400, "", body={"in": [{"objname": "", "bucket": "b"}]}),
    Wrong(400, "", body={"in": [{"objname": "o", "bucket": "a b"}]}),
    Wrong(400, "", body={"in": [{"objname": "o", "bucket": "b", "provider": "zzz"}]}),
    Wrong(400, "unique name", body={"in": [{"uname": "nonsense"}]}),
    Wrong(400, "", body={"in": [{"objname": "o", "bucket": "b"}], "mime": ".rar"}),
    Wrong(400, "coloc", body={"in": [{"objname": "o", "bucket": "b"}], "coloc": 9}),
    Wrong(400, "coloc", "coloc=x", body={"in": [{"objname": "o", "bucket": "b"}]}),
    Wrong(400, "", body={"in": [{"objname": "o", "bucket": "b", "start": -1}]}),
    Wrong(404, "ais://none", body={"in": [{"objname": "o", "bucket": "none"}]}),
    Wrong(404, "", body={"in": [{"objname": "none", "bucket": "b"}], "strm": True}),
]
QUESTION = [
    Wrong(400, "", body=b""),
    Wrong(400, "", body=b"nonsense"),
    Wrong(400, "", body=b"[]"),
    Wrong(400, "", body={"id": 5}),
    Wrong(400, "", body={"kind": "download", "bck": {"name": "a b"}}),
    Wrong(400, "", body={"kind": "download", "bck": {"name": "b", "provider": "zzz"}}),
]
CONFIGURATION = [
    *values(400, "object", [], "x", 5),
    *values(400, "unknown", {"no_such_section": {}}, {"checksum": {"no_such": 1}}),
    *values(400, "checksum", {"checksum": {"type": "md4"}}, {"checksum": {"type": 5}}),
    *values(400, "", {"features": HUGE}, {"timeout": {"startup_time": HUGE + "s"}}),
    *values(501, "", {"mirror": {"enabled": True}}),
]
CONFIGURATION_BY_QUERY = [
    *queries(400, 'unknown property "colour"', "colour=red"),
    *queries(400, "checksum", "checksum.type=md4"),
    *queries(400, "", "checksum=md5", "checksum.type.x=md5", "lru.enabled=perhaps"),
    *queries(501, "transient", "transient=true&checksum.type=md5"),
]
USER = [
    Wrong(404, "", path="/v1/auth/{}/nobody"),
    # Users that the configuration names are not to be changed here.
    Wrong(501, "", path="/v1/auth/{}/alice"),
]

TABLE: dict[Key, Sequence[Wrong]] = {
    ("GET", OBJECT, ""): [
        *READ,
        *fields(416, "", {"range": "bytes=5-"}, {"range": "lines=1-2"}, {"range": "bytes=0-0,2-3"}),
        *fields(416, "", {"range": f"bytes={HUGE}-"}, {"range": "bytes=-0"}, {"range": "bytes=2-1"}),
        *queries(400, "", "archpath=a", "archmode=prefix&archregx=x", "archpath=a&archmode=regexp"),
        *queries(
            400, "", "archmode=zzz&archregx=x", "archmode=regexp&archregx=(", "archpath=a&archmime=.rar"
        ),
        *queries(501, "etl_name", "etl_name=x"),
        *queries(501, "uploadId", "uploadId=x"),
    ],
    ("HEAD", OBJECT, ""): [
        *READ,
        *queries(400, "invalid property", "props=colour", "props=name,,colour"),
        *queries(400, "present", "presence=5"),
        *queries(501, "archpath", "archpath=a"),
    ],
    ("PUT", OBJECT, ""): [
        *fields(400, "", {"ais-checksum-type": "md5", "ais-checksum-value": "0" * 32}),
        *fields(400, "invalid checksum type", {"ais-checksum-type": "md4", "ais-checksum-value": "0"}),
        *fields(400, "2048", {"ais-custom-md": "k=" + "v" * 2048}),
        *fields(412, "", {"if-match": '"x"'}, {"if-none-match": "*"}),
        *fields(400, "", {"x-amz-content-sha256": "0" * 64}, {"x-amz-content-sha256": "nonsense"}),
        *queries(400, "unique name", "object_to=nonsense"),
        *queries(400, "name is empty", f"object_to={uname('b')}"),
        *queries(404, "ais://none", f"object_to={uname('none', 'x')}"),
        Wrong(404, "", f"object_to={uname('b', 'x')}", path="/v1/objects/b/none"),
        *queries(400, "append type", "append_type=other"),
        *queries(400, "APPEND handle", "append_type=flush", "append_type=append&append_handle=x"),
        *queries(404, "", "append_type=flush&append_handle=bRaSsqgO|memory-999999999|1"),
        *queries(400, "", "archpath=../x", "archpath=%2F", "archpath=m", "archpath=m&archmime=.rar"),
        Wrong(404, "", "archpath=m", headers={"ais-pine": "1"}, path="/v1/objects/b/none.tar"),
        Wrong(400, "Ais-Pine", "archpath=m", headers={"ais-pine": "7"}, path="/v1/objects/b/none.tar"),
        *queries(400, "part number", "uploadId={upload}&partNumber=0", "uploadId={upload}"),
        *queries(400, "part number", f"uploadId={{upload}}&partNumber={HUGE}"),
        *queries(404, "", "uploadId=none&partNumber=1"),
        *queries(501, "etl_name", "etl_name=x"),
    ],
    ("DELETE", OBJECT, "action="): [
        Wrong(404, "none doesn't exist", path="/v1/objects/b/none"),
        *queries(501, "archpath", "archpath=a"),
    ],
    ("DELETE", OBJECT, "action=evict-listrange"): [Wrong(400, "remote bucket")],
    ("PATCH", OBJECT, "action="): [
        Wrong(404, "does not exist", value={"k": "v"}, path="/v1/objects/b/none"),
        *values(400, "custom metadata", [], "x", {"k": 5}, {"k": "v" * 2048}, {"": "v"}, {"k": "a\nb"}),
        *values(501, "etl_name", {"k": "v"}, query="etl_name=x"),
    ],
    ("POST", OBJECT, "action=check-lock"): [],
    ("POST", OBJECT, "action=rename-obj"): [
        Wrong(400, "name is empty"),
        Wrong(400, "to itself", name="o"),
        Wrong(400, "1024", name="x" * 1025),
        Wrong(404, "does not exist", name="x", path="/v1/objects/b/none"),
    ],
    ("POST", OBJECT, "action=mpt-upload"): [*fields(400, "2048", {"ais-custom-md": "k=" + "v" * 2048})],
    ("POST", OBJECT, "action=mpt-complete"): [
        *UPLOAD,
        *(
            Wrong(400, text, "uploadId={upload}", value=value, path="/v1/objects/b/up")
            for text, value in (
                ("partial completion", []),
                ("partial completion", [{"part-number": 1}, {"part-number": 2}]),
                ("exactly", [{"part-number": 2}]),
                ("list of parts", "x"),
                ("list of parts", [{"part-number": "x"}]),
                ("list of parts", [{}]),
            )
        ),
    ],
    ("POST", OBJECT, "action=mpt-abort"): UPLOAD,
    ("DELETE", OBJECT, "action=mpt-abort"): UPLOAD,
    ("POST", "/v1/objects/{bucket}", "action=blob-download"): [Wrong(400, "remote bucket")],
    ("POST", "/v1/objects/{bucket}", "action=promote"): [
        *values(400, "", {"src": "/etc/passwd"}, {"src": ""}, {"src": 5}, {"colour": "red"}, [], "x"),
        *values(404, "node", {"src": "/etc/passwd", "tid": "another"}),
    ],
    ("GET", EVERY, "action=list"): queries(400, "", "provider=zzz"),
    ("GET", EVERY, "action="): [Wrong(400, "", "provider=zzz", body=b"")],
    ("GET", EVERY, "action=summary-bck"): [
        *queries(400, "", "provider=zzz"),
        *values(404, "", {"uuid": "none"}),
        *values(400, "", {"uuid": 5}, [], "x"),
    ],
    ("GET", BUCKET, "action=list"): [
        *PAGE,
        Wrong(400, "bad list-buckets request", name="other", value=None),
    ],
    ("GET", BUCKET, "action="): PAGE,
    ("GET", BUCKET, "action=summary-bck"): [
        *values(404, "", {"uuid": "none"}),
        *values(400, "", {"uuid": 5}, {"prefix": 5}, [], "x"),
    ],
    ("HEAD", BUCKET, ""): queries(404, "", "bsumm_remote=false&uuid=none"),
    ("HEAD", BUCKET + "/{prefix}", ""): [Wrong(400, "for summaries only", path="/v1/buckets/b/prefix")],
    ("POST", BUCKET, "action=create-bck"): [
        Wrong(409, "already exists"),
        *(
            Wrong(status, text, query, value=value, path="/v1/buckets/new")
            for status, text, query, value in (
                (400, "object of properties", "", []),
                (400, "object of properties", "", "x"),
                (400, "unknown field: colour", "", {"colour": "red"}),
                (400, "md4", "", {"checksum": {"type": "md4"}}),
                (400, "expected an object", "", {"checksum": "md5"}),
                (400, "cannot be set", "", {"bid": "7"}),
                (400, "64 bits", "", {"access": "everything"}),
                (501, "mirror", "", {"mirror": {"enabled": True}}),
                (501, "remote", "provider=aws", None),
                (501, "remote", "namespace=%40uuid", None),
                (400, "multipart_size", "", {"extra": {"aws": {"multipart_size": "1KiB"}}}),
            )
        ),
        *(Wrong(400, "reserved", path=f"/v1/buckets/{name}") for name in ("metrics", "ais", "data--s3")),
    ],
    ("DELETE", BUCKET, "action=destroy-bck"): [],
    ("PATCH", BUCKET, "action=set-bprops"): [
        *values(400, "object of properties", [], "x", 5),
        *values(400, "unknown field", {"colour": "red"}, {"checksum": {"colour": "red"}}),
        *values(400, "", {"checksum": {"type": "md4"}}, {"lru": {"enabled": "perhaps"}}, {"access": -1}),
        *values(400, "", {"access": HUGE}, {"features": HUGE}, {"extra": {"aws": {"multipart_size": HUGE}}}),
        *values(400, "cannot be set", {"provider": "aws"}, {"created": "1"}, {"Renamed": "x"}),
        *values(501, "", {"ec": {"enabled": True}}, {"backend_bck": {"name": "x", "provider": "aws"}}),
    ],
    ("PATCH", BUCKET, "action=reset-bprops"): [],
    ("POST", BUCKET, "action=copy-bck"): [
        *values(400, "bck_to", {}),
        *values(400, "onto itself", {}, query=f"bck_to={uname('b')}"),
        *values(400, "unique name", {}, query="bck_to=nonsense"),
        *values(400, "object, not a bucket", {}, query=f"bck_to={uname('c', 'x')}"),
        *values(400, "reserved", {}, query=f"bck_to={uname('metrics')}"),
        *values(501, "remote", {}, query="bck_to=aws%2F%40%23%2Fx%2F"),
        *values(400, "", {"prefix": 5}, {"num-workers": -9}, [], "x", query=f"bck_to={uname('x')}"),
        *values(400, "synchronize", {"synchronize": True, "prepend": "p"}, query=f"bck_to={uname('x')}"),
    ],
    ("POST", BUCKET, "action=move-bck"): [
        *queries(400, "bck_to", "", "bck_to="),
        *queries(400, "itself", f"bck_to={uname('b')}"),
        *queries(400, "already exists", f"bck_to={uname('c')}"),
        *queries(501, "remote", "bck_to=aws%2F%40%23%2Fx%2F"),
        *queries(400, "zzz", "bck_to=zzz%2F%40%23%2Fx%2F"),
    ],
    ("DELETE", BUCKET, "action=delete-listrange"): SELECTION,
    ("DELETE", BUCKET, "action=evict-listrange"): [Wrong(400, "remote bucket")],
    ("DELETE", BUCKET, "action=evict-remote-bck"): [Wrong(400, "remote bucket")],
    ("POST", BUCKET, "action=prefetch-listrange"): [Wrong(400, "remote bucket")],
    ("POST", BUCKET, "action=copy-listrange"): [
        *values(400, "onto themselves", {"objnames": ["o"]}),
        *values(
            400, "", {"tobck": {"name": "a b"}}, {"tobck": {"name": "c", "provider": "zzz"}}, {"tobck": 5}
        ),
        *values(501, "remote", {"tobck": {"name": "x", "provider": "aws"}}),
        *(
            Wrong(each.status, each.text, value={**each.value, "tobck": {"name": "c"}})
            for each in SELECTION
            if isinstance(each.value, dict)
        ),
    ],
    ("PUT", BUCKET, "action=archive"): [
        *values(400, "", {}, {"archname": ""}, {"archname": "x"}, {"archname": "x.rar"}, {"archname": 5}),
        *values(400, "", {"archname": "x.tar", "mime": ".rar"}, {"archname": "x" * 1024 + ".tar"}, [], "x"),
        *values(404, "ais://none", {"archname": "x.tar", "tobck": {"name": "none"}}),
        *values(400, "errTemplateInvalid", {"archname": "x.tar", "template": "{9..1}"}),
    ],
    **{("GET", path, ""): MOSS for path in (BATCH, BATCH_OF)},
    **{("GET", f"/{scheme}", ""): [] for scheme in EASY},
    **{(method, f"/{scheme}/{{bucket}}", ""): [] for scheme in EASY for method in ("GET", "HEAD")},
    **{
        (method, f"/{scheme}/{{bucket}}/{name}", ""): wrong
        for scheme in EASY
        for name in ("{object}", "{object}/{rest}")
        for method, wrong in (
            ("GET", []),
            ("HEAD", []),
            ("PUT", [*queries(400, "append type", "append_type=x")] if scheme == "ais" else []),
            ("DELETE", []),
        )
    },
    **{(method, path, ""): [] for method in ("GET", "HEAD") for path in ("/v1/health", "/metrics", "/")},
    **{
        ("GET", f"/v1/{path}", f"what={what}"): []
        for path, every in (
            (
                "daemon",
                "smap bmd snode config node_stats node_status sysinfo remote software_version metrics",
            ),
            (
                "cluster",
                "smap bmd snode cluster_config node_stats sysinfo mountpaths backends remote target_ips",
            ),
        )
        for what in every.split()
    },
    **{
        ("GET", "/v1/reverse/daemon", f"what={what}"): []
        for what in ("smap", "bmd", "remote", "software_version")
    },
    **{
        ("GET", "/v1/reverse/daemon", f"what={what}"): [
            Wrong(404, "node none does not exist", headers={"ais-node-id": "none"})
        ]
        for what in ("snode", "node_stats", "node_status", "metrics", "disk", "mountpaths")
    },
    **{("GET", "/v1/reverse/daemon", f"what={what}"): [] for what in ("config", "sysinfo")},
    **{
        ("PUT", f"/v1/{path}/set-config", ""): CONFIGURATION_BY_QUERY
        for path in ("cluster", "daemon", "reverse/daemon")
    },
    **{
        ("PUT", f"/v1/{path}", "action=set-config"): CONFIGURATION
        for path in ("cluster", "daemon", "reverse/daemon")
    },
    **{("PUT", f"/v1/{path}", "action=reset-config"): [] for path in ("cluster", "daemon", "reverse/daemon")},
    ("GET", "/v1/cluster", "what=status"): [
        *QUESTION,
        Wrong(400, "neither job id nor kind", body={}),
        Wrong(400, "invalid x-", body={"kind": "nonsense"}),
        Wrong(404, "does not exist", body={"id": "none"}),
        Wrong(404, "does not exist", body={"kind": "download"}),
    ],
    ("GET", "/v1/cluster", "what=backend_status"): [Wrong(400, "nothing", "provider=nothing")],
    ("GET", "/v1/cluster", "what=status_all"): QUESTION,
    ("GET", "/v1/cluster", "what=running_all"): QUESTION,
    ("GET", "/v1/cluster", "what=qryxstats"): [*QUESTION, Wrong(404, "not found", body={"id": "none"})],
    ("PUT", "/v1/cluster/attach", ""): [
        Wrong(400, "", headers={"ais-remote-ais-url": "http://127.0.0.1:1"}),
        Wrong(400, "", headers={"ais-remote-ais-alias": "other"}),
        Wrong(400, "", headers={"ais-remote-ais-alias": "other", "ais-remote-ais-url": "ftp://a"}),
    ],
    ("PUT", "/v1/cluster/detach", ""): [
        Wrong(404, "", headers={"ais-remote-ais-alias": "none"}),
    ],
    ("PUT", "/v1/cluster", "action=start"): [
        *values(400, "invalid xaction", {"Kind": "nonsense"}, {}),
        *values(400, "of its own", {"Kind": "copy-bck"}),
        *values(400, "errNotEnoughTargets", {"Kind": "rebalance"}),
        *values(501, "resilver", {"Kind": "resilver"}),
        *values(400, "", {"Kind": 5}, [], "x", {"Kind": "lru", "bck": {"name": "a b"}}),
    ],
    ("PUT", "/v1/cluster", "action=stop"): [
        *values(400, "neither job id nor kind", {}, {"ID": "", "Kind": ""}),
        *values(400, "", {"ID": 5}, [], "x"),
    ],
    ("GET", "/v1/auth/users", ""): [],
    ("POST", "/v1/auth/users", ""): [
        *(Wrong(409, "", body={"name": name}) for name in ("alice", "root", "carol")),
        *(Wrong(400, "", body={"name": name}) for name in ("no spaces", "", "x" * 65, 5)),
        *(
            Wrong(400, "", body=body)
            for body in (b"", b"nonsense", b"[]", {}, {"name": "x", "admin": "perhaps"})
        ),
    ],
    ("GET", "/v1/auth/users/{user}", ""): USER[:1],
    ("DELETE", "/v1/auth/users/{user}", ""): USER,
    ("POST", "/v1/auth/keys/{user}", ""): USER,
    ("DELETE", "/v1/auth/keys/{key}", ""): [Wrong(404), Wrong(501, path="/v1/auth/keys/alice-key")],
    ("GET", "/v1/auth/tokens", ""): [],
    ("POST", "/v1/auth/tokens/{user}", ""): [
        Wrong(404, "", body={"expires_s": 1}, path="/v1/auth/tokens/nobody"),
        *(Wrong(400, "", body={"expires_s": each}) for each in (0, -1, 10**12, "soon", None)),
        *(Wrong(400, "", body=body) for body in (b"", b"nonsense", {})),
    ],
    ("DELETE", "/v1/auth/tokens/{token}", ""): [Wrong(404)],
    ("GET", "/v1/sort", ""): queries(501, "not built", "uuid=srt-abcdefghi"),
    ("DELETE", "/v1/tokens", ""): [
        Wrong(400, "", body=body) for body in (b"", b"x", b"[]", {}, {"token": 5})
    ],
}
"""Every row of the table, and what is wrong with its requests beyond what may be with any."""


class Asked:
    """A node with two buckets, an object, an upload of `up` with one part, and users; called by root."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.asking = Asking(store=self.store)
        self.node = self.asking.node
        minted = self.asking(ROOT, "POST", "/v1/auth/tokens/root", {"expires_s": 3600})
        self.token = minted.json()["token"]
        for name in ("b", "c"):
            assert self("POST", f"/v1/buckets/{name}", {"action": "create-bck"}).status == 200
        assert self("PUT", "/v1/objects/b/o", b"hello", **{"ais-custom-md": "k=v"}).status == 200
        assert self("POST", "/v1/auth/users", {"name": "carol"}).status == 200
        self.upload = self("POST", "/v1/objects/b/up", {"action": "mpt-upload"}).body.decode()
        assert self("PUT", f"/v1/objects/b/up?uploadId={self.upload}&partNumber=1", b"part").status == 200

    def __call__(self, method: str, target: str, body: Any = b"", **headers: str) -> Answer:
        return self.asking(self.token, method, target, body, **headers)

    def rows(self) -> list[Route]:
        """What is built, but S3's and the downloads'."""
        return [
            row
            for row in self.node.routes
            if row.path not in S3_PATHS
            and row.handler is not None
            and not row.path.startswith("/v1/download")
        ]

    def state(self) -> object:
        """All that the node keeps."""
        return self.node.state(), {document.key: document for document in self.store.list("")}

    def check(self, row: Route, wrong: Wrong) -> None:
        """Ask, and compare."""
        path = wrong.path.replace("{}", row.path.rsplit("/", 2)[-2]) or usual_path(row)
        by, _, verb = row.verb.partition("=")
        query = "&".join(
            filter(None, (wrong.query.replace("{upload}", self.upload), f"what={verb}" * (by == "what")))
        )
        if wrong.body is not UNKNOWN:
            body = wrong.body
        elif by == "action":
            message = {"action": verb, "name": wrong.name}
            body = message if wrong.value is UNKNOWN else {**message, "value": wrong.value}
        else:
            body = b"other" if row.method == "PUT" else b""
        before = self.state()
        answer = self(row.method, f"{path}?{query}".rstrip("?"), body, **wrong.headers)
        where = (row[:2], row.verb, wrong, answer.status, answer.body, answer.headers)
        assert answer.status == wrong.status, where
        told = answer.error()
        assert (told["status"], told["method"]) == (wrong.status, row.method), where
        assert wrong.text in told["message"], where
        assert told["message"], where
        assert self.state() == before, where


def usual_path(row: Route) -> str:
    """A path that leads to a row."""
    path = row.path
    for place, name in PLACES.items():
        path = path.replace(place, name)
    return path.replace("{token}", "none").rstrip("/") or "/"


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    made = Asked()
    yield made
    made.asking.close()


def test_every_row_stands_in_the_table(asked: Asked) -> None:
    assert {(row.method, row.path, row.verb) for row in asked.rows()} == TABLE.keys()


@pytest.mark.parametrize("key", TABLE, ids=lambda key: "-".join(filter(None, key)))
def test_what_is_wrong_is_refused_and_changes_nothing(asked: Asked, key: Key) -> None:
    (row,) = [row for row in asked.rows() if (row.method, row.path, row.verb) == key]
    for wrong in TABLE[key]:
        asked.check(row, wrong)


BATCHED = {"in": [{"objname": "o"}]}


def generic(row: Route) -> Iterator[Wrong]:
    """What can be wrong with any request to a row."""
    usual = usual_path(row)
    body = BATCHED if row.path == BATCH_OF else UNKNOWN
    if "{bucket}" in row.path:
        is_easy = row.path[1:].partition("/")[0] in EASY
        for name in ("a%20b", "a..b", "x" * 65, "%FF"):
            yield Wrong(400, "bucket name", body=body, path=swapped(row, "{bucket}", name))
        yield Wrong(400, "URL escape", body=body, path=swapped(row, "{bucket}", "%zz"))
        if row.action != Action.CREATE_BUCKET:
            # Without a value that action is about buckets.
            value = {} if row.verb == "action=list" else UNKNOWN
            # Of a provider that the node does not have, nobody can tell.
            status = 501 if is_easy and not row.path.startswith("/ais/") else 404
            yield Wrong(status, "none", value=value, body=body, path=swapped(row, "{bucket}", "none"))
        if not is_easy:
            yield Wrong(400, "zzz", "provider=zzz", body=body)
            yield Wrong(400, "namespace", "namespace=x", body=body)
    if row.path.endswith("{object}") and row.path.startswith(("/v1/", "/ais/")):
        for name, text in (("%FF", "UTF-8"), ("%zz", "URL escape"), ("x" * 1025, "1025 bytes")):
            # What a message says may be refused first.
            yield Wrong(400, "" if row.verb else text, path=swapped(row, "{object}", name))
    if row.path == OBJECT:
        yield Wrong(400, "", path="/v1/objects/b/")
    if row.verb.startswith("action="):
        for body in (
            b"{",
            b"[]",
            b"5",
            b"\xff",
            b'{"action": 5}',
            b'{"action": "no-such-action"}',
            b"[" * 9999,
        ):
            yield Wrong(400, "", body=body)
    if row.verb.startswith("what="):
        yield Wrong(400, "unrecognized" if "daemon" in usual else "unexpected query", "what=nonsense")


def swapped(row: Route, place: str, name: str) -> str:
    """The usual path with another name in one place."""
    path = row.path.replace(place, name)
    for other, usual in PLACES.items():
        path = path.replace(other, usual)
    return path.rstrip("/")


def test_names_providers_and_bodies_are_checked_for_every_row(asked: Asked) -> None:
    for row in asked.rows():
        for wrong in generic(row):
            asked.check(row, wrong)


def test_methods_that_a_path_does_not_have_do_nothing(asked: Asked) -> None:
    known: dict[str, set[str]] = {}
    for row in asked.node.routes:
        if row.path not in S3_PATHS:
            known.setdefault(row.path, set()).add(row.method)
    before = asked.state()
    for path, methods in known.items():
        usual = usual_path(Route("", path.replace("{prefix}", "p"), None, None))
        for method in {"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"} - methods:
            if ANY_METHOD in methods:
                continue
            answer = asked(method, usual, json.dumps({"action": "destroy-bck"}).encode())
            # Another row may have the same shape, and find nothing of that name.
            assert answer.status in (400, 404, 405), (method, path, answer.body)
            if answer.status == 405:
                assert methods <= set(answer.headers["allow"].split(", ")), (method, path)
    assert asked.state() == before


@pytest.mark.parametrize("date", ["Fri, 20 Nov 99999999999 16:12:38 GMT", "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_dates_that_no_calendar_has_are_refused_or_ignored(asked: Asked, date: str) -> None:
    for path in ("/v1/objects/b/o", "/s3/b/o"):
        for name in ("if-modified-since", "if-unmodified-since", "if-range"):
            assert asked("GET", path, **{name: date, "range": "bytes=0-1"}).status in (200, 206, 304)
        signed = b64encode(bytes(20)).decode()
        scope = "root-key/20261120/r/s3/aws4_request"
        version_4 = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;date, Signature={'0' * 64}"
        for authorization in (f"AWS root-key:{signed}", version_4):
            answer = asked.node("GET", path, date=date, authorization=authorization)
            assert answer.status in (400, 401, 403), answer.body
