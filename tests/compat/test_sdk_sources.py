"""What AIStore's SDK makes data sets of: buckets and groups as sources of objects and of their addresses.

The helpers of the SDK for PyTorch stand on these; none of them needs PyTorch.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from aistore.sdk import Bucket, Client
from aistore.sdk.errors import AISError, InvalidBckProvider
from aistore.sdk.etl import ETLConfig

from support.node import running_node

NAMES = ["a/1", "a/2", "a b+c%41?", "b/é", "z"]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with running_node(workers=2) as node:
        yield Client(node.url, timeout=(3, 20))


@pytest.fixture
def bucket(client: Client) -> Iterator[Bucket]:
    made = client.bucket("sources").create()
    for name in NAMES:
        made.object(name).get_writer().put_content(name.encode())
    yield made
    made.delete(missing_ok=True)


def test_a_bucket_is_a_source_of_objects(bucket: Bucket) -> None:
    found = {each.name: each for each in bucket.list_all_objects_iter(props="name,size,checksum")}
    assert sorted(found) == sorted(NAMES)
    for name, each in found.items():
        assert each.props_cached.size == len(name.encode())
        assert each.get_reader().read_all() == name.encode()
    assert [each.name for each in bucket.list_all_objects_iter(prefix="a/")] == ["a/1", "a/2"]
    assert [each.name for each in bucket.list_all_objects_iter(start_after="a/1", prefix="a/")] == ["a/2"]


def test_the_addresses_that_a_bucket_tells_can_be_read_by_anybody(bucket: Bucket) -> None:
    read = [requests.get(url, timeout=20).text for url in bucket.list_urls()]
    assert sorted(read) == sorted(NAMES)
    assert len(list(bucket.list_urls(prefix="a/"))) == 2


def test_a_group_is_a_source_too(bucket: Bucket) -> None:
    group = bucket.objects(obj_template="a/{1..3}")
    assert group.list_names() == ["a/1", "a/2", "a/3"]
    listed = bucket.objects(obj_names=["a/1", "z"])
    assert [each.name for each in listed.list_all_objects_iter()] == ["a/1", "z"]
    assert [requests.get(url, timeout=20).text for url in listed.list_urls()] == ["a/1", "z"]
    assert [each.name for each in listed.list_all_objects_iter(prefix="a")] == ["a/1"]


def test_an_object_is_found_by_its_address(client: Client, bucket: Bucket) -> None:
    known = bucket.object("a b+c%41?")
    assert (known.uname, known.get_semantic_url()) == ("ais/@#/sources/a b+c%41?", "ais://sources/a b+c%41?")
    found = client.get_object_from_url("ais://sources/b/é")
    assert found.get_reader().read_all() == "b/é".encode()
    assert bucket.get_path() == "ais/@#/sources/"


def test_a_job_is_waited_for_on_one_node(client: Client, bucket: Bucket) -> None:
    job_id = bucket.objects(obj_names=["a/1", "a/2"]).delete()
    job = client.job(job_id=job_id)
    assert job.wait(timeout=30).success
    assert sorted(each.name for each in bucket.list_all_objects()) == sorted(set(NAMES) - {"a/1", "a/2"})
    assert client.job(job_kind="cleanup").job_kind == "cleanup"


def test_what_needs_a_cloud_or_is_not_built_says_so(client: Client, bucket: Bucket) -> None:
    with pytest.raises(InvalidBckProvider):
        bucket.evict()
    for ask in (
        lambda: bucket.objects(obj_names=["z"]).evict(),
        lambda: bucket.objects(obj_names=["z"]).prefetch(),
        lambda: bucket.object("z").blob_download(),
        lambda: bucket.create_inventory(),
        lambda: client.etl("no-such-etl").view(),
    ):
        with pytest.raises((AISError, InvalidBckProvider)):
            ask()
    assert sorted(each.name for each in bucket.list_all_objects()) == sorted(NAMES)


def test_what_transforms_and_sorts_is_told_not_to_be_built(
    client: Client, bucket: Bucket, tmp_path: Path
) -> None:
    etl, dsort = client.etl("some-etl"), client.dsort("srt-abcdefghi")
    specification = tmp_path / "sort.json"
    specification.write_text('{"input_bck": {"name": "sources"}, "output_shard_size": "1MB"}')
    asked: list[Callable[[], object]] = [
        client.cluster().list_etls,
        lambda: etl.init(image="some-image"),
        *(etl.view, etl.start, etl.stop, etl.delete, etl.logs, lambda: etl.logs("some-target")),
        *(lambda: dsort.start(specification), dsort.abort, dsort.get_job_info, dsort.wait),
        lambda: bucket.transform("some-etl", client.bucket("other")),
        lambda: bucket.object("z").get_reader(etl=ETLConfig("some-etl")).read_all(),
        lambda: bucket.object("z").copy(bucket.object("y"), etl=ETLConfig("some-etl")),
    ]
    for ask in asked:
        with pytest.raises(AISError, match="not built") as caught:
            ask()
        assert caught.value.status_code == 501
    answer = requests.get(f"{client.cluster().get_primary_url()}/v1/sort", timeout=20)
    assert (answer.status_code, answer.json()) == (200, [])
