"""Requests that are signed for the source of a bucket, sent to a node in front of it: both real.

The source is a node with credentials, which checks signatures. Whether something was kept in front of it is
asked natively, with credentials of the node in front.
"""

import hashlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from botocore.config import Config

from support import processes
from support.ais import ais
from support.node import RunningNode, running_node
from support.s3 import Clients, Endpoint, find_program

THEIRS = ("source-key", "source-secret-long")
OURS = ("front-key", "front-secret-long")
LARGE = os.urandom(300_000)
WAIT_S = 60.0


class Pair(NamedTuple):
    """A node in front, and who may look into it."""

    front: RunningNode
    keys: dict[str, str]
    token: str


PASSES = "512"
"""The feature `S3-Presigned-Request`."""
BUCKETS: dict[str, Any] = {
    "data": {"features": PASSES, "aws": {"virtual_hosts": True}},
    "by-path": {"features": PASSES},
    "leaves": {"features": PASSES},
    "other": {"features": "0"},
}


def keys_of(who: tuple[str, str]) -> dict[str, str]:
    return {"AISLE_ROOT_ACCESS_KEY": who[0], "AISLE_ROOT_SECRET_KEY": who[1]}


@pytest.fixture(scope="module")
def source() -> Iterator[RunningNode]:
    with running_node(env=keys_of(THEIRS), args=["--set", "s3.domains=localhost"]) as running:
        for name in BUCKETS:
            client(running).create_bucket(Bucket=name)
        yield running


@pytest.fixture(scope="module", params=["with credentials", "without"])
def pair(request: pytest.FixtureRequest, source: RunningNode) -> Iterator[Pair]:
    guarded = request.param == "with credentials"
    account = {"AWS_ACCESS_KEY_ID": THEIRS[0], "AWS_SECRET_ACCESS_KEY": THEIRS[1]}
    with running_node(env={**account, **(keys_of(OURS) if guarded else {})}) as front:
        mine = {"AIS_ACCESS_KEY": OURS[0], "AIS_SECRET_KEY": OURS[1]} if guarded else {}
        token = ""
        if guarded:
            told = ais(front.url, "auth", "token", "add", "root", "--json", **mine)
            token = told.json["token"]
        pair = Pair(front, mine, token)
        for name, properties in BUCKETS.items():
            aws = {"endpoint": endpoint(source), "cloud_region": "us-east-1", **properties.get("aws", {})}
            value = {"extra": {"aws": aws}, "features": properties["features"]}
            act(pair, "POST", name, {"action": "create-bck", "value": value})
        yield pair


def act(pair: Pair, method: str, bucket: str, message: dict[str, Any]) -> None:
    """Do something to a bucket natively, as somebody who may."""
    link = f"{pair.front.url}/v1/buckets/{bucket}?provider=aws"
    done = requests.request(method, link, json=message, headers=bearer(pair), timeout=WAIT_S)
    assert done.status_code == 200, done.text


def bearer(pair: Pair) -> dict[str, str]:
    return {"Authorization": f"Bearer {pair.token}"} if pair.token else {}


def endpoint(source: RunningNode) -> str:
    """The source's URL by name, so that a bucket's name can stand before it."""
    return f"http://localhost:{source.port}"


