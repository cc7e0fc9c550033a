"""Who may have the node read a remote bucket, write to it or fill it: jobs use the node's own credentials."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject
from aisle.errors import RemoteBucketNotFound
from aisle.model.names import Bucket
from service.calling import Answer
from service.credentials import ALICE, BOB, ROOT, Asking, Keys


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Root has used a remote bucket; Alice has a bucket of her own."""
    account = MemoryProvider(["far"])

    async def once() -> AsyncIterator[bytes]:
        yield b"secret"

    asyncio.run(account.put("far", "k", once(), RemoteObject("k", 6)))
    node = Asking(providers={"aws": lambda _: account})
    node.bucket(ALICE, "mine")
    assert node(ROOT, "HEAD", "/v1/buckets/far?provider=aws").status == 200
    yield node
    node.close()


def download(asking: Asking, who: Keys, **request: object) -> Answer:
    return asking(who, "POST", "/v1/download", {"bucket": {"name": "mine"}, **request})


LINKS: list[dict[str, object]] = [
    {"type": "single", "link": "s3://far/k"},
    {"type": "multi", "objects": ["https://h/x", "s3://far/k"]},
    {"type": "multi", "objects": {"x": "aws://far/k"}},
    {"type": "range", "template": "s3://far/k{1..3}"},
    {"type": "single", "link": "s3://never-used/k"},
]


@pytest.mark.parametrize("request_", LINKS)
def test_links_lead_only_to_buckets_that_their_caller_may_read(
    asking: Asking, request_: dict[str, object]
) -> None:
    before = asking.node.state()
    assert download(asking, ALICE, **request_).status == 403
    assert asking.node.state() == before
    assert download(asking, ROOT, **request_).status == 200


def test_who_lets_a_job_read_again_must_be_allowed_to_read(asking: Asking) -> None:
    lines = b'{"type":"list","bucket":{"name":"mine"}}\n{"link":"s3://far/k","name":"b"}\n'
    listed = asking(ROOT, "POST", "/v1/download", lines, **{"content-type": "application/x-ndjson"})
    answers = [listed, *(download(asking, ROOT, **request) for request in LINKS)]
    for job_id in [answer.json()["id"] for answer in answers]:
        assert asking(ALICE, "PUT", "/v1/download/pause", {"id": job_id}).status == 200
        before = asking.node.state()
        repair = {"id": job_id, "items": [0]}
        assert asking(ALICE, "PUT", "/v1/download/resume", {"id": job_id}).status == 403
        assert asking(ALICE, "POST", "/v1/download/repair", repair).status == 403
        assert asking.node.state() == before
        repaired = asking(ROOT, "POST", "/v1/download/repair", repair)
        assert repaired.status == 200
        again = {"id": repaired.json()["id"], "items": [0]}
        assert asking(ALICE, "POST", "/v1/download/repair", again).status == 403
        assert asking(ROOT, "PUT", "/v1/download/resume", {"id": job_id}).status == 200


def test_a_bucket_that_links_lead_to_is_known_from_then_on(asking: Asking) -> None:
    far = Bucket("far", "aws")
    evict = {"action": "evict-remote-bck"}
    assert asking(ROOT, "DELETE", "/v1/buckets/far?provider=aws", evict).status == 200
    with pytest.raises(RemoteBucketNotFound):
        asking.node.buckets.find(far)
    assert download(asking, ROOT, type="single", link="s3://far/k").status == 200
    assert asking.node.buckets.find(far).remote == far


def test_a_list_is_looked_at_whole(asking: Asking) -> None:
    lines = b'{"type":"list","bucket":{"name":"mine"}}\n{"link":"https://h/a"}\n{"link":"s3://far/k","name":"b"}\n'
    fields = {"content-type": "application/x-ndjson"}
    before = asking.node.state()
    refused = asking(ALICE, "POST", "/v1/download", lines, **fields)
    assert (refused.status, b"s3://far" in refused.body) == (403, True)
    assert asking.node.state() == before


