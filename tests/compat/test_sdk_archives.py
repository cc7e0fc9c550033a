"""Archives through AIStore's own SDK, on a node with two workers."""

import io
import random
import string
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from aistore.sdk import Bucket, Client
from aistore.sdk.archive_config import ArchiveConfig, ArchiveMode
from aistore.sdk.dataset.data_attribute import DataAttribute
from aistore.sdk.dataset.data_shard import DataShard
from aistore.sdk.dataset.dataset_config import DatasetConfig
from aistore.sdk.dataset.label_attribute import LabelAttribute
from aistore.sdk.errors import AISError, ErrObjNotFound
from aistore.sdk.etl import ETLConfig
from aistore.sdk.list_object_flag import ListObjectFlag

from support.archives import archive_of
from support.node import RunningNode, running_node

SAMPLES = {
    f"train/{number:02}.{extension}": f"{number}-{extension}".encode() * size
    for number, size in enumerate((1, 100, 50_000))
    for extension in ("cls", "txt")
}
EXTENSIONS = [".tar", ".tgz", ".tar.gz", ".zip", ".tar.lz4"]
WAIT_S = 30


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def client(node: RunningNode) -> Client:
    return Client(node.url, timeout=(3, 20))


@pytest.fixture
def bucket(client: Client) -> Iterator[Bucket]:
    made = client.bucket("sdk-" + "".join(random.choices(string.ascii_lowercase, k=8))).create()
    yield made
    made.delete(missing_ok=True)


def untarred(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def put(bucket: Bucket, name: str, content: bytes) -> None:
    bucket.object(name).get_writer().put_content(content)


def read(bucket: Bucket, name: str, **config: object) -> bytes:
    return bucket.object(name).get_reader(archive_config=ArchiveConfig(**config)).read_all()


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_members_are_read_by_path_and_by_pattern(bucket: Bucket, extension: str) -> None:
    name = f"shards/s{extension}"
    put(bucket, name, archive_of(extension, SAMPLES))
    for member, content in SAMPLES.items():
        assert read(bucket, name, archpath=member) == content
    key = {"train/01.cls", "train/01.txt"}
    assert untarred(read(bucket, name, regex="train/01", mode=ArchiveMode.WDSKEY)) == {
        member: SAMPLES[member] for member in key
    }
    found = untarred(read(bucket, name, regex="txt", mode=ArchiveMode.SUFFIX))
    assert set(found) == {member for member in SAMPLES if member.endswith("txt")}
    assert untarred(read(bucket, name, regex=r"0[12]\.cls$", mode=ArchiveMode.REGEXP)).keys() == {
        "train/01.cls",
        "train/02.cls",
    }
    with pytest.raises(ErrObjNotFound):
        read(bucket, name, archpath="none")


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_what_is_in_an_archive_is_listed(bucket: Bucket, extension: str) -> None:
    name = f"s{extension}"
    put(bucket, name, archive_of(extension, SAMPLES))
    put(bucket, "another", b"x")
    entries = bucket.list_all_objects(prefix=name, flags=[ListObjectFlag.ARCH_DIR], props="name,size")
    assert [entry.name for entry in entries] == [name, *(f"{name}/{member}" for member in sorted(SAMPLES))]
    assert [entry.size for entry in entries[1:]] == [len(SAMPLES[member]) for member in sorted(SAMPLES)]
    inside = bucket.list_archive(name)
    assert [entry.name for entry in inside] == [f"{name}/{member}" for member in sorted(SAMPLES)]
    assert len(bucket.list_archive(name, include_archive_obj=True)) == len(SAMPLES) + 1


def test_large_members_come_back_whole(bucket: Bucket) -> None:
    large = random.Random(3).randbytes(3_000_000)
    for extension in EXTENSIONS:
        put(bucket, f"s{extension}", archive_of(extension, {"a": b"x", "large": large, "b": b"y"}))
        assert read(bucket, f"s{extension}", archpath="large") == large
        assert untarred(read(bucket, f"s{extension}", regex="large", mode=ArchiveMode.PREFIX)) == {
            "large": large
        }


def test_a_url_of_a_member_can_be_read_by_anybody(bucket: Bucket) -> None:
    put(bucket, "s.tar", archive_of(".tar", SAMPLES))
    url = bucket.object("s.tar").get_url(archpath="train/00.txt")
    assert requests.get(url, timeout=5).content == SAMPLES["train/00.txt"]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_objects_are_packed_by_a_job(client: Client, bucket: Bucket, extension: str) -> None:
    for name, content in SAMPLES.items():
        put(bucket, name, content)
    group = bucket.objects(obj_names=list(SAMPLES))
    for job in group.archive(f"all{extension}"):
        client.job(job).wait_for_idle(timeout=WAIT_S)
    for member, content in SAMPLES.items():
        assert read(bucket, f"all{extension}", archpath=member) == content


def test_packing_appends_and_goes_to_other_buckets(client: Client, bucket: Bucket) -> None:
    other = client.bucket(bucket.name + "-to").create()
    try:
        for name, content in SAMPLES.items():
            put(bucket, name, content)
        for names in (["train/00.cls", "train/00.txt"], ["train/02.txt"]):
            group = bucket.objects(obj_names=names)
            for job in group.archive("s.tar", to_bck=other, include_source_name=True, allow_append=True):
                client.job(job).wait_for_idle(timeout=WAIT_S)
        found = untarred(other.object("s.tar").get_reader().read_all())
        assert found == {
            f"{bucket.name}/{name}": SAMPLES[name]
            for name in ("train/00.cls", "train/00.txt", "train/02.txt")
        }
        with pytest.raises(AISError):
            bucket.objects(obj_names=["train/00.cls"]).archive("s.rar")
    finally:
        other.delete()


def test_a_dataset_is_written_as_shards(bucket: Bucket, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes(bytes([number]) * 100)
    labels = {str(number): number % 2 + 1 for number in range(6)}
    config = DatasetConfig(
        primary_attribute=DataAttribute(path=tmp_path, name="image", file_type="jpg"),
        secondary_attributes=[LabelAttribute(name="cls", label_identifier=lambda name: labels[name])],
    )
    bucket.write_dataset(config, pattern="img_dataset", maxcount=3)
    shards = [entry.name for entry in bucket.list_all_objects()]
    assert len(shards) == 2
    members = [entry.name for shard in shards for entry in bucket.list_archive(shard)]
    assert len(members) == 12


def test_a_shard_is_found_by_its_bucket(node: RunningNode, bucket: Bucket) -> None:
    put(bucket, "s.tar", archive_of(".tar", SAMPLES))
    shard = DataShard(client_url=node.url, bucket_name=bucket.name, prefix="s")
    assert [entry.name for entry in shard.bucket.list_all_objects(prefix=shard.prefix)] == ["s.tar"]


def test_a_member_is_not_read_untransformed_where_a_transformation_is_asked_for(bucket: Bucket) -> None:
    put(bucket, "a.tar", archive_of(".tar", {"m": b"member"}))
    found = bucket.object("a.tar").get_reader(ArchiveConfig(archpath="m"), etl=ETLConfig("some-etl"))
    with pytest.raises(AISError) as caught:
        found.read_all()
    assert caught.value.status_code == 501
