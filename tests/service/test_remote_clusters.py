"""Attaching other clusters, without a network: what may be attached, and what is kept."""

import asyncio
from collections.abc import Iterator

import pytest

from aisle.api.gate import Action
from aisle.cluster.memory import MemoryStore
from aisle.errors import BadRequest, SourceFailed
from aisle.gateway.remote_clusters import RemoteClusters
from aisle.gateway.sealing import Sealer
from aisle.gateway.users import MasterKey
from aisle.model.attachment import Attachment
from aisle.model.names import Bucket
from service.calling import IDENTITY, Native

ATTACH, DETACH = "/v1/cluster/attach?what=remote", "/v1/cluster/detach?what=remote"
URL = "http://other.example:8080"


@pytest.fixture
def node() -> Iterator[Native]:
    made = Native()
    yield made
    made.close()


@pytest.fixture
def known() -> RemoteClusters:
    sealer = Sealer([MasterKey.of(b"of the tests")])
    return RemoteClusters(MemoryStore(), sealer, cluster_id=IDENTITY.cluster_id)


def attach(node: Native, alias: str, url: str = URL, **headers: str) -> int:
    fields = {"ais_remote_ais_alias": alias, "ais_remote_ais_url": url, **headers}
    return node("PUT", ATTACH, **fields).status


def shown(node: Native) -> list[dict[str, object]]:
    told = node("GET", "/v1/cluster?what=remote").json()
    assert isinstance(told["ver"], int)
    return told["a"]  # type: ignore[no-any-return]


def map_of(uuid: str, version: int, *urls: str) -> dict[str, object]:
    nodes = {str(n): {"public_net": {"direct_url": url}} for n, url in enumerate(urls)}
    return {"uuid": uuid, "version": str(version), "pmap": nodes, "tmap": nodes}


def test_a_cluster_is_attached_before_it_is_there_and_detached(node: Native) -> None:
    assert shown(node) == []
    assert attach(node, "other") == 200
    entry = {"smap": None, "url": URL, "alias": "other", "uuid": "", "online": False, "uptime_ns": 0}
    assert shown(node) == [entry]
    for path in ("/v1/daemon?what=remote", "/v1/cluster?what=remote"):
        assert node("GET", path).json()["a"] == [entry]
    assert node("PUT", DETACH, ais_remote_ais_alias="other").status == 200
    assert shown(node) == []
    assert node("PUT", DETACH, ais_remote_ais_alias="other").status == 404


def test_attaching_again_adds_urls(node: Native) -> None:
    assert attach(node, "other", f"{URL}, http://second.example") == 200
    assert attach(node, "other", f"{URL}/,https://third.example:1") == 200
    assert shown(node)[0]["url"] == f"{URL},http://second.example,https://third.example:1"


@pytest.mark.parametrize("alias", ["", "a", "what", "a b", "a/b", "@a", "a#b", "x" * 65, "ä" * 3])
def test_aliases_that_cannot_be_are_refused(node: Native, alias: str) -> None:
    assert attach(node, alias) == 400
    assert shown(node) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        ",",
        "other:8080",
        "ftp://other",
        "http://",
        "http://a:x",
        "http://u:p@a",
        "http://a/b",
        "http://a?b",
    ],
)
def test_urls_that_cannot_be_are_refused(node: Native, url: str) -> None:
    assert attach(node, "other", url) == 400
    assert shown(node) == []


def test_tokens_are_kept_wrapped_and_told_to_nobody(node: Native) -> None:
    assert attach(node, "other", aisle_remote_token="very-secret") == 200
    assert "very-secret" not in repr(node.state())
    assert "very-secret" not in node("GET", "/v1/cluster?what=remote").body.decode()


def test_only_administrators_attach(node: Native) -> None:
    actions = {row.path: row.action for row in node.routes if row.method == "PUT"}
    assert actions["/v1/cluster/attach"] == actions["/v1/cluster/detach"] == Action.ADMIN


def test_alias_and_uuid_mean_the_same_bucket(known: RemoteClusters) -> None:
    async def scenario() -> None:
        await known.attach("other", [URL], token="secret")
        by_alias = Bucket("b", "aws", "@other")
        assert known.canonical(by_alias) == by_alias
        await known.learn("other", map_of("UUID-1", 3, URL))
        for space, expected in (("@other", "@UUID-1"), ("@UUID-1", "@UUID-1"), ("@other#n", "@UUID-1#n")):
            assert known.canonical(Bucket("b", "ais", space)) == Bucket("b", "ais", expected)
        for other in (Bucket("b"), Bucket("b", "ais", "#other"), Bucket("b", "ais", "@third")):
            assert known.canonical(other) == other
        found = known.find("UUID-1")
        assert found == known.find("other")
        assert found
        assert known.token(found) == "secret"
        await known.detach("UUID-1")
        assert known.all() == []

    asyncio.run(scenario())