@pytest.mark.parametrize("switch", [{}, {"sync": True}])
def test_a_bucket_is_filled_for_whoever_may_read_it(asking: Asking, switch: dict[str, object]) -> None:
    request = {"type": "backend", "bucket": {"name": "far", "provider": "aws"}, **switch}
    assert asking(ALICE, "POST", "/v1/download", request).status == 403
    assert asking(ROOT, "POST", "/v1/download", request).status == 200
    unknown = {**request, "bucket": {"name": "none", "provider": "aws"}}
    assert asking(ALICE, "POST", "/v1/download", unknown).status == 404
    assert asking(ROOT, "POST", "/v1/download", unknown).status == 404
    own = {**request, "bucket": {"name": "mine"}}
    told = asking(ROOT, "POST", "/v1/download", own)
    assert (told.status, b"bucket download requires a remote bucket" in told.body) == (400, True)


def test_copies_ask_at_both_ends(asking: Asking) -> None:
    into = "/v1/buckets/mine?bck_to=aws%2F%40%23%2Ffar%2F"
    out = "/v1/buckets/far?provider=aws&bck_to=ais%2F%40%23%2Fmine%2F"
    for target in (into, out):
        assert asking(ALICE, "POST", target, {"action": "copy-bck", "value": {}}).status == 403
        assert asking(ROOT, "POST", target, {"action": "copy-bck", "value": {}}).status == 200
    one = "/v1/objects/far/k?provider=aws&object_to=ais%2F%40%23%2Fmine%2Fx"
    assert asking(ALICE, "PUT", one).status == 403
    assert asking(ROOT, "PUT", one).status == 200
    assert asking(ALICE, "GET", "/v1/objects/mine/x").body == b"secret"
    blob = {"action": "blob-download", "name": "k", "value": {"num-workers": 2}}
    assert asking(ALICE, "POST", "/v1/objects/far?provider=aws", blob).status == 403
    assert asking(ROOT, "POST", "/v1/objects/far?provider=aws", blob).status == 200
    assert asking(ALICE, "POST", "/v1/objects/mine", blob).status == 400


def test_synchronizing_needs_the_right_to_delete(asking: Asking) -> None:
    asking.bucket(BOB, "bobs")
    message = {"action": "copy-bck", "value": {"synchronize": True}}
    target = "/v1/buckets/bobs?bck_to=ais%2F%40%23%2Fmine%2F"
    assert asking(BOB, "POST", target, message).status == 403


@pytest.mark.parametrize(
    "value",
    [
        {"synchronize": True, "prepend": "x"},
        {"synchronize": True, "ext": {"a": "b"}},
        {"synchronize": "yes"},
        {"num-workers": -2},
    ],
)
def test_what_contradicts_itself_starts_nothing(asking: Asking, value: dict[str, object]) -> None:
    before = asking.node.state()
    target = "/v1/buckets/far?provider=aws&bck_to=ais%2F%40%23%2Fmine%2F"
    assert asking(ROOT, "POST", target, {"action": "copy-bck", "value": value}).status == 400
    assert asking.node.state() == before


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("/v1/buckets/far?provider=aws&bck_to=aws%2F%40%23%2Ffar%2F", {}),
        ("/v1/buckets/far?provider=aws", {"tobck": {"name": "far", "provider": "aws"}, "prepend": "x/"}),
    ],
)
def test_a_bucket_is_not_copied_into_itself(asking: Asking, target: str, value: dict[str, object]) -> None:
    action = "copy-bck" if "bck_to" in target else "copy-listrange"
    refused = asking(ROOT, "POST", target, {"action": action, "value": value})
    assert (refused.status, b"far" in refused.body) == (400, True)


@pytest.mark.parametrize(
    "value", [{"chunk-size": "1KiB"}, {"chunk-size": "zzz"}, {"num-workers": -5}, {"chunk-size": "1GiB"}]
)
def test_ranges_that_cannot_be_are_refused(asking: Asking, value: dict[str, object]) -> None:
    blob = {"action": "blob-download", "name": "k", "value": value}
    assert asking(ROOT, "POST", "/v1/objects/far?provider=aws", blob).status == 400
    names = {"blob-chunk-size": value.get("chunk-size", 0), "blob-num-workers": value.get("num-workers", 0)}
    prefetch = {"action": "prefetch-listrange", "value": {"blob-threshold": "2MiB", **names}}
    assert asking(ROOT, "POST", "/v1/buckets/far?provider=aws", prefetch).status == 400


def test_a_node_without_the_provider_says_what_it_lacks(asking: Asking) -> None:
    refused = download(asking, ROOT, type="single", link="az://box/k")
    assert (refused.status, b"no remote backend for az://" in refused.body) == (501, True)
    # Public objects of Google's are on the web.
    assert download(asking, ROOT, type="single", link="gs://box/k").status == 200
