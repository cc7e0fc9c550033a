"""Copies, renames, work on many objects and jobs through AIStore's own SDK."""

import random
import signal
import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from aistore.sdk import Bucket, Client
from aistore.sdk.errors import AISError, ErrBckNotFound, ErrObjNotFound, JobInfoNotFound

from support.node import RunningNode, running_node

NAMES = [f"dir/{number:03}" for number in range(150)]
WAIT_S = 60


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def client(node: RunningNode) -> Client:
    return Client(node.url, timeout=(3, 20))


def new_name() -> str:
    return "sdk-" + "".join(random.choices(string.ascii_lowercase, k=8))


@pytest.fixture
def bucket(client: Client) -> Iterator[Bucket]:
    made = client.bucket(new_name()).create()
    yield made
    made.delete(missing_ok=True)


@pytest.fixture
def other(client: Client) -> Iterator[Bucket]:
    made = client.bucket(new_name())
    yield made
    made.delete(missing_ok=True)


def put(bucket: Bucket, *names: str) -> None:
    for name in names:
        bucket.object(name).get_writer().put_content(name.encode() * 3)


def names(bucket: Bucket) -> list[str]:
    return [entry.name for entry in bucket.list_all_objects()]


def test_an_object_is_copied(bucket: Bucket, other: Bucket) -> None:
    put(bucket, "a/ä %41")
    source = bucket.object("a/ä %41")
    with pytest.raises(ErrBckNotFound):
        source.copy(other.object("x"))
    other.create()
    assert source.copy(other.object("b#?/ö")).status_code == 200
    copied = other.object("b#?/ö")
    assert copied.get_reader().read_all() == source.get_reader().read_all()
    assert copied.head().checksum_value == source.head().checksum_value
    source.copy(bucket.object("again"))
    assert names(bucket) == ["a/ä %41", "again"]
    with pytest.raises(ErrObjNotFound):
        bucket.object("none").copy(bucket.object("x"))


def test_a_large_object_is_copied(bucket: Bucket) -> None:
    payload = random.Random(5).randbytes(5_000_001)
    bucket.object("large").get_writer().put_content(payload)
    bucket.object("large").copy(bucket.object("copy"))
    bucket.object("large").delete()
    assert bucket.object("copy").get_reader().read_all() == payload


def test_a_bucket_is_copied_into_one_that_is_made_for_it(
    client: Client, bucket: Bucket, other: Bucket
) -> None:
    put(bucket, *NAMES)
    job_id = bucket.copy(other)
    assert client.job(job_id).wait(timeout=WAIT_S).success
    assert names(other) == NAMES
    assert client.job(job_id, job_kind="copy-bck").wait_for_idle(timeout=WAIT_S).success
    [snapshot] = client.job(job_id).get_details().list_snapshots()
    assert (snapshot.stats.objects, snapshot.stats.bytes) == (150, 150 * 21)
    assert (snapshot.source_bck.name, snapshot.destination_bck.name) == (bucket.name, other.name)


def test_a_copy_may_be_chosen_renamed_and_rehearsed(client: Client, bucket: Bucket, other: Bucket) -> None:
    put(bucket, "in/1.jpg", "in/2.png", "out/3.jpg")
    rehearsed = bucket.copy(other, prefix_filter="in/", dry_run=True)
    assert client.job(rehearsed).wait(timeout=WAIT_S).success
    with pytest.raises(ErrBckNotFound):
        other.list_all_objects()
    job_id = bucket.copy(other, prefix_filter="in/", prepend="new/", ext={"jpg": "txt"}, num_workers=3)
    assert client.job(job_id).wait_for_idle(timeout=WAIT_S).success
    assert names(other) == ["new/in/1.txt", "new/in/2.png"]
    assert client.job(job_id).get_details().get_num_workers() == 3


AWKWARD = [
    *("with space", "plus+plus", "100%", "%41", "a%2Fb", "q?x#y", "a&b=c;d", "'quotes\"", "back\\slash"),
    *("/lead", "//lead", "trail/", "a", "a/b", "a//b", "ünï/😀", "...", "tab\there", "{x}", "user@5", "*"),
    *("x" * 1024, "long/" + "é" * 509, "😀" * 256),
]


def test_names_go_through_jobs_byte_for_byte(client: Client, bucket: Bucket, other: Bucket) -> None:
    put(bucket, *AWKWARD)
    assert client.job(bucket.copy(other)).wait(timeout=WAIT_S).success
    assert names(other) == sorted(AWKWARD, key=str.encode)
    for name in AWKWARD:
        assert other.object(name).get_reader().read_all() == name.encode() * 3
    job_id = bucket.objects(obj_names=AWKWARD).delete()
    assert client.job(job_id).wait(timeout=WAIT_S).success
    assert names(bucket) == []


def test_a_bucket_is_renamed(client: Client, bucket: Bucket, other: Bucket) -> None:
    put(bucket, *NAMES[:20])
    old_name = bucket.name
    job_id = bucket.rename(to_bck_name=other.name)
    assert client.job(job_id).wait(timeout=WAIT_S).success
    assert names(other) == NAMES[:20]
    assert bucket.name == other.name
    with pytest.raises(ErrBckNotFound):
        client.bucket(old_name).list_all_objects()


