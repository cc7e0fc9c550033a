"""Wrong input to every operation of S3: what is answered, and that nothing is changed by it.

The table names every operation that the dialect has; a test holds the two together, so that none can be
built without saying what is refused. What can be wrong with all of them (names, owners, sub-resources
that contradict each other) is tried on each.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

import pytest

from aisle.api.s3.call import Level
from aisle.api.s3.dispatch import Dispatch, Operation
from service.calling import Native

SERVICE, BUCKET, OBJECT = Level.SERVICE, Level.BUCKET, Level.OBJECT
Key = tuple[str, Level, str]

MALFORMED = (b"", b"no xml", b"<Wrong/>", b"<a", b"\xff\xfe", b'<!DOCTYPE x [<!ENTITY e "e">]><x>&e;</x>')
HUGE = "9" * 5000
WRONG_MD5 = b64encode(bytes(16)).decode()
CRC32 = b64encode(bytes(4)).decode()


@dataclass(frozen=True)
class Wrong:
    """A request that is refused: what of it is not as usual, and the answer."""

    status: int
    code: str
    query: str = ""
    """Behind the sub-resource; names may be repeated there in other words."""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    """Another path than `/b` or `/b/k`."""


def fields(status: int, code: str, *every: Mapping[str, str]) -> list[Wrong]:
    """Requests that are wrong by their header fields alone."""
    return [Wrong(status, code, headers=headers) for headers in every]


def queries(status: int, code: str, *every: str) -> list[Wrong]:
    """Requests that are wrong by their queries alone."""
    return [Wrong(status, code, query=query) for query in every]


def bodies(status: int, code: str, *every: bytes) -> list[Wrong]:
    """Requests that are wrong by their bodies alone."""
    return [Wrong(status, code, body=body) for body in every]


def documents(body: bytes, path: str = "") -> list[Wrong]:
    """Requests with a document that is not the one that was announced."""
    return [
        Wrong(400, code, body=body, headers=headers, path=path)
        for code, headers in (
            ("InvalidDigest", {"content-md5": "x"}),
            ("BadDigest", {"content-md5": WRONG_MD5}),
            ("BadDigest", {"x-amz-checksum-crc32": CRC32}),
            ("InvalidRequest", {"x-amz-checksum-crc32": "x"}),
            ("InvalidRequest", {"x-amz-sdk-checksum-algorithm": "CRC32"}),
        )
    ]


MISSING = [Wrong(404, "NoSuchKey", path="/b/missing")]
OTHER_VERSION = [Wrong(404, "NoSuchVersion", query="versionId=7")]
PAGES = [
    *queries(400, "InvalidArgument", "max-keys=-1", "max-keys=x", "max-keys=1.0", f"max-keys={HUGE}"),
    *queries(400, "InvalidArgument", "encoding-type=xml", "max-keys=2147483648"),
    *queries(400, "InvalidURI", "prefix=%FF", "prefix=%zz", "delimiter=%C3"),
]
READ = [
    *MISSING,
    *OTHER_VERSION,
    *fields(
        416,
        "InvalidRange",
        {"range": "bytes=5-"},
        {"range": "bytes=-0"},
        {"range": "bytes=99999999999999999-"},
    ),
    *fields(412, "PreconditionFailed", {"if-match": '"x"'}, {"if-match": ""}),
    *fields(412, "PreconditionFailed", {"if-unmodified-since": "Thu, 01 Jan 2015 00:00:00 GMT"}),
    *fields(501, "NotImplemented", {"x-amz-server-side-encryption-customer-algorithm": "AES256"}),
    *queries(400, "InvalidArgument", "response-content-type=a%0D%0Ab", "response-expires=%00"),
]
PART = [
    *queries(400, "InvalidArgument", "partNumber=0", "partNumber=x", "partNumber=-1", "partNumber=10001"),
    *queries(400, "InvalidArgument", f"partNumber={HUGE}", "partNumber=%C2%B2", "partNumber="),
    *queries(416, "InvalidPartNumber", "partNumber=2"),
    Wrong(400, "InvalidRequest", query="partNumber=1", headers={"range": "bytes=0-1"}),
    Wrong(404, "NoSuchKey", query="partNumber=1", path="/b/missing"),
]
DESCRIBED = [
    *fields(400, "MetadataTooLarge", {"x-amz-meta-a": "x" * 2048}),
    *fields(400, "InvalidStorageClass", {"x-amz-storage-class": "FAST"}),
    *fields(400, "InvalidArgument", {"x-amz-acl": "everybody"}),
    *fields(400, "InvalidTag", {"x-amz-tagging": "a=1&a=2"}, {"x-amz-tagging": "=1"}),
    *fields(400, "InvalidTag", {"x-amz-tagging": "&".join(f"k{n}=1" for n in range(11))}),
    *fields(400, "InvalidTag", {"x-amz-tagging": "k=%00"}, {"x-amz-tagging": "k%01=1&a=2"}),
    *fields(400, "InvalidTag", {"x-amz-tagging": "k" * 129 + "=1"}, {"x-amz-tagging": "k=" + "v" * 257}),
    *fields(501, "NotImplemented", {"x-amz-server-side-encryption": "AES256"}),
    *fields(501, "NotImplemented", {"x-amz-server-side-encryption-customer-key": "AA"}),
    *fields(501, "NotImplemented", {"x-amz-object-lock-mode": "GOVERNANCE"}, {"x-amz-grant-read": "id=1"}),
]
ANNOUNCED = [
    *fields(400, "InvalidDigest", {"content-md5": ""}, {"content-md5": "x"}, {"content-md5": "AAAA"}),
    *fields(400, "BadDigest", {"content-md5": WRONG_MD5}, {"x-amz-checksum-crc32": CRC32}),
    *fields(400, "InvalidRequest", {"x-amz-checksum-crc32": ""}, {"x-amz-checksum-sha256": "x"}),
    *fields(400, "InvalidRequest", {"x-amz-checksum-md4": "AAAA"}, {"x-amz-sdk-checksum-algorithm": "CRC32"}),
    *fields(400, "InvalidRequest", {"x-amz-checksum-crc32": CRC32, "x-amz-checksum-crc32c": CRC32}),
    *fields(400, "InvalidRequest", {"x-amz-trailer": "x-amz-checksum-md4"}),
    *fields(400, "XAmzContentSHA256Mismatch", {"x-amz-content-sha256": "0" * 64}),
    *fields(400, "InvalidRequest", {"x-amz-content-sha256": "nonsense"}),
    *fields(
        *(400, "IncompleteBody"),
        {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": "2"},
    ),
]
COPIED = [
    *fields(404, "NoSuchKey", {"x-amz-copy-source": "b/missing"}),
    *fields(404, "NoSuchBucket", {"x-amz-copy-source": "/nowhere/k"}),
    *fields(404, "NoSuchVersion", {"x-amz-copy-source": "/b/k?versionId=7"}),
    *fields(400, "InvalidArgument", {"x-amz-copy-source": ""}, {"x-amz-copy-source": "b"}),
    *fields(400, "InvalidArgument", {"x-amz-copy-source": "/b/"}, {"x-amz-copy-source": "b/k?other"}),
    *fields(400, "InvalidURI", {"x-amz-copy-source": "b/%FF"}, {"x-amz-copy-source": "b/%zz"}),
    *fields(400, "InvalidBucketName", {"x-amz-copy-source": "b%20b/k"}),
    *fields(
        *(412, "PreconditionFailed"),
        {"x-amz-copy-source": "b/k", "x-amz-copy-source-if-match": '"x"'},
        {"x-amz-copy-source": "b/k", "x-amz-copy-source-if-none-match": "*"},
    ),
    *fields(
        *(403, "AccessDenied"),
        {"x-amz-copy-source": "b/k", "x-amz-source-expected-bucket-owner": "111122223333"},
    ),
]
UPLOAD = [
    Wrong(404, "NoSuchUpload", query="uploadId=none&partNumber=1"),
    Wrong(404, "NoSuchUpload", query="uploadId=&partNumber=1"),
    # Another object's.
    Wrong(404, "NoSuchUpload", query="uploadId={upload}&partNumber=1", path="/b/k"),
]


def document(*parts: tuple[str, str]) -> bytes:
    """A list of parts to be completed."""
    every = [f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for n, tag in parts]
    return f"<CompleteMultipartUpload>{''.join(every)}</CompleteMultipartUpload>".encode()


def removal(inner: str) -> bytes:
    """A list of objects to be removed."""
    return f"<Delete>{inner}</Delete>".encode()


def policy(inner: str) -> bytes:
    """An access control policy."""
    return f"<AccessControlPolicy>{inner}</AccessControlPolicy>".encode()


GRANT = (
    "<AccessControlList><Grant><Grantee><ID>somebody</ID></Grantee><Permission>READ</Permission></Grant>"
    "</AccessControlList>"
)
ACL = [
    *fields(400, "InvalidArgument", {"x-amz-acl": "everybody"}, {"x-amz-acl": "Public-Read"}),
    *fields(501, "NotImplemented", {"x-amz-grant-read": 'id="x"'}),
    *bodies(
        400, "MalformedXML", *MALFORMED, policy(""), policy("<AccessControlList><Grant/></AccessControlList>")
    ),
    *bodies(501, "NotImplemented", policy(GRANT)),
    *documents(policy("<AccessControlList/>")),
]

TABLE: Mapping[Key, Sequence[Wrong]] = {
    ("GET", SERVICE, ""): [
        *queries(400, "InvalidArgument", "max-buckets=0", "max-buckets=x", "max-buckets=10001"),
        *queries(400, "InvalidArgument", f"max-buckets={HUGE}", f"max-buckets=000000001{HUGE}"),
        *queries(400, "InvalidArgument", "continuation-token=zz", "continuation-token=ff"),
    ],
    ("PUT", BUCKET, ""): [
        *(
            Wrong(400, "InvalidBucketName", path=f"/{name}")
            for name in (
                "Photos",
                "my_photos",
                "photos-",
                "-photos",
                ".photos",
                "photos.",
                "a..b",
                "a.-b",
                "a-.b",
            )
        ),
        *(
            Wrong(400, "InvalidBucketName", path=f"/{name}")
            for name in ("ab", "a" * 64, "192.168.5.4", "a%20b", "%FF%FE%FF", "data--s3", "%zz%zz", "metrics")
        ),
        Wrong(409, "BucketAlreadyOwnedByYou", path="/photos"),
        Wrong(409, "BucketAlreadyOwnedByYou", body=b"<CreateBucketConfiguration/>", path="/photos"),
        *(Wrong(400, "MalformedXML", body=body, path="/new") for body in MALFORMED[1:]),
        Wrong(400, "InvalidArgument", headers={"x-amz-acl": "everybody"}, path="/new"),
        Wrong(501, "NotImplemented", headers={"x-amz-grant-read": "id=1"}, path="/new"),
        Wrong(501, "NotImplemented", headers={"x-amz-bucket-object-lock-enabled": "true"}, path="/new"),
        *documents(b"<CreateBucketConfiguration/>", "/new"),
    ],
    ("HEAD", BUCKET, ""): [],
    ("DELETE", BUCKET, ""): [Wrong(409, "BucketNotEmpty")],
    ("GET", BUCKET, "location"): [],
    ("GET", BUCKET, "versioning"): [],
    ("PUT", BUCKET, "versioning"): [
        *bodies(400, "MalformedXML", *MALFORMED),
        *bodies(
            *(400, "IllegalVersioningConfigurationException"),
            b"<VersioningConfiguration/>",
            b"<VersioningConfiguration><Status>enabled</Status></VersioningConfiguration>",
        ),
        *bodies(
            *(501, "NotImplemented"),
            b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>"
            b"</VersioningConfiguration>",
        ),
        *documents(b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"),
    ],
    ("GET", BUCKET, "acl"): [],
    ("PUT", BUCKET, "acl"): ACL,
    ("GET", BUCKET, ""): [
        *PAGES,
        *queries(400, "InvalidArgument", "list-type=3", "list-type=x"),
        *queries(
            400, "InvalidArgument", *(f"list-type=2&continuation-token={t}" for t in ("", "x", "%C3%A9"))
        ),
    ],
    ("GET", BUCKET, "versions"): [
        *PAGES,
        *queries(400, "InvalidArgument", "version-id-marker=null", "key-marker=k&version-id-marker=7"),
    ],
    ("GET", BUCKET, "uploads"): [
        *queries(400, "InvalidArgument", "max-uploads=-1", "max-uploads=x", f"max-uploads={HUGE}"),
        *queries(400, "InvalidArgument", "encoding-type=xml"),
    ],
    ("POST", BUCKET, "delete"): [
        *bodies(400, "MalformedXML", *MALFORMED, removal(""), removal("<Object/>")),
        *bodies(400, "MalformedXML", removal("<Object><Key>x</Key></Object>" * 1001)),
        *documents(removal("<Object><Key>k</Key></Object>")),
    ],
    **{
        ("GET", BUCKET, name): []
        for name in (
            *(
                "cors",
                "encryption",
                "lifecycle",
                "object-lock",
                "ownershipControls",
                "policy",
                "policyStatus",
            ),
            *("publicAccessBlock", "replication", "tagging", "website", "accelerate", "logging"),
            *("notification", "requestPayment"),
        )
    },
    **{
        ("GET", BUCKET, name): queries(404, "NoSuchConfiguration", "id=x")
        for name in ("analytics", "intelligent-tiering", "inventory", "metrics")
    },
    ("GET", OBJECT, ""): READ,
    ("HEAD", OBJECT, ""): READ,
    ("GET", OBJECT, "partNumber"): PART,
    ("HEAD", OBJECT, "partNumber"): PART,
    ("PUT", OBJECT, ""): [
        *DESCRIBED,
        *ANNOUNCED,
        *(Wrong(wrong.status, wrong.code, headers=wrong.headers, path="/b/copy") for wrong in COPIED),
        *fields(400, "InvalidRequest", {"x-amz-copy-source": "b/k"}),
        *fields(
            *(400, "InvalidArgument"),
            {"x-amz-copy-source": "b/k", "x-amz-metadata-directive": "MOVE"},
            {"x-amz-copy-source": "b/k", "x-amz-tagging-directive": "replace"},
        ),
        *fields(412, "PreconditionFailed", {"if-none-match": "*"}, {"if-match": '"x"'}),
        *fields(501, "NotImplemented", {"x-amz-write-offset-bytes": "0"}),
        Wrong(404, "NoSuchKey", headers={"if-match": "*"}, path="/b/missing"),
    ],
    ("DELETE", OBJECT, ""): [
        *OTHER_VERSION,
        *fields(412, "PreconditionFailed", {"if-match": '"x"'}, {"x-amz-if-match-size": "4"}),
        *fields(
            *(412, "PreconditionFailed"),
            {"x-amz-if-match-last-modified-time": "Thu, 01 Jan 2015 00:00:00 GMT"},
        ),
        *fields(400, "InvalidArgument", {"x-amz-if-match-size": "x"}, {"x-amz-if-match-size": HUGE}),
        *fields(400, "InvalidArgument", {"x-amz-if-match-last-modified-time": "yesterday"}),
        Wrong(404, "NoSuchKey", headers={"if-match": "*"}, path="/b/missing"),
    ],
    ("POST", OBJECT, "uploads"): [
        *DESCRIBED,
        *fields(400, "InvalidRequest", {"x-amz-checksum-algorithm": "MD4"}),
        *fields(400, "InvalidRequest", {"x-amz-checksum-type": "COMPOSITE"}),
        *fields(
            *(400, "InvalidRequest"),
            {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-type": "FULL_OBJECT"},
            {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "COMPOSITE"},
            {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "HALF_OBJECT"},
        ),
    ],
    ("PUT", OBJECT, "uploadId"): [
        *UPLOAD,
        *queries(
            *(400, "InvalidArgument"),
            *(f"uploadId={{upload}}&partNumber={n}" for n in ("", "0", "x", "10001", HUGE, "-1", "%C2%B2")),
        ),
        *queries(400, "InvalidArgument", "uploadId={upload}"),
        *(
            Wrong(
                wrong.status,
                wrong.code,
                "uploadId={upload}&partNumber=1",
                headers=wrong.headers,
                path="/b/up",
            )
            for wrong in (*ANNOUNCED, *COPIED)
        ),
        *(
            Wrong(
                *(400, "InvalidArgument", "uploadId={upload}&partNumber=1"),
                headers={"x-amz-copy-source": "b/k", "x-amz-copy-source-range": span},
                path="/b/up",
            )
            for span in (
                "0-1",
                "bytes=0",
                "bytes=-2",
                "bytes=1-",
                "bytes=3-2",
                "bytes=0-5",
                f"bytes=0-{HUGE}",
            )
        ),
    ],
    ("POST", OBJECT, "uploadId"): [
        *(Wrong(each.status, each.code, each.query, document(("1", "x")), path=each.path) for each in UPLOAD),
        *(
            Wrong(status, code, "uploadId={upload}", body, path="/b/up")
            for status, code, body in (
                *((400, "MalformedXML", body) for body in (*MALFORMED, document(), document(("x", "x")))),
                (400, "MalformedXML", document(("1", ""))),
                (400, "InvalidPart", document(("1", "x"))),
                (400, "InvalidPart", document(("1", '""'))),
                (400, "InvalidPart", document(("2", "{etag}"))),
                (400, "InvalidPartOrder", document(("1", "{etag}"), ("1", "{etag}"))),
                (400, "InvalidPart", document(("10001", "{etag}"))),
            )
        ),
        *(
            Wrong(status, code, "uploadId={upload}", document(("1", "{etag}")), headers, path="/b/up")
            for status, code, headers in (
                (400, "InvalidRequest", {"x-amz-mp-object-size": "6"}),
                (400, "InvalidRequest", {"x-amz-checksum-crc32": CRC32}),
                (404, "NoSuchKey", {"if-match": "*"}),
            )
        ),
    ],
    ("DELETE", OBJECT, "uploadId"): UPLOAD,
    ("GET", OBJECT, "uploadId"): [
        *UPLOAD,
        *(
            Wrong(400, "InvalidArgument", f"uploadId={{upload}}&{query}", path="/b/up")
            for query in ("max-parts=-1", "max-parts=x", f"max-parts={HUGE}", "part-number-marker=x")
        ),
    ],
    ("GET", OBJECT, "attributes"): [
        Wrong(404, "NoSuchKey", headers={"x-amz-object-attributes": "ETag"}, path="/b/missing"),
        Wrong(404, "NoSuchVersion", "versionId=7", headers={"x-amz-object-attributes": "ETag"}),
        *fields(400, "InvalidArgument", {}, {"x-amz-object-attributes": "Colour"}),
    ],
    ("GET", OBJECT, "acl"): [*MISSING, *OTHER_VERSION],
    ("PUT", OBJECT, "acl"): [
        *MISSING,
        *OTHER_VERSION,
        *ACL,
        *fields(400, "AccessControlListNotSupported", {"x-amz-acl": "public-read"}),
    ],
    ("GET", OBJECT, "tagging"): [*MISSING, *OTHER_VERSION],
    ("PUT", OBJECT, "tagging"): [
        Wrong(404, "NoSuchKey", body=b"<Tagging><TagSet/></Tagging>", path="/b/missing"),
        *OTHER_VERSION,
        *bodies(400, "MalformedXML", *MALFORMED, b"<Tagging/>", b"<Tagging><Tag/></Tagging>"),
        *bodies(
            *(400, "InvalidTag"),
            b"<Tagging><TagSet><Tag><Value>v</Value></Tag></TagSet></Tagging>",
            b"<Tagging><TagSet>" + b"<Tag><Key>k</Key><Value>v</Value></Tag>" * 2 + b"</TagSet></Tagging>",
            b"<Tagging><TagSet>"
            + b"".join(b"<Tag><Key>k%d</Key><Value>v</Value></Tag>" % n for n in range(11))
            + b"</TagSet></Tagging>",
        ),
        *documents(b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"),
    ],
    ("DELETE", OBJECT, "tagging"): [*MISSING, *OTHER_VERSION],
}
"""Every operation of the dialect, and what is wrong with its requests beyond what may be with any."""


class Asked:
    """A node with a bucket `b` that holds `k`, and an upload of `up` with one part."""

    def __init__(self) -> None:
        self.node = Native()
        self.node.bucket("b")
        self.node.bucket("photos")
        assert (
            self.node("PUT", "/s3/b/k", b"hello", **{"x-amz-meta-a": "b", "x-amz-tagging": "a=1"}).status
            == 200
        )
        begun = self.node("POST", "/s3/b/up?uploads")
        self.upload = ElementTree.fromstring(begun.body).findtext("{*}UploadId") or ""
        part = self.node("PUT", f"/s3/b/up?uploadId={self.upload}&partNumber=1", b"part")
        self.etag = part.headers["etag"]
        (self.dispatch,) = {
            owner
            for route in self.node.routes
            if isinstance(owner := getattr(route.handler, "__self__", None), Dispatch)
        }

    def filled(self, text: str) -> str:
        """With what is known only at run time."""
        return text.replace("{upload}", self.upload).replace("{etag}", self.etag)

    def check(self, operation: Key, wrong: Wrong) -> None:
        """Ask, and compare."""
        method, level, subresource = operation
        path = wrong.path or {SERVICE: "/", BUCKET: "/b", OBJECT: "/b/k"}[level]
        named = {pair.partition("=")[0] for pair in wrong.query.split("&")}
        query = self.filled(wrong.query)
        if subresource and subresource not in named:
            query = f"{subresource}&{query}" if query else subresource
        body = self.filled(wrong.body.decode("latin-1")).encode("latin-1")
        if not body and method == "PUT" and level is OBJECT and subresource in ("", "uploadId"):
            body = b"" if "x-amz-copy-source" in wrong.headers else b"other"
        before = self.node.state()
        answer = self.node(method, f"/s3{path}?{query}".rstrip("?"), body, **wrong.headers)
        where = (operation, wrong, answer.body)
        assert answer.status == wrong.status, where
        assert answer.headers["content-type"] == "application/xml"
        assert answer.headers["x-amz-request-id"] is not None
        if method == "HEAD":
            assert answer.body == b""
        else:
            root = ElementTree.fromstring(answer.body)
            assert (root.tag, root.findtext("Code")) == ("Error", wrong.code), where
            assert root.findtext("Message"), where
            assert root.findtext("Resource") is not None, where
        assert self.node.state() == before, where


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    made = Asked()
    yield made
    made.node.close()


def test_every_operation_stands_in_the_table(asked: Asked) -> None:
    assert {row[:3] for row in asked.dispatch.operations} == TABLE.keys()


@pytest.mark.parametrize("operation", TABLE, ids=lambda key: f"{key[0]}-{key[1].name}-{key[2]}")
def test_what_is_wrong_is_refused_and_changes_nothing(asked: Asked, operation: Key) -> None:
    for wrong in TABLE[operation]:
        asked.check(operation, wrong)


def generic(operation: Operation) -> Iterator[Wrong]:
    """What can be wrong with any request to an operation."""
    _, level, subresource = operation[:3]
    if level is SERVICE:
        return
    key = "/k" if level is OBJECT else ""
    query = "partNumber=1" if subresource == "uploadId" else ""
    for name in ("a%20b", "a..b", "%FF%FE%FF", "%zz%zz", "x" * 65):
        yield Wrong(400, "InvalidBucketName", query, path=f"/{name}{key}")
    yield Wrong(400, "InvalidArgument", "tagging&torrent" if subresource else "acl&cors", path=f"/b{key}")
    if not operation.on_missing:
        yield Wrong(404, "NoSuchBucket", query, path=f"/nowhere{key}")
        yield Wrong(
            *(403, "AccessDenied", query),
            headers={"x-amz-expected-bucket-owner": "111122223333"},
            path=f"/b{key}",
        )
    if level is OBJECT:
        yield Wrong(400, "InvalidURI", query, path="/b/%FF")
        yield Wrong(400, "InvalidURI", query, path="/b/%zz")
        yield Wrong(400, "KeyTooLongError", query, path=f"/b/{'x' * 1025}")
        yield Wrong(400, "KeyTooLongError", query, path=f"/b/{'%C3%BC' * 513}")
    yield Wrong(400, "InvalidURI", f"{query}&x=%FF", path=f"/b{key}")


def test_names_owners_and_queries_are_checked_for_every_operation(asked: Asked) -> None:
    for operation in asked.dispatch.operations:
        for wrong in generic(operation):
            asked.check(operation[:3], wrong)


def test_the_owner_that_is_expected_is_let_in(asked: Asked) -> None:
    headers = {"x-amz-expected-bucket-owner": "root"}
    assert asked.node("GET", "/s3/b/k", **headers).body == b"hello"
    copied = {"x-amz-copy-source": "b/k", "x-amz-source-expected-bucket-owner": "root"}
    assert asked.node("PUT", "/s3/b/copy", **headers, **copied).status == 200
    assert asked.node("DELETE", "/s3/b/copy", **headers).status == 204
