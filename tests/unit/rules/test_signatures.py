"""Signatures: Amazon's published examples, what botocore and s3cmd sign, and what must be refused."""

import calendar
import hmac
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import formatdate
from hashlib import sha256
from unittest import mock
from urllib.parse import quote, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import (
    ClockSkewed,
    MalformedCredentials,
    RequestExpired,
    SignatureMismatch,
    Unauthenticated,
)
from aisle.rules import signatures_v2 as v2
from aisle.rules import signatures_v4 as v4
from aisle.rules.signatures import canonical_path, canonical_queries, query_pairs

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW_S = calendar.timegm((2013, 5, 24, 0, 0, 0))
EMPTY = sha256(b"").hexdigest()


@dataclass
class Sent:
    """A request as it came."""

    method: str
    path: bytes
    query: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def published(method: str, target: str, signed: str, signature: str, **headers: str) -> Sent:
    """A request of Amazon's documentation of version 4."""
    path, _, query = target.partition("?")
    fields = {"host": "examplebucket.s3.amazonaws.com", "x-amz-date": "20130524T000000Z"}
    fields |= {"x-amz-content-sha256": EMPTY} | {k.replace("_", "-"): v for k, v in headers.items()}
    fields["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={signed},Signature={signature}"
    )
    return Sent(method, path.encode(), query.encode(), fields)


