"""AIStore's own SDK, as it is published, against a running node."""

import hashlib
import random
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import xxhash
from aistore.sdk import Bucket, Client
from aistore.sdk.errors import AISError, ErrBckAlreadyExists, ErrBckNotFound, ErrObjNotFound
from aistore.sdk.list_object_flag import ListObjectFlag

from support.node import RunningNode, running_node

AWKWARD = [
    "with space",
    "plus+plus",
    "100%",
    "%41",
    "a%2Fb",
    "q?x#y",
    "a&b=c;d",
    "'quotes\"",
    "back\\slash",
    "/lead",
    "//lead",
    "trail/",
    "dir/",
    "a",
    "a/b",
    "a//b",
    "d//e",
    "ünï/😀",
    ".hidden",
    "...",
    "tab\there",
    "x" * 1024,
    "long/" + "é" * 509,
    "😀" * 256,
]


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def client(node: RunningNode) -> Client:
    return Client(node.url, timeout=(3, 20))


@pytest.fixture
def bucket(client: Client) -> Iterator[Bucket]:
    letters = "".join(random.choices(string.ascii_lowercase, k=8))
    made = client.bucket(f"sdk-{letters}").create()
    yield made
    made.delete(missing_ok=True)


def put(bucket: Bucket, *names: str) -> None:
    for name in names:
        bucket.object(name).get_writer().put_content(name.encode())


def names(bucket: Bucket, **asked: object) -> list[str]:
    return [entry.name for entry in bucket.list_all_objects(**asked)]  # type: ignore[arg-type]


def test_the_cluster_is_found_and_ready(client: Client) -> None:
    assert client.cluster().is_ready()
    cluster = client.cluster().get_info()
    (gateway,) = cluster.pmap.values()
    (target,) = cluster.tmap.values()
    assert cluster.proxy_si.daemon_id == gateway.daemon_id != target.daemon_id
    assert (gateway.daemon_type, target.daemon_type) == ("proxy", "target")
    assert target.id_digest == xxhash.xxh64_intdigest(target.daemon_id.encode(), 1103515245)
    assert client.cluster().get_uuid() == cluster.uuid
    assert target.public_net.direct_url == client.cluster().get_primary_url()


def test_what_else_is_asked_of_a_cluster(client: Client) -> None:
    assert client.cluster().list_running_jobs() == []
    performance = client.cluster().get_performance()
    assert list(performance) == list(client.cluster().get_info().tmap)


def test_buckets_live_and_die(client: Client, bucket: Bucket) -> None:
    assert bucket.name in [each.name for each in client.cluster().list_buckets()]
    properties = bucket.head()
    assert properties["Ais-Bucket-Props"].startswith('{"backend_bck":')
    with pytest.raises(ErrBckAlreadyExists):
        bucket.create()
    bucket.create(exist_ok=True)
    bucket.delete()
    assert bucket.name not in [each.name for each in client.cluster().list_buckets()]
    with pytest.raises(ErrBckNotFound):
        bucket.delete()
    bucket.delete(missing_ok=True)
    with pytest.raises(AISError) as caught:
        bucket.head()
    assert caught.value.status_code == 404


@pytest.mark.parametrize("name", ["*", ".", "..", " ", "a b", "#x", "$x", "~x"])
def test_names_that_no_bucket_can_have(client: Client, name: str) -> None:
    with pytest.raises(AISError):
        client.bucket(name).create()


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 3_000_000])
def test_an_object_comes_back_as_it_was(bucket: Bucket, size: int) -> None:
    content = random.Random(size).randbytes(size)
    thing = bucket.object("dir/thing")
    thing.get_writer().put_content(content)
    reader = thing.get_reader()
    assert reader.read_all() == content
    attributes = reader.attributes
    assert (attributes.checksum_type, attributes.obj_version) == ("xxhash2", "1")
    assert attributes.checksum_value == xxhash.xxh64(content).hexdigest()
    assert attributes.custom_metadata == {}
    assert int(attributes.access_time) > 0
    assert b"".join(thing.get_reader(chunk_size=7919)) == content
    head = thing.head()
    assert (head.size, head.present) == (size, True)
    assert (head.etag, head.last_modified, head.checksum_value) == ("", "", "")
    props = thing.props
    assert props.checksum_value == attributes.checksum_value
    assert (props.obj_version, props.mirror_copies) == ("1", 1)
    assert props.location.startswith("t[")
    # Some of it, from the middle, and from the end.
    if size > 100:
        assert thing.get_reader(byte_range="bytes=10-99").read_all() == content[10:100]
        assert thing.get_reader(byte_range=f"bytes={size - 7}-").read_all() == content[-7:]
        assert thing.get_reader(byte_range="bytes=-9").read_all() == content[-9:]