def client(source: RunningNode, style: str = "path", signature: str = "s3v4", **config: Any) -> Any:
    """A client of the source itself."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint(source),
        region_name="us-east-1",
        aws_access_key_id=THEIRS[0],
        aws_secret_access_key=THEIRS[1],
        config=Config(
            signature_version=signature,
            retries={"max_attempts": 1},
            s3={"addressing_style": style},
            **config,
        ),
    )


def presigned(
    source: RunningNode, verb: str, key: str, style: str = "path", signature: str = "s3v4", **more: Any
) -> str:
    """A URL at the source."""
    wanted = {"Bucket": "data", "Key": key, **more}
    made: str = client(source, style, signature).generate_presigned_url(verb, Params=wanted)
    return made


def with_forged_signature(url: str) -> str:
    start, signature = url.rsplit("X-Amz-Signature=", 1)
    return f"{start}X-Amz-Signature={'1' if signature[0] == '0' else '0'}{signature[1:]}"


def swapped(pair: Pair, url: str) -> str:
    """The URL with the front's address in place of the source's, as AIStore wants it: `/s3/BUCKET/KEY`."""
    parts = urlsplit(url)
    path = parts.path if parts.path.startswith("/data/") else f"/data{parts.path}"
    return f"{pair.front.url}/s3{path}?{parts.query}"


def at_front(pair: Pair, url: str, method: str = "GET", **more: Any) -> requests.Response:
    """A request as it was signed, with the Host of the source, that reaches the front."""
    parts = urlsplit(url)
    headers = {"Host": parts.netloc, **more.pop("headers", {})}
    link = f"{pair.front.url}{parts.path}?{parts.query}"
    return requests.request(method, link, headers=headers, timeout=WAIT_S, **more)


def is_kept(pair: Pair, key: str, bucket: str = "data") -> bool:
    link = f"{pair.front.url}/v1/objects/{bucket}/{key}?provider=aws&presence=2"
    return requests.head(link, headers=bearer(pair), timeout=WAIT_S).status_code == 200


def put_at_source(source: RunningNode, key: str, content: bytes) -> str:
    etag: str = client(source).put_object(Bucket="data", Key=key, Body=content)["ETag"]
    return etag


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
@pytest.mark.parametrize("style", ["path", "virtual"])
def test_presigned_reads_of_both_styles_are_kept(
    pair: Pair, source: RunningNode, style: str, signature: str
) -> None:
    key = f"read {style} {signature}+ü"
    etag = put_at_source(source, key, LARGE)
    asked = (
        lambda url: at_front(pair, url),
        lambda url: requests.get(swapped(pair, url), timeout=WAIT_S),
    )
    for ask in asked:
        url = presigned(source, "get_object", key, style, signature)
        for _ in range(2):
            answer = ask(url)
            assert (answer.status_code, answer.headers["ETag"]) == (200, etag), answer.text
            assert answer.content == LARGE
            assert is_kept(pair, key)


def test_what_is_here_is_sent_only_as_the_source_allows(pair: Pair, source: RunningNode) -> None:
    put_at_source(source, "warm", LARGE)
    url = presigned(source, "get_object", "warm")
    forged = with_forged_signature(url)
    for refused in (at_front(pair, forged), requests.get(swapped(pair, forged), timeout=WAIT_S)):
        assert (refused.status_code, len(refused.content) < 2000) == (403, True), "cold"
    assert not is_kept(pair, "warm")
    assert at_front(pair, url).content == LARGE
    assert is_kept(pair, "warm")
    for refused in (at_front(pair, forged), requests.get(swapped(pair, forged), timeout=WAIT_S)):
        assert (refused.status_code, len(refused.content) < 2000) == (403, True), "warm"
    span = at_front(pair, url, headers={"Range": "bytes=1000-1999"})
    assert (span.status_code, span.content) == (206, LARGE[1000:2000])
    # A link that is out of date is refused although its object is here.
    named = {"Bucket": "data", "Key": "warm"}
    old = client(source, signature="s3").generate_presigned_url("get_object", Params=named, ExpiresIn=-5)
    late = at_front(pair, old)
    assert (late.status_code, b"has expired" in late.content) == (403, True)
    assert is_kept(pair, "warm")


def test_what_has_changed_at_the_source_is_fetched_again(pair: Pair, source: RunningNode) -> None:
    put_at_source(source, "changes", b"first")
    url = presigned(source, "get_object", "changes")
    assert at_front(pair, url).content == b"first"
    put_at_source(source, "changes", b"second one")
    assert at_front(pair, url, headers={"Range": "bytes=0-2"}).content == b"sec"
    assert at_front(pair, url).content == b"second one"
    assert at_front(pair, url).content == b"second one"
    client(source).delete_object(Bucket="data", Key="changes")
    assert at_front(pair, url).status_code == 404


def test_a_range_brings_the_whole_if_its_signature_allows_that(pair: Pair, source: RunningNode) -> None:
    put_at_source(source, "in ranges", LARGE)
    put_at_source(source, "in signed ranges", LARGE)
    signed = client(source).generate_presigned_url(
        "get_object", Params={"Bucket": "data", "Key": "in signed ranges", "Range": "bytes=5-9"}
    )
    for url in (signed, presigned(source, "get_object", "in ranges")):
        answer = at_front(pair, url, headers={"Range": "bytes=5-9"})
        assert (answer.status_code, answer.content) == (206, LARGE[5:10])
    assert processes.wait_until(lambda: is_kept(pair, "in ranges"), timeout_s=WAIT_S)
    assert not is_kept(pair, "in signed ranges")
    act(pair, "PATCH", "data", {"action": "set-bprops", "value": {"cache": {"fill_ranges": "never"}}})
    put_at_source(source, "never", LARGE)
    put_at_source(source, "later", LARGE)
    for key in ("never", "later"):
        at_front(pair, presigned(source, "get_object", key), headers={"Range": "bytes=5-9"})
        act(pair, "PATCH", "data", {"action": "set-bprops", "value": {"cache": {"fill_ranges": "always"}}})
    assert processes.wait_until(lambda: is_kept(pair, "later"), timeout_s=WAIT_S)
    assert not is_kept(pair, "never")


def test_writes_reach_the_source_and_are_kept(pair: Pair, source: RunningNode) -> None:
    for style, body in (("path", b"testing 1 2 3"), ("virtual", LARGE)):
        key = f"written-{style}"
        client(source).delete_object(Bucket="data", Key=key)
        url = presigned(source, "put_object", key, style, ContentType="text/plain")
        refused = at_front(
            pair, with_forged_signature(url), "PUT", data=body, headers={"Content-Type": "text/plain"}
        )
        assert refused.status_code == 403
        assert requests.get(presigned(source, "get_object", key), timeout=WAIT_S).status_code == 404
        assert not is_kept(pair, key)
        answer = at_front(pair, url, "PUT", data=body, headers={"Content-Type": "text/plain"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        told = client(source).get_object(Bucket="data", Key=key)
        assert (told["Body"].read(), told["ContentType"]) == (body, "text/plain")
        assert is_kept(pair, key)
        read = at_front(pair, presigned(source, "get_object", key, style))
        assert (read.content, read.headers["Content-Type"]) == (body, "text/plain")


def test_removals_and_forged_ones(pair: Pair, source: RunningNode) -> None:
    put_at_source(source, "goes", b"x")
    url = presigned(source, "delete_object", "goes")
    assert at_front(pair, presigned(source, "get_object", "goes")).content == b"x"
    assert at_front(pair, with_forged_signature(url), "DELETE").status_code == 403
    assert is_kept(pair, "goes")
    assert at_front(pair, url, "DELETE").status_code == 204
    assert not is_kept(pair, "goes")
    assert at_front(pair, presigned(source, "head_object", "goes"), "HEAD").status_code == 404


def test_clients_that_sign_headers_and_chunks(pair: Pair, source: RunningNode) -> None:
    """boto3 itself, its requests sent to the front instead."""

    def reroute(request: Any, **_: Any) -> None:
        parts = urlsplit(request.url)
        request.headers["Host"] = parts.netloc
        query = f"?{parts.query}" if parts.query else ""
        request.url = f"{pair.front.url}{parts.path}{query}"

    for style in ("path", "virtual"):
        through = client(source, style)
        through.meta.events.register("before-send.s3", reroute)
        key = f"headers {style}"
        through.put_object(Bucket="data", Key=key, Body=LARGE, Metadata={"a": "b"})
        assert is_kept(pair, key)
        told = through.head_object(Bucket="data", Key=key)
        assert (told["ContentLength"], told["Metadata"]) == (len(LARGE), {"a": "b"})
        assert through.get_object(Bucket="data", Key=key)["Body"].read() == LARGE
        span = through.get_object(Bucket="data", Key=key, Range="bytes=5-9")
        assert (span["Body"].read(), span["ContentRange"]) == (LARGE[5:10], f"bytes 5-9/{len(LARGE)}")
        listed = through.list_objects_v2(Bucket="data", Prefix=key)["Contents"]
        assert [entry["Key"] for entry in listed] == [key]
        upload = through.create_multipart_upload(Bucket="data", Key=key)["UploadId"]
        named = {"Bucket": "data", "Key": key, "UploadId": upload}
        part = through.upload_part(PartNumber=1, Body=b"part" * 1000, **named)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        assert is_kept(pair, key)
        through.complete_multipart_upload(MultipartUpload=parts, **named)
        assert not is_kept(pair, key)
        assert through.get_object(Bucket="data", Key=key)["Body"].read() == b"part" * 1000
        through.delete_object(Bucket="data", Key=key)
        assert not is_kept(pair, key)


def test_nothing_is_passed_on_for_other_buckets_and_hosts(pair: Pair, source: RunningNode) -> None:
    client(source).put_object(Bucket="other", Key="x", Body=b"secret")
    url = client(source).generate_presigned_url("get_object", Params={"Bucket": "other", "Key": "x"})
    parts = urlsplit(url)
    if pair.token:
        # Without the feature an unknown key is an unknown key.
        for answer in (
            at_front(pair, url),
            requests.get(f"{pair.front.url}/s3{parts.path}?{parts.query}", timeout=WAIT_S),
        ):
            assert (answer.status_code, b"InvalidAccessKeyId" in answer.content) == (403, True)


@pytest.mark.parametrize("pair", ["with credentials"], indirect=True)
def test_a_request_leads_to_no_host_that_is_not_configured(pair: Pair) -> None:
    """Whatever is signed for it."""
    with running_node(env=keys_of(THEIRS)) as foreign:
        client(foreign).create_bucket(Bucket="data")
        client(foreign).put_object(Bucket="data", Key="foreign", Body=b"foreign")
        lured = presigned(foreign, "get_object", "foreign")
        answer = at_front(pair, lured, headers={"Host": f"data.localhost.example:{foreign.port}"})
        assert answer.status_code == 403
        answer = at_front(pair, lured)
        assert (answer.status_code, b"foreign" in answer.content.replace(b"data/foreign", b"")) != (200, True)
        assert not is_kept(pair, "foreign")


def test_an_endpoint_without_hosts_for_buckets_is_not_asked_by_them(pair: Pair, source: RunningNode) -> None:
    """Else it might take `other` for the bucket, and its object would be kept as `by-path/other/x`."""
    client(source).put_object(Bucket="by-path", Key="x", Body=b"x")
    client(source).put_object(Bucket="other", Key="x", Body=b"secret")
    named = {"Bucket": "by-path", "Key": "other/x"}
    url = client(source, "virtual").generate_presigned_url("get_object", Params=named)
    answer = at_front(pair, url)
    # Without credentials everybody may read `other` itself, and any name below localhost is the node's.
    assert (answer.status_code, answer.content) == (200, b"secret") or answer.status_code == 403
    parts = urlsplit(url)
    link = f"{pair.front.url}/s3/by-path{parts.path}?{parts.query}"
    asked = requests.get(link, headers={"Ais-S3-Signed-Request-Style": "virtual-hosted"}, timeout=WAIT_S)
    assert (asked.status_code, b"cannot be addressed by virtual-hosted" in asked.content) == (400, True)
    assert requests.get(link, timeout=WAIT_S).status_code == 403
    assert not is_kept(pair, "other/x", "by-path")
    by_path = client(source).generate_presigned_url("get_object", Params={"Bucket": "by-path", "Key": "x"})
    for style, status in (("path", 200), ("sideways", 400)):
        parts = urlsplit(by_path)
        link = f"{pair.front.url}/s3{parts.path}?{parts.query}"
        answer = requests.get(link, headers={"Ais-S3-Signed-Request-Style": style}, timeout=WAIT_S)
        assert answer.status_code == status


def test_a_source_that_is_gone_takes_nothing_along(pair: Pair, source: RunningNode) -> None:
    named = {"Bucket": "leaves", "Key": "x"}
    client(source).put_object(Body=LARGE, **named)
    read, write, remove = (
        client(source).generate_presigned_url(verb, Params=named)
        for verb in ("get_object", "put_object", "delete_object")
    )
    assert at_front(pair, read).content == LARGE
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = {"extra": {"aws": {"endpoint": f"http://127.0.0.1:{closed.getsockname()[1]}"}}}
        act(pair, "PATCH", "leaves", {"action": "set-bprops", "value": nowhere})
        for url, method, more in (
            (read, "GET", {}),
            (write, "PUT", {"data": b"small"}),
            (write, "PUT", {"data": LARGE}),
            (remove, "DELETE", {}),
        ):
            parts = urlsplit(url)
            link = f"{pair.front.url}/s3{parts.path}?{parts.query}"
            answer = requests.request(method, link, timeout=WAIT_S, **more)
            assert (answer.status_code, len(answer.content) < 2000) == (502, True)
            assert is_kept(pair, "x", "leaves")


def test_the_native_api_knows_no_such_callers(pair: Pair, source: RunningNode) -> None:
    if not pair.token:
        pytest.skip("whoever reaches a node without credentials may do everything natively")
    put_at_source(source, "native", b"x")
    through = client(source)

    def reroute(request: Any, **_: Any) -> None:
        request.url = f"{pair.front.url}/v1/objects/data/native?provider=aws"

    through.meta.events.register("before-send.s3", reroute)
    with pytest.raises(Exception, match=r"40[13]"):
        through.get_object(Bucket="data", Key="native")
    assert not is_kept(pair, "native")


@pytest.mark.parametrize("pair", ["without"], indirect=True)
def test_amazons_own_command_presigns(pair: Pair, source: RunningNode, tmp_path: Path) -> None:
    if not find_program("aws") or not find_program("curl"):
        pytest.skip("needs the programs aws and curl")
    put_at_source(source, "test.txt", b"testing 1 2 3")
    clients = Clients(Endpoint("localhost", source.port, *THEIRS), tmp_path)
    command = [find_program("aws"), "--endpoint-url", endpoint(source), "s3", "presign", "s3://data/test.txt"]
    url = clients.run(command).out.strip()
    parts = urlsplit(url)
    address = f"{parts.hostname}:{parts.port}:{pair.front.host}:{pair.front.port}"
    for link, more in ((swapped(pair, url), []), (url, ["--connect-to", address])):
        read = subprocess.run(
            ["curl", "-sS", "--fail", *more, link], capture_output=True, timeout=WAIT_S, check=False
        )
        assert (read.returncode, read.stdout) == (0, b"testing 1 2 3"), read.stderr
    assert is_kept(pair, "test.txt")