def test_an_attachment_stays_the_cluster_that_it_was(known: RemoteClusters) -> None:
    async def scenario() -> None:
        await known.attach("one", [URL])
        await known.attach("two", ["http://two.example"])
        await known.learn("one", map_of("UUID-1", 3, URL))
        for alias, uuid in (("one", "UUID-2"), ("two", "UUID-1"), ("two", IDENTITY.cluster_id)):
            with pytest.raises(SourceFailed):
                await known.learn(alias, map_of(uuid, 4, URL))
        await known.learn("one", map_of("UUID-1", 2, "http://old.example"))
        found = known.find("one")
        assert found
        assert (found.version, found.gateways) == (3, [URL])
        await known.learn("three", map_of("UUID-3", 1))
        assert known.find("three") is None

    asyncio.run(scenario())


@pytest.mark.parametrize("way", [IDENTITY.cluster_id, f"A, {IDENTITY.cluster_id},B", ",".join("ABCDEFGHI")])
def test_requests_that_have_been_here_before_are_refused(node: Native, way: str) -> None:
    node.bucket("b")
    node.put("b/k")
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert node(method, "/v1/objects/b/k", aisle_via=way).status == 502
    assert "in a circle" in node("GET", "/v1/buckets", aisle_via=way).json()["message"]
    assert node("GET", "/v1/objects/b/k").body == b"x"


def test_requests_of_other_clusters_are_answered(node: Native) -> None:
    node.bucket("b")
    for way in ("A", "A,B", "", ",".join("ABCDEFGH")):
        assert node("PUT", "/v1/objects/b/k", b"small", aisle_via=way).status == 200
        assert node("GET", "/v1/objects/b/k", aisle_via=way).body == b"small"
        assert node("GET", "/v1/objects/b/none", aisle_via=way).status == 404


@pytest.mark.parametrize("uuid", ["a/b", "", "a b", "@x", "x" * 65, "é", "a#b", "..", "a\nb"])
def test_a_cluster_cannot_call_itself_what_would_be_another_key(known: RemoteClusters, uuid: str) -> None:
    asyncio.run(known.attach("evil", [URL]))
    with pytest.raises(SourceFailed):
        asyncio.run(known.learn("evil", map_of(uuid, 1, URL)))
    assert known.canonical(Bucket("b", "ais", "@evil")).namespace == "@evil"


def test_a_cluster_cannot_take_the_alias_of_another_one(known: RemoteClusters) -> None:
    asyncio.run(known.attach("good", [URL]))
    asyncio.run(known.attach("evil", ["http://evil.example"]))
    with pytest.raises(SourceFailed, match="good"):
        asyncio.run(known.learn("evil", map_of("good", 1, "http://evil.example")))


def test_a_token_is_not_shown_to_addresses_that_others_add(known: RemoteClusters) -> None:
    asyncio.run(known.attach("good", [URL], token="secret"))
    with pytest.raises(BadRequest, match="token"):
        asyncio.run(known.attach("good", ["http://evil.example"]))
    found = known.find("good")
    assert found is not None
    assert found.urls == [URL]
    asyncio.run(known.attach("good", [URL]))  # as a refresh does
    asyncio.run(known.attach("good", ["http://second.example"], token="secret"))
    found = known.find("good")
    assert found is not None
    assert found.urls == [URL, "http://second.example"]


@pytest.mark.parametrize(
    ("attached", "told", "kept"),
    [
        ("https://a.example", ["http://b.example", "https://c.example"], ["https://c.example"]),
        (
            "http://a.example",
            ["http://b.example", "https://c.example"],
            ["http://b.example", "https://c.example"],
        ),
        (
            "http://a.example",
            ["http://127.0.0.1:9000", "http://[::1]:1", "http://localhost", "http://0.0.0.0"],
            [],
        ),
        (
            "http://a.example",
            ["http://169.254.169.254", "http://[::ffff:127.0.0.1]:80", "http://x.localhost"],
            [],
        ),
        (
            "http://127.0.0.1:5",
            ["http://127.0.0.1:9000", "http://b.example"],
            ["http://127.0.0.1:9000", "http://b.example"],
        ),
        ("http://a.example", ["http://10.0.0.7:8080"], ["http://10.0.0.7:8080"]),
    ],
)
def test_a_map_leads_neither_to_this_machine_nor_out_of_tls(
    attached: str, told: list[str], kept: list[str]
) -> None:
    attachment = Attachment("other", [attached], "U", map_of("U", 1, *told))
    assert attachment.gateways == [attached, *kept]
    assert attachment.targets == kept


def test_a_document_that_names_no_bucket_hides_no_other(node: Native) -> None:
    node("POST", "/v1/buckets/b", {"action": "create-bck"})
    present = node.store.load("bucket/ais/@#/b/")
    assert present is not None
    node.store.swap("bucket/ais/@a/b#/x/", present.value, expected_version=0)
    assert node("HEAD", "/v1/buckets/b").status == 200
    assert node("GET", "/v1/buckets", {"action": "list"}).status == 200