def test_renames_that_cannot_be_change_nothing(client: Client, bucket: Bucket, other: Bucket) -> None:
    other.create()
    put(bucket, "x")
    name = bucket.name
    for wanted in (other.name, name, "no good", "metrics"):
        with pytest.raises(AISError) as refused:
            client.bucket(name).rename(to_bck_name=wanted)
        assert refused.value.status_code == 400
    with pytest.raises(ErrBckNotFound):
        client.bucket("none").rename(to_bck_name=new_name())
    assert names(bucket) == ["x"]
    assert names(other) == []


def test_objects_are_deleted_by_list_and_by_template(client: Client, bucket: Bucket) -> None:
    put(bucket, *NAMES)
    job_id = bucket.objects(obj_names=NAMES[:70]).delete()
    assert client.job(job_id).wait(timeout=WAIT_S).success
    assert names(bucket) == NAMES[70:]
    job_id = bucket.objects(obj_template="dir/{070..200}").delete()
    assert client.job(job_id).wait(timeout=WAIT_S).success
    assert names(bucket) == []
    job_id = bucket.objects(obj_names=["nope"]).delete()
    waited = client.job(job_id).wait(timeout=WAIT_S)
    assert not waited.success
    assert f"ais://{bucket.name}/nope does not exist" in waited.error


def test_objects_are_copied_by_list(client: Client, bucket: Bucket, other: Bucket) -> None:
    put(bucket, *NAMES[:10])
    [job_id] = bucket.objects(obj_names=[*NAMES[:5], "nope"]).copy(other, prepend="p/", num_workers=2)
    assert job_id.startswith("tco-")
    # Its work may be done, but this kind of job stays for a while.
    running = client.cluster().list_running_jobs(job_kind="copy-listrange")
    assert f"copy-listrange[{job_id}]" in running
    client.job(job_id).wait(timeout=WAIT_S)
    assert names(other) == [f"p/{name}" for name in NAMES[:5]]


def test_jobs_are_found_by_kind_and_by_time(client: Client, bucket: Bucket, other: Bucket) -> None:
    put(bucket, "a")
    started = datetime.now(UTC) - timedelta(seconds=1)
    job_id = bucket.copy(other)
    client.job(job_id).wait(timeout=WAIT_S)
    ended = datetime.now(UTC) + timedelta(seconds=1)
    found = client.job(job_kind="copy-bck").get_within_timeframe(started, ended)
    assert job_id in [snapshot.id for snapshot in found]
    with pytest.raises(JobInfoNotFound):
        client.job(job_kind="copy-bck").get_within_timeframe(ended, ended)
    assert client.job(job_id).get_total_time() is not None
    listed = {status.uuid: status for status in client.cluster().list_jobs_status(job_kind="copy-bucket")}
    assert listed[job_id].end_time > 0
    assert client.job(job_id).status().end_time == listed[job_id].end_time


def test_a_job_for_several_buckets_is_not_one_for_the_first(
    client: Client, bucket: Bucket, other: Bucket
) -> None:
    assert client.job(job_kind="lru").start(buckets=[bucket])
    before = len(client.cluster().list_jobs_status(job_kind="lru"))
    with pytest.raises(AISError, match="start one for each"):
        client.job(job_kind="lru").start(buckets=[bucket, other.create()])
    assert len(client.cluster().list_jobs_status(job_kind="lru")) == before


def test_maintenance_jobs_start_and_end(client: Client) -> None:
    for kind, canonical in (("lru", "lru"), ("cleanup", "cleanup-store")):
        job_id = client.job(job_kind=kind).start()
        assert client.job(job_id).wait(timeout=WAIT_S).success
        status = client.job(job_id, job_kind=canonical).status()
        assert (status.uuid, status.err, status.aborted) == (job_id, "", False)
        assert job_id in [found.uuid for found in client.cluster().list_jobs_status(job_kind=kind)]
    for kind in ("nonsense", "copy-bck", "rebalance"):
        with pytest.raises(AISError) as refused:
            client.job(job_kind=kind).start()
        assert refused.value.status_code == 400


def test_an_aborted_job_is_told_as_such(
    node: RunningNode, client: Client, bucket: Bucket, other: Bucket
) -> None:
    for number in range(40):
        bucket.object(f"{number}").get_writer().put_content(b"x" * 3_000_000)
    # Halted, so that it is not done before it is told to stop.
    node.kill("jobs", signal.SIGSTOP)
    try:
        job_id = bucket.copy(other, num_workers=-1)
        client.job(job_id).abort()
    finally:
        node.kill("jobs", signal.SIGCONT)
    waited = client.job(job_id).wait(timeout=WAIT_S)
    assert (waited.success, "abort" in waited.error) == (False, True)
    assert len(names(other)) < 40
    client.job("never-was").abort()


def test_jobs_that_never_were_are_not_found(client: Client) -> None:
    with pytest.raises(AISError) as missing:
        client.job("never-was").wait(timeout=1)
    assert missing.value.status_code == 404
    assert client.job(job_kind="ec-encode").get_details().list_snapshots() == []