def test_head_tells_when_and_what_if_asked(bucket: Bucket) -> None:
    put(bucket, "o")
    head = bucket.object("o").head("last-modified,etag,chunked,ec")
    assert head.etag
    assert head.last_modified.endswith("GMT")
    assert (head.chunks, head.ec) == (None, None)


def test_an_object_is_read_by_several_at_once(bucket: Bucket) -> None:
    content = random.Random(7).randbytes(20_000_000)
    thing = bucket.object("large")
    thing.get_writer().put_content(content)
    got = thing.get_reader(num_workers=4, chunk_size=1_000_000).read_all()
    assert hashlib.md5(got.buf).digest() == hashlib.md5(content).digest()
    got.close()


def test_an_object_is_read_as_a_file(bucket: Bucket) -> None:
    content = random.Random(8).randbytes(2_000_000)
    thing = bucket.object("file")
    thing.get_writer().put_content(content)
    with thing.get_reader().as_file() as file:
        assert file.read(10) == content[:10]
        assert file.read() == content[10:]


def test_an_object_is_read_from_its_target_directly(bucket: Bucket) -> None:
    put(bucket, "o")
    assert bucket.object("o").get_reader(direct=True).read_all() == b"o"


def test_files_are_put(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "f").write_bytes(b"first")
    (tmp_path / "sub" / "g").write_bytes(b"second")
    bucket.object("single").get_writer().put_file(tmp_path / "f")
    bucket.put_files(tmp_path, prepend="up/", recursive=True)
    assert names(bucket) == ["single", "up/f", "up/sub/g"]
    assert bucket.object("up/sub/g").get_reader().read_all() == b"second"


def test_versions_count_and_overwriting_replaces(bucket: Bucket) -> None:
    writer = bucket.object("o").get_writer()
    for number in (1, 2, 3):
        writer.put_content(str(number).encode() * 20_000)
        assert bucket.object("o").props.obj_version == str(number)
    assert bucket.object("o").get_reader().read_all() == b"3" * 20_000


def test_custom_properties_are_merged_and_replaced(bucket: Bucket) -> None:
    put(bucket, "o")
    writer = bucket.object("o").get_writer()
    writer.set_custom_props({"k1": "v1", "k2": "v2"})
    writer.set_custom_props({"k2": "new", "k3": "v3"})
    assert bucket.object("o").props.custom_metadata == {"k1": "v1", "k2": "new", "k3": "v3"}
    writer.set_custom_props({"only": "this"}, replace_existing=True)
    assert bucket.object("o").props.custom_metadata == {"only": "this"}
    assert bucket.object("o").get_reader().attributes.custom_metadata == {"only": "this"}
    with pytest.raises(AISError):
        writer.set_custom_props({"k": "x" * 3000})


def test_what_is_deleted_is_not_found(bucket: Bucket) -> None:
    put(bucket, "o")
    thing = bucket.object("o")
    thing.delete()
    with pytest.raises(ErrObjNotFound):
        thing.get_reader().read_all()
    with pytest.raises(ErrObjNotFound):
        thing.delete()
    with pytest.raises(AISError) as caught:
        thing.head()
    assert caught.value.status_code == 404
    bucket.delete()
    with pytest.raises(ErrBckNotFound):
        thing.get_reader().read_all()
    with pytest.raises(ErrBckNotFound):
        bucket.list_objects()


