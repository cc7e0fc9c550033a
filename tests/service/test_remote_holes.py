"""Ways around the rights on remote buckets and on names, where there are users; each was open once."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from aisle.api.arrivals import Arrivals, OwnNames
from aisle.api.gate import Gate
from aisle.api.s3.names import S3Names
from aisle.api.s3.origins import Origin
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.model.names import Bucket
from service.credentials import ALICE, BOB, ROOT, Asking, Keys


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Alice has a public bucket, Bob one of his own."""
    node = Asking()
    node.bucket(ALICE, "shared", "public-read")
    node.bucket(BOB, "mine")
    yield node
    node.close()


def adopt(asking: Asking, *buckets: Bucket) -> None:
    for bucket in buckets:
        buckets_of_node = asking.node.buckets
        is_elsewhere = bucket.is_remote
        making = buckets_of_node.adopt(bucket) if is_elsewhere else buckets_of_node.create(bucket)
        asking.node.runner.run(making)


@pytest.mark.parametrize(("name", "namespace"), [("imagenet", ""), ("imagenet", "#z"), ("spaced", "")])
def test_nobody_takes_over_the_s3_name_of_a_bucket(asking: Asking, name: str, namespace: str) -> None:
    adopt(asking, Bucket("imagenet", "aws"), Bucket("spaced", "ais", "#y"))
    space = f"&namespace={quote(namespace)}" if namespace else ""
    to = quote(f"ais/{namespace or '@#'}/{name}/", safe="")
    mine = "/v1/buckets/mine?provider=ais"
    to_bucket = {"name": name, "provider": "ais", "namespace": {"uuid": "", "name": namespace[1:]}}
    link = "http://127.0.0.1:1/x"
    download = {"type": "single", "link": link, "object_name": "x", "bucket": to_bucket}
    copied = {"action": "copy-listrange", "value": {"objnames": ["a"], "tobck": to_bucket}}
    ways: list[tuple[str, str, dict[str, object]]] = [
        ("POST", f"/v1/buckets/{name}?provider=ais{space}", {"action": "create-bck"}),
        ("POST", f"{mine}&bck_to={to}", {"action": "copy-bck", "value": {}}),
        ("POST", f"{mine}&bck_to={to}", {"action": "move-bck"}),
        ("POST", mine, copied),
        ("POST", "/v1/download", download),
    ]
    before = asking.node.state()
    for method, path, body in ways:
        refused = asking(BOB, method, path, body)
        assert (refused.status, b"choose another name" in refused.body) == (403, True), (path, refused.body)
    assert asking.node.state() == before
    # An administrator may: both are told apart by `NAME--PROVIDER`.
    assert asking(ROOT, *ways[0]).status == 200
    # And whoever renames a bucket of theirs into a namespace has not to ask for its own name.
    elsewhere = quote("ais/#z/mine/", safe="")
    assert asking(BOB, "POST", f"{mine}&bck_to={elsewhere}", {"action": "move-bck"}).status == 200


def test_buckets_of_namespaces_do_not_make_names_ambiguous(asking: Asking) -> None:
    adopt(asking, Bucket("imagenet", "aws"), Bucket("imagenet", "ais", "#z"))
    # Which one it is shows in who may: the node has no provider for the one, and the other is empty.
    assert b"AmbiguousBucketName" not in asking(ROOT, "GET", "/s3/imagenet/a").body
    named = S3Names(asking.node.buckets).called("imagenet")
    assert named is not None
    assert named.bucket == Bucket("imagenet", "aws")


def test_only_administrators_are_told_how_the_node_reaches_a_bucket(asking: Asking) -> None:
    profile = {"aws": {"profile": "admin", "endpoint": "http://10.0.0.7:9000"}}
    for bucket in ("shared", "mine"):
        message = {"action": "set-bprops", "value": {"extra": profile}}
        assert asking(ROOT, "PATCH", f"/v1/buckets/{bucket}?provider=ais", message).status == 200
    adopt(asking, Bucket("behind", "aws"))
    buckets = asking.node.buckets
    asking.node.runner.run(buckets.set_acl(Bucket("shared", "ais"), "public-read"))
    backend = {"backend_bck": {"name": "behind", "provider": "aws"}}
    asking.node.runner.run(buckets.set_properties(Bucket("shared", "ais"), backend))

    def told(who: Keys | None, bucket: str, query: str = "") -> str:
        return str(asking(who, "HEAD", f"/v1/buckets/{bucket}?provider=ais{query}").headers)

    for query in ("", "&bsumm_remote=true"):
        for who, bucket in ((None, "shared"), (BOB, "shared"), (BOB, "mine")):
            shown = told(who, bucket, query)
            assert "ais-bucket-props" in shown
            assert "10.0.0.7" not in shown
            assert '"profile"' not in shown
            assert ('"name":"behind"' in shown) == (who is not None and bucket == "shared")
        assert "10.0.0.7" in told(ROOT, "mine", query)
    for path in ("/v1/daemon?what=bmd", "/v1/cluster?what=bmd"):
        assert b"10.0.0.7" not in asking(BOB, "GET", path).body
        assert b"10.0.0.7" in asking(ROOT, "GET", path).body
    # Whoever sends back all that they have read does not lay the defaults over what is hidden.
    same = json.loads(asking(BOB, "HEAD", "/v1/buckets/mine?provider=ais").headers["ais-bucket-props"])
    value = {"extra": same["extra"], "lru": {"enabled": True}}
    asking(BOB, "PATCH", "/v1/buckets/mine?provider=ais", {"action": "set-bprops", "value": value})
    assert "10.0.0.7" in told(ROOT, "mine")


def test_what_is_signed_for_a_bucket_is_not_judged_as_one_of_another_namespace(asking: Asking) -> None:
    adopt(asking, Bucket("data", "aws", "#prod"), Bucket("other", "aws"))
    endpoints = {"data": "http://prod.example", "other": "http://other.example"}
    buckets = asking.node.buckets
    for bucket in (Bucket("data", "aws", "#prod"), Bucket("other", "aws")):
        aws = {"endpoint": endpoints[bucket.name]}
        asking.node.runner.run(buckets.set_properties(bucket, {"features": "512", "extra": {"aws": aws}}))
    adopt(asking, Bucket("data", "aws"))
    paths: list[bytes] = []

    def s3(request: Request) -> Response:
        paths.append(request.path)
        return Response()

    exchanges: Any = None
    arrivals = Arrivals(
        buckets,
        Gate(),
        s3,
        names=OwnNames(),
        origin_of=lambda info: Origin(exchanges, info.properties.extra.aws.endpoint, "us-east-1"),
    )
    for name in ("data", "other"):
        headers = {"host": f"{name.replace('data', 'prod')}.example", "authorization": "AWS4-HMAC-SHA256 x"}
        arrivals.answer(Request("GET", f"/{name}/k".encode(), b"", headers))
    assert paths == [b"/s3/other--aws/k"]