V4_EXAMPLES = [
    published(
        "GET",
        "/test.txt",
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        range="bytes=0-9",
    ),
    published(
        "PUT",
        "/test$file.text",
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        date="Fri, 24 May 2013 00:00:00 GMT",
        x_amz_storage_class="REDUCED_REDUNDANCY",
        x_amz_content_sha256="44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    ),
    published(
        "GET",
        "/?lifecycle",
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    published(
        "GET",
        "/?max-keys=2&prefix=J",
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
]
V4_PRESIGNED = Sent(
    "GET",
    b"/test.txt",
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256"
    b"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    b"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    b"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
    {"host": "examplebucket.s3.amazonaws.com"},
)


def verify(request: Sent, *, now_s: float = NOW_S, secret: str = SECRET) -> object:
    """What the gate does with a request that is signed somehow."""
    authorization = request.headers.get("authorization", "")
    claim: v4.SignatureV4 | v2.SignatureV2
    if authorization.startswith(v4.ALGORITHM):
        claim = v4.read_header(request, authorization)
    elif authorization:
        claim = v2.read_header(authorization)
    elif b"X-Amz-Signature" in {pair.partition(b"=")[0] for pair in request.query.split(b"&")}:
        claim = v4.read_query(request)
    else:
        claim = v2.read_query(request)
    assert claim.access_key == KEY
    return claim.verify(request, secret, now_s=now_s)


@pytest.mark.parametrize("example", [*V4_EXAMPLES, V4_PRESIGNED])
def test_amazons_examples_of_version_4_are_right(example: Sent) -> None:
    verify(example)
    with pytest.raises(SignatureMismatch):
        verify(example, secret=SECRET[:-1])
    with pytest.raises(SignatureMismatch):
        verify(replace(example, method="DELETE"))
    with pytest.raises(SignatureMismatch):
        verify(replace(example, path=example.path + b"x"))
    with pytest.raises(SignatureMismatch):
        verify(replace(example, query=example.query + b"&versionId=1"))
    with pytest.raises(SignatureMismatch):
        verify(replace(example, headers={**example.headers, "host": "other"}))


def published_v2(method: str, target: str, date: str, signature: str, **headers: str) -> Sent:
    """A request of Amazon's documentation of version 2, path-style."""
    path, _, query = target.partition("?")
    fields = {"date": date, "authorization": f"AWS {KEY}:{signature}"}
    return Sent(
        method, path.encode(), query.encode(), fields | {k.replace("_", "-"): v for k, v in headers.items()}
    )


V2_EXAMPLES = [
    published_v2(
        "GET",
        "/johnsmith/photos/puppy.jpg",
        "Tue, 27 Mar 2007 19:36:42 +0000",
        "bWq2s1WEIj+Ydj0vQ697zp+IXMU=",
    ),
    published_v2(
        "PUT",
        "/johnsmith/photos/puppy.jpg",
        "Tue, 27 Mar 2007 21:15:45 +0000",
        "MyyxeRY7whkBe+bq8fHCL/2kKUg=",
        content_type="image/jpeg",
    ),
    published_v2(
        "GET",
        "/johnsmith/?prefix=photos&max-keys=50&marker=puppy",
        "Tue, 27 Mar 2007 19:42:41 +0000",
        "htDYFYduRNen8P9ZfE/s9SuKy0U=",
    ),
    published_v2("GET", "/johnsmith/?acl", "Tue, 27 Mar 2007 19:44:46 +0000", "c2WLPFtWHVgbEmeEG93a4cG37dM="),
]
V2_NOW_S = calendar.timegm((2007, 3, 27, 19, 42, 0))
V2_PRESIGNED = Sent(
    "GET",
    b"/johnsmith/photos/puppy.jpg",
    b"AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620",
)


@pytest.mark.parametrize("example", V2_EXAMPLES)
def test_amazons_examples_of_version_2_are_right(example: Sent) -> None:
    signed_s = calendar.timegm(
        datetime.strptime(example.headers["date"][5:25], "%d %b %Y %H:%M:%S").timetuple()
    )
    verify(example, now_s=signed_s)
    verify(replace(example, path=b"/s3" + example.path), now_s=signed_s)
    with pytest.raises(SignatureMismatch):
        verify(example, now_s=signed_s, secret="other")
    with pytest.raises(SignatureMismatch):
        verify(replace(example, query=b"delete"), now_s=signed_s)
    with pytest.raises(SignatureMismatch):
        verify(replace(example, headers={**example.headers, "x-amz-acl": "public-read"}), now_s=signed_s)
    with pytest.raises(ClockSkewed):
        verify(example, now_s=signed_s + 901)


def test_amazons_presigned_example_of_version_2_is_right_until_it_expires() -> None:
    verify(V2_PRESIGNED, now_s=1_175_139_620)
    with pytest.raises(RequestExpired):
        verify(V2_PRESIGNED, now_s=1_175_139_621)
    with pytest.raises(SignatureMismatch):
        verify(replace(V2_PRESIGNED, query=V2_PRESIGNED.query + b"&acl"), now_s=0)


@pytest.mark.parametrize(
    ("example", "query"),
    [
        (V4_PRESIGNED, V4_PRESIGNED.query.replace(b"SignedHeaders=host", b"SignedHeaders=host%3B%E2%82%AC")),
        (V4_PRESIGNED, V4_PRESIGNED.query + b"&X-Amz-Content-Sha256=%E2%82%AC"),
        (V2_PRESIGNED, V2_PRESIGNED.query + b"&x-amz-%E2%82%AC=1"),
    ],
)
def test_characters_that_no_field_has_make_a_presigned_request_wrong(example: Sent, query: bytes) -> None:
    assert query != example.query
    with pytest.raises(Unauthenticated):
        verify(replace(example, query=query), now_s=NOW_S if example is V4_PRESIGNED else 0)


def test_a_signature_holds_fifteen_minutes_either_way() -> None:
    for example in V4_EXAMPLES:
        verify(example, now_s=NOW_S + 900)
        verify(example, now_s=NOW_S - 900)
        for late in (901, -901):
            with pytest.raises(ClockSkewed) as caught:
                verify(example, now_s=NOW_S + late)
            assert (caught.value.signed_s, caught.value.now_s) == (NOW_S, NOW_S + late)


def test_a_presigned_request_holds_as_long_as_it_says() -> None:
    verify(V4_PRESIGNED, now_s=NOW_S + 86_400)
    verify(V4_PRESIGNED, now_s=NOW_S - 900)
    for now_s in (NOW_S + 86_401, NOW_S - 901):
        with pytest.raises(RequestExpired):
            verify(V4_PRESIGNED, now_s=now_s)


@pytest.mark.parametrize("expires", ["0", "604801", "-1", "x", "", "1e3", "٣", "9" * 30])
def test_a_presigned_request_lives_a_second_to_a_week(expires: str) -> None:
    query = V4_PRESIGNED.query.replace(b"Expires=86400", b"Expires=" + quote(expires).encode())
    with pytest.raises(MalformedCredentials):
        verify(replace(V4_PRESIGNED, query=query))


@pytest.mark.parametrize(
    "authorization",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Signature=",
        "AWS4-HMAC-SHA256 nonsense",
        f"AWS4-HMAC-SHA256 Signature={EMPTY}",
        f"AWS4-HMAC-SHA256 Credential={KEY}, Signature={EMPTY}",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20130524/r/s3/aws4_request, Signature={EMPTY}",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20130524/r/s3, SignedHeaders=host, Signature={EMPTY}",
        f"AWS4-HMAC-SHA256 Credential=/20130524/r/s3/aws4_request, SignedHeaders=host, Signature={EMPTY}",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20130524/r/ec2/aws4_request,SignedHeaders=host,Signature={EMPTY}",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20130525/r/s3/aws4_request,SignedHeaders=host,Signature={EMPTY}",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20130524/r/s3/aws4_request,SignedHeaders=date,Signature={EMPTY}",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20130524/r/s3/aws4_request, SignedHeaders=host, Signature=xyz",
        "AWS ",
        "AWS :x",
        "AWS key",
        "AWS key:ä",
    ],
)
def test_broken_credentials_are_named_as_such(authorization: str) -> None:
    with pytest.raises(MalformedCredentials):
        verify(replace(V4_EXAMPLES[2], headers={**V4_EXAMPLES[2].headers, "authorization": authorization}))


@pytest.mark.parametrize("date", ["", "yesterday", "20130524", "20131324T000000Z", "20130524T000000"])
def test_a_request_without_a_time_is_refused(date: str) -> None:
    with pytest.raises(Unauthenticated):
        verify(replace(V4_EXAMPLES[2], headers={**V4_EXAMPLES[2].headers, "x-amz-date": date}))
    with pytest.raises(Unauthenticated):
        verify(replace(V2_EXAMPLES[0], headers={**V2_EXAMPLES[0].headers, "date": date}))


def test_fields_that_were_not_signed_cannot_be_added() -> None:
    for name in ("x-amz-acl", "x-amz-copy-source", "x-amz-meta-a"):
        with pytest.raises(Unauthenticated, match=name):
            verify(replace(V4_EXAMPLES[0], headers={**V4_EXAMPLES[0].headers, name: "x"}))
        with pytest.raises(Unauthenticated, match=name):
            verify(replace(V4_PRESIGNED, headers={**V4_PRESIGNED.headers, name: "x"}))


def test_a_body_needs_a_hash_that_is_signed() -> None:
    fields = {name: value for name, value in V4_EXAMPLES[2].headers.items() if "content" not in name}
    for more in ({"content-length": "3"}, {"transfer-encoding": "chunked"}):
        with pytest.raises(MalformedCredentials, match="x-amz-content-sha256"):
            verify(replace(V4_EXAMPLES[2], headers=fields | more))


# What clients sign ------------------------------------------------------------------------------------

CREDENTIALS = Credentials(KEY, SECRET)
NAMES = ["a//b", "dir/", "/lead", "100% +*~'()", "ü/ÿ 文", "a=b&c?d#e", "%41", "..", "a;b,c:d@e!$"]
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
FIELDS = {"X-Amz-Meta-A": "  two   words ", "Content-Type": "text/plain; a=b", "x-amz-acl": "private"}


def botocore_signed(
    signer: Callable[..., object], method: str, url: str, headers: Mapping[str, str] = FIELDS
) -> Sent:
    """The request that botocore sends for a URL."""
    request = AWSRequest(method=method, url=url, headers=dict(headers), data=b"")
    request.context["timestamp"] = "20130524T000000Z"
    moment = datetime(2013, 5, 24, tzinfo=UTC)
    made = signer(request)
    with (
        mock.patch.object(botocore.auth, "get_current_datetime", return_value=moment),
        mock.patch.object(botocore.auth.HmacV1Auth, "_get_date", return_value=formatdate(NOW_S, usegmt=True)),
        mock.patch.object(botocore.auth.HmacV1QueryAuth, "_get_date", return_value=str(NOW_S + 60)),
    ):
        made.add_auth(request)  # type: ignore[attr-defined]
    parts = urlsplit(request.url)
    fields = {"host": parts.netloc} | {name.lower(): value.strip() for name, value in request.headers.items()}
    if "authorization" not in fields and "X-Amz" not in request.url:
        # Presigned with version 2: the fields stand in the query.
        fields = {"host": parts.netloc}
    return Sent(method, parts.path.encode(), parts.query.encode(), fields)


SIGNERS = {
    "v4": lambda _: botocore.auth.S3SigV4Auth(CREDENTIALS, "s3", "eu-central-1"),
    "v4-query": lambda _: botocore.auth.S3SigV4QueryAuth(CREDENTIALS, "s3", "x", expires=60),
    "v2": lambda _: botocore.auth.HmacV1Auth(CREDENTIALS),
    "v2-query": lambda _: botocore.auth.HmacV1QueryAuth(CREDENTIALS, expires=60),
}


@pytest.mark.parametrize("signer", SIGNERS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("root", ["", "/s3"])
def test_what_botocore_signs_is_right(signer: str, name: str, root: str) -> None:
    url = f"http://127.0.0.1:8080{root}/bucket/{quote(name, safe='/~')}?prefix={quote(name, safe='~')}&acl"
    if signer.startswith("v4"):
        url += "=&marker=&a-b=1&a=2"
    request = botocore_signed(SIGNERS[signer], "PUT", url)
    verify(request)
    with pytest.raises((SignatureMismatch, Unauthenticated)):
        verify(replace(request, headers={**request.headers, "x-amz-meta-a": "other"}))
    with pytest.raises(SignatureMismatch):
        verify(replace(request, path=request.path + b"2"))


@given(name=names, other=names)
def test_names_of_any_characters_are_signed_as_botocore_does(name: str, other: str) -> None:
    path, part, more = quote(name, safe="/~"), quote(name, safe="~"), quote(other, safe="~")
    url = f"http://h/b/{path}?{more}={part}&{part}="
    for signer in ("v4", "v4-query"):
        verify(botocore_signed(SIGNERS[signer], "GET", url, {}))
    url = f"http://h/b/{path}?prefix={more}&uploadId={part}"
    for signer in ("v2", "v2-query"):
        verify(botocore_signed(SIGNERS[signer], "GET", url, {}))


def s3cmd_signed(target: str, *, host: str = "127.0.0.1:8080/s3") -> Sent:
    """What s3cmd sends when it is told `--host=127.0.0.1:8080/s3`: `/s3` is signed with the host."""
    path, _, query = target.partition("?")
    fields = {"host": "127.0.0.1:8080", "x-amz-content-sha256": EMPTY, "x-amz-date": "20130524T000000Z"}
    lines = "".join(f"{name}:{value}\n" for name, value in (fields | {"host": host}).items())
    text = f"GET\n{path}\n{query}\n{lines}\nhost;x-amz-content-sha256;x-amz-date\n{EMPTY}"
    scope = "20130524/US/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n20130524T000000Z\n{scope}\n{sha256(text.encode()).hexdigest()}"
    key = ("AWS4" + SECRET).encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    fields["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope},"
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={key.hex()}"
    )
    return Sent("GET", f"/s3{path}".encode(), query.encode(), fields)


@pytest.mark.parametrize("target", ["/", "/bucket/", "/bucket/a%20b/%C3%BC?delimiter=%2F&prefix=x"])
def test_the_form_that_s3cmd_signs_for_an_endpoint_with_a_path_is_right(target: str) -> None:
    request = s3cmd_signed(target)
    verify(request)
    with pytest.raises(SignatureMismatch):
        verify(replace(request, path=request.path.removeprefix(b"/s3")))
    with pytest.raises(SignatureMismatch):
        verify(s3cmd_signed(target, host="other:8080/s3"))


def test_a_field_that_came_twice_is_one_line_however_it_was_joined() -> None:
    for value in ("a,b", "a, b"):
        signed = botocore_signed(SIGNERS["v4"], "GET", "http://h/b/k", {"x-amz-meta-a": value})
        verify(replace(signed, headers={**signed.headers, "x-amz-meta-a": "a, b"}))


@pytest.mark.parametrize("value", ["voilà", "Å", "à  la\tcarte", "ü  文 à"])
@pytest.mark.parametrize("query", ["", "?uploads="])
def test_only_the_white_space_of_ascii_is_joined(value: str, query: str) -> None:
    signed = botocore_signed(SIGNERS["v4"], "POST", f"http://h/b/k{query}", {"x-amz-meta-a": value})
    # As it comes: each byte a character of Latin-1, where two of these are white space.
    came = {**signed.headers, "x-amz-meta-a": value.encode().decode("latin-1")}
    verify(replace(signed, headers=came))
    with pytest.raises(SignatureMismatch):
        verify(replace(signed, headers={**came, "x-amz-meta-a": came["x-amz-meta-a"][:-1]}))


def test_an_access_key_may_hold_slashes() -> None:
    found = v4.read_header(
        Sent("GET", b"/", b"", {"x-amz-date": "20130524T000000Z"}),
        f"AWS4-HMAC-SHA256 Credential=a/b/20130524/r/s3/aws4_request, SignedHeaders=host, Signature={EMPTY}",
    )
    assert found.access_key == "a/b"


def test_the_canonical_forms_are_amazons() -> None:
    assert canonical_path(b"/a//b/./c%7e%2a+") == b"/a//b/./c~%2A%2B"
    assert canonical_queries(query_pairs(b"b=2&a-b&a=3&&a=1")) == [b"a=1&a=3&a-b=&b=2"]
    assert canonical_queries(query_pairs(b"p=a+b%2fc")) == [b"p=a%20b%2Fc", b"p=a+b%2fc"]


def test_version_2_signs_the_values_that_override_an_answer_decoded() -> None:
    text = b"GET\n\n\n2000000000\n/b/k?response-content-type=text/a b"
    signature = b64encode(hmac.digest(SECRET.encode(), text, "sha1")).decode()
    query = f"AWSAccessKeyId={KEY}&Expires=2000000000&response-content-type=text%2Fa%20b"
    verify(Sent("GET", b"/b/k", f"{query}&Signature={quote(signature, safe='')}".encode()))


@given(name=names)
def test_what_we_sign_ourselves_is_right(name: str) -> None:
    path, part = quote(name, safe="/~").encode(), quote(name, safe="").encode()
    request = Sent("POST", b"/v1/objects/b/" + path, b"provider=ais&x=" + part, {"host": "h:1"})
    fields = v4.sign(request, v4.Scope(KEY, "", "anywhere"), SECRET, now_s=NOW_S)
    verify(replace(request, headers={**request.headers, **fields}))
    with pytest.raises(SignatureMismatch):
        verify(replace(request, headers={**request.headers, **fields, "host": "h:2"}))


@pytest.mark.parametrize("root", ["", "/s3"])
def test_version_2_signs_a_bucket_with_the_slash_behind_it(root: str) -> None:
    # botocore sends /bucket and signs /bucket/, as for a bucket that is named by the host.
    request = AWSRequest(method="PUT", url=f"http://h{root}/bucket", headers={}, auth_path="/bucket/")
    with mock.patch.object(
        botocore.auth.HmacV1Auth, "_get_date", return_value=formatdate(NOW_S, usegmt=True)
    ):
        botocore.auth.HmacV1Auth(CREDENTIALS).add_auth(request)
    fields = {name.lower(): value for name, value in request.headers.items()}
    verify(Sent("PUT", f"{root}/bucket".encode(), b"", fields))
    with pytest.raises(SignatureMismatch):
        verify(Sent("PUT", f"{root}/bucket/key".encode(), b"", fields))