@pytest.mark.parametrize("size", [0, 2, 7, 17, 20, 100])
def test_listings_of_any_page_size_are_whole(bucket: Bucket, size: int) -> None:
    expected = [f"l/{number:03}" for number in range(20)]
    put(bucket, *expected)
    assert names(bucket, page_size=size) == expected
    assert [entry.name for entry in bucket.list_objects_iter(page_size=size)] == expected
    assert names(bucket, page_size=size, start_after="l/004") == expected[5:]
    assert names(bucket, page_size=size, prefix="l/01") == expected[10:]
    first = bucket.list_objects(page_size=size)
    assert len(first.entries) == min(size or 20, 20)
    assert first.uuid


def test_listings_show_what_their_flags_say(bucket: Bucket) -> None:
    put(bucket, "a", "d/x", "d/y/z")
    (entry, *_) = bucket.list_all_objects(flags=[ListObjectFlag.NAME_ONLY, ListObjectFlag.CACHED])
    assert (entry.name, entry.size, entry.is_cached(), entry.is_ok()) == ("a", 0, True, True)
    (entry, *_) = bucket.list_all_objects(flags=[ListObjectFlag.NAME_SIZE])
    assert (entry.size, entry.checksum) == (1, "")
    (entry, *_) = bucket.list_all_objects(props="name,size,checksum,version,atime,copies,location")
    assert (entry.checksum, entry.version) == (xxhash.xxh64(b"a").hexdigest(), "1")
    assert (entry.copies, entry.location[:2]) == (1, "t[")
    assert entry.atime.endswith("UTC")
    flat = [ListObjectFlag.NO_RECURSION]
    assert names(bucket, flags=flat) == ["a", "d/"]
    assert names(bucket, flags=flat, prefix="d/") == ["d/x", "d/y/"]
    assert names(bucket, flags=[*flat, ListObjectFlag.NO_DIRS]) == ["a", "d/"]


def test_what_one_target_holds_is_listed_and_of_no_other(client: Client, bucket: Bucket) -> None:
    put(bucket, "a", "b", "c")
    (target,) = client.cluster().get_info().tmap
    assert names(bucket, target=target, page_size=2) == ["a", "b", "c"]
    with pytest.raises(AISError, match="node nosuch does not exist") as caught:
        bucket.list_objects(target="nosuch")
    assert caught.value.status_code == 404


def test_awkward_names_are_kept_apart(bucket: Bucket) -> None:
    put(bucket, *AWKWARD)
    assert names(bucket) == sorted(AWKWARD, key=str.encode)
    for name in AWKWARD:
        thing = bucket.object(name)
        assert thing.get_reader().read_all() == name.encode(), name
        assert thing.props.size == len(name.encode()), name
    for name in AWKWARD:
        bucket.object(name).delete()
    assert names(bucket) == []


def test_many_at_once_do_not_disturb_each_other(node: RunningNode) -> None:
    def life(number: int) -> list[str]:
        client = Client(node.url)
        bucket = client.bucket(f"many-{number}").create()
        for round_ in range(10):
            put(bucket, *(f"{round_}/{name}" for name in "abc"))
            bucket.object(f"{round_}/b").delete()
            assert bucket.object(f"{round_}/c").get_reader().read_all() == f"{round_}/c".encode()
        found = names(bucket, page_size=7)
        bucket.delete()
        return found

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(life, range(8)):
            assert found == [f"{round_}/{name}" for round_ in range(10) for name in "ac"]


def test_what_one_worker_creates_all_workers_find_at_once(node: RunningNode) -> None:
    sessions = [requests.Session() for _ in range(8)]
    for round_ in range(10):
        url = f"{node.url}/v1/buckets/everywhere?provider=ais"
        made = sessions[round_ % 8].post(url, json={"action": "create-bck"})
        assert made.status_code == 200, made.text
        path = f"{node.url}/v1/objects/everywhere/o?provider=ais"
        assert sessions[(round_ + 3) % 8].put(path, data=str(round_)).status_code == 200
        assert {session.get(path).text for session in sessions} == {str(round_)}
        assert sessions[(round_ + 5) % 8].delete(url, json={"action": "destroy-bck"}).status_code == 200
        assert {session.get(path).status_code for session in sessions} == {404}
