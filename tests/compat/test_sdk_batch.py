"""Get-batch through AIStore's own SDK."""

import io
import random
import string
import tarfile
import time
from collections import deque
from collections.abc import Iterator

import pytest
import requests
from aistore.sdk import Bucket, Client
from aistore.sdk.enums import Colocation

from support.node import RunningNode, running_node

CONTENT = {f"dir/{number:03}": random.Random(number).randbytes(number * 997) for number in range(60)}
LARGE = random.Random(7).randbytes(5_000_000)


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def client(node: RunningNode) -> Client:
    return Client(node.url, timeout=(3, 20))


@pytest.fixture(scope="module")
def bucket(client: Client) -> Iterator[Bucket]:
    made = client.bucket("sdk-" + "".join(random.choices(string.ascii_lowercase, k=8))).create()
    shard = io.BytesIO()
    with tarfile.open(fileobj=shard, mode="w") as tar:
        for name, content in CONTENT.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    for name, content in {**CONTENT, "large": LARGE, "shard.tar": shard.getvalue()}.items():
        made.object(name).get_writer().put_content(content)
    yield made
    made.delete(missing_ok=True)


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("output", [".tar", ".tgz", ".tar.gz", ".zip"])
def test_objects_come_in_their_order(client: Client, bucket: Bucket, output: str, streams: bool) -> None:
    names = [*reversed(CONTENT), "large"]
    batch = client.batch(names, bucket=bucket, output_format=output, streaming_get=streams)
    found = list(batch.get())
    assert [out.obj_name for out, _ in found] == names
    assert [content for _, content in found] == [{**CONTENT, "large": LARGE}[name] for name in names]
    assert [out.size for out, _ in found] == [len(content) for _, content in found]
    assert all(out.err_msg is None for out, _ in found)
    assert all((out.bucket, out.provider) == (bucket.name, "ais") for out, _ in found)


def test_a_form_can_be_decoded_as_a_stream(client: Client, bucket: Bucket) -> None:
    batch = client.batch(["dir/001", "large"], bucket=bucket, streaming_get=False)
    found = [content for _, content in batch.get(decode_as_stream=True)]
    assert found[0] == CONTENT["dir/001"]
    assert found[1][: len(LARGE)] == LARGE


@pytest.mark.parametrize("streams", [True, False])
def test_members_ranges_and_marks_go_together(client: Client, bucket: Bucket, streams: bool) -> None:
    batch = client.batch(bucket=bucket, streaming_get=streams)
    batch.add("shard.tar", archpath="dir/042", opaque=b"one")
    batch.add("shard.tar", archpath="dir/042", start=10, length=5)
    batch.add("large", start=1000, length=2000)
    batch.add("large", start=4_999_990, length=-1)
    batch.add(bucket.object("dir/001"), opaque=b"two")
    found = list(batch.get())
    assert [content for _, content in found] == [
        CONTENT["dir/042"],
        CONTENT["dir/042"][10:15],
        LARGE[1000:3000],
        LARGE[4_999_990:],
        CONTENT["dir/001"],
    ]
    assert [out.archpath or "" for out, _ in found] == ["dir/042", "dir/042", "", "", ""]
    if not streams:
        assert [out.opaque for out, _ in found] == [b"one", None, None, None, b"two"]


@pytest.mark.parametrize("streams", [True, False])
def test_what_is_missing_is_told_in_its_place(client: Client, bucket: Bucket, streams: bool) -> None:
    batch = client.batch(["dir/001", "none", "dir/002"], bucket=bucket, streaming_get=streams)
    batch.add("shard.tar", archpath="none")
    found = list(batch.get())
    assert [content for _, content in found] == [CONTENT["dir/001"], b"", CONTENT["dir/002"], b""]
    assert [bool(out.err_msg) for out, _ in found] == [False, True, False, True]


@pytest.mark.parametrize("streams", [True, False])
def test_without_going_on_a_missing_object_is_an_error(client: Client, bucket: Bucket, streams: bool) -> None:
    batch = client.batch(["dir/001", "none"], bucket=bucket, cont_on_err=False, streaming_get=streams)
    with pytest.raises(Exception, match="does not exist"):
        list(batch.get())


def test_an_unknown_bucket_is_an_error_with_its_status(client: Client) -> None:
    with pytest.raises(Exception, match="does not exist") as caught:
        client.batch(["a"], bucket=client.bucket("nowhere")).get()
    assert "404" in repr(caught.value) or "404" in str(caught.value)


def test_several_buckets_in_one_batch(client: Client, bucket: Bucket) -> None:
    other = client.bucket(bucket.name + "-2").create()
    try:
        other.object("x").get_writer().put_content(b"there")
        batch = client.batch()
        batch.add(other.object("x")).add(bucket.object("dir/001")).add("x", bck=other.name, provider="ais")
        assert [content for _, content in batch.get()] == [b"there", CONTENT["dir/001"], b"there"]
    finally:
        other.delete()


def test_raw_answers_and_names_without_buckets(client: Client, bucket: Bucket) -> None:
    batch = client.batch(["dir/001"], bucket=bucket, only_obj_name=True, colocation=Colocation.TARGET_AWARE)
    with tarfile.open(fileobj=batch.get(raw=True), mode="r|") as tar:
        assert [member.name for member in tar] == ["dir/001"]


def test_a_reader_that_goes_away_harms_nobody(node: RunningNode, client: Client, bucket: Bucket) -> None:
    body = {"in": [{"objname": "large"}] * 40, "strm": True, "coer": True}
    for _ in range(4):
        with requests.get(
            f"{node.url}/v1/ml/moss/{bucket.name}", json=body, stream=True, timeout=5
        ) as answer:
            assert answer.raw.read(1000)
    found = list(client.batch(["dir/001"], bucket=bucket).get())
    assert found[0][1] == CONTENT["dir/001"]
    assert "Traceback" not in node.stderr_text()


def job_of(client: Client, bucket: Bucket) -> str:
    """The id of the bucket's youngest get-batch job, which every worker knows."""
    told = client.cluster().list_jobs_status(job_kind="get-batch")
    return told[-1].uuid


def test_batches_are_a_job_that_can_be_waited_for(client: Client, bucket: Bucket) -> None:
    for _ in range(6):
        list(client.batch(["dir/001", "dir/002"], bucket=bucket).get())
    job = job_of(client, bucket)
    assert job.startswith("gbt-")
    assert any(text == f"get-batch[{job}]" for text in client.cluster().list_running_jobs())
    client.job(job).wait_for_idle(timeout=20)


def test_a_batch_that_is_being_sent_can_be_stopped(node: RunningNode, client: Client, bucket: Bucket) -> None:
    body = {"in": [{"objname": "large"}] * 2000, "strm": True, "coer": True}
    with requests.get(f"{node.url}/v1/ml/moss/{bucket.name}", json=body, stream=True, timeout=60) as answer:
        assert answer.raw.read(5_000_000)
        deadline_s = time.monotonic() + 60
        running: list[str] = []
        while not running and time.monotonic() < deadline_s:
            answer.raw.read(1_000_000)
            status = client.cluster().list_jobs_status(job_kind="get-batch")
            running = [job.uuid for job in status if not job.end_time]
        for job in running:
            stop = {"action": "stop", "value": {"id": job}}
            assert requests.put(f"{node.url}/v1/cluster", json=stop, timeout=60).status_code == 200
        with pytest.raises(requests.exceptions.RequestException):
            deque(answer.iter_content(1024 * 1024), maxlen=0)
