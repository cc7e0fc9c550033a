"""Appending, uploads in parts, summaries: AIStore's own SDK against a running node, and against its death."""

import hashlib
import json
import os
import random
import signal
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from aistore.sdk import Bucket, Client
from aistore.sdk.errors import AISError, ErrBckNotFound
from aistore.sdk.list_object_flag import ListObjectFlag

from support.content import payload
from support.node import RunningNode, running_node
from support.processes import wait_until

MIB = 1024 * 1024


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


def read(bucket: Bucket, name: str) -> bytes:
    content: bytes = bucket.object(name).get_reader().read_all()
    return content


def test_appended_content_is_read_when_it_is_flushed(bucket: Bucket) -> None:
    written = bucket.object("log").get_writer()
    handle = written.append_content(b"one")
    handle = written.append_content(b"two", handle)
    with pytest.raises(AISError):
        read(bucket, "log")
    assert written.append_content(b"", handle, flush=True) == ""
    assert read(bucket, "log") == b"onetwo"
    handle = written.append_content(b"three")
    written.append_content(b"", handle, flush=True)
    assert read(bucket, "log") == b"onetwothree"


def test_a_file_writer_in_mode_w_begins_anew_and_in_mode_a_goes_on(bucket: Bucket) -> None:
    thing = bucket.object("file")
    with thing.get_writer().as_file("w") as file:
        for number in range(50):
            file.write(f"line {number}\n".encode())
        assert read(bucket, "file") == b""
        file.flush()
        file.write(b"end\n")
    expected = b"".join(b"line %d\n" % number for number in range(50)) + b"end\n"
    assert read(bucket, "file") == expected
    with thing.get_writer().as_file("a") as file:
        file.write(b"more")
    assert read(bucket, "file") == expected + b"more"
    with thing.get_writer().as_file("w") as file:
        file.write(b"new")
    assert read(bucket, "file") == b"new"


def test_a_file_reader_reads_all_and_from_where_it_is_told(bucket: Bucket) -> None:
    content = payload("reader", 1, 2 * MIB)
    bucket.object("large").get_writer().put_content(content)
    with bucket.object("large").get_reader().as_file() as file:
        assert file.read(100) == content[:100]
        assert file.read() == content[100:]
    with bucket.object("large").get_reader(byte_range="bytes=5-").as_file() as file:
        assert file.read() == content[5:]


def test_large_appends_make_one_object_with_the_checksum_of_all(bucket: Bucket) -> None:
    pieces = [payload("append", number, 3 * MIB + number) for number in range(4)]
    written = bucket.object("large").get_writer()
    handle = ""
    for piece in pieces:
        handle = written.append_content(piece, handle)
    written.append_content(b"", handle, flush=True)
    whole = b"".join(pieces)
    assert hashlib.sha256(read(bucket, "large")).digest() == hashlib.sha256(whole).digest()
    bucket.object("same").get_writer().put_content(whole)
    large, same = (bucket.object(name).props.checksum_value for name in ("large", "same"))
    assert large == same


def test_any_worker_goes_on_with_an_append_and_a_killed_node_forgets_nothing_acknowledged() -> None:
    with running_node(workers=2) as running:
        bucket = Client(running.url, timeout=(3, 20)).bucket("kill").create()
        bucket.object("log").get_writer().put_content(b"old ")
        pieces = [payload("kill", number, 100_000) for number in range(8)]
        handle = ""
        for piece in pieces[:4]:
            # Each on a connection of its own, which either worker may accept.
            handle = (
                Client(running.url).bucket("kill").object("log").get_writer().append_content(piece, handle)
            )
        running.kill()
        running.restart()
        bucket = Client(running.url, timeout=(3, 20)).bucket("kill")
        assert read(bucket, "log") == b"old "
        assert [entry.name for entry in bucket.list_all_objects()] == ["log"]
        written = bucket.object("log").get_writer()
        for piece in pieces[4:]:
            handle = written.append_content(piece, handle)
        written.append_content(b"", handle, flush=True)
        assert read(bucket, "log") == b"old " + b"".join(pieces)


def test_parts_are_uploaded_in_any_order_and_at_once(bucket: Bucket) -> None:
    parts = {number: payload("part", number, MIB + number) for number in range(1, 9)}
    upload = bucket.object("mp").multipart_upload().create()
    order = [3, 1, 8, 2, 7, 5, 6, 4]
    writers = {number: upload.add_part(number) for number in order}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: writers[number].put_content(parts[number]), order))
    assert [entry.name for entry in bucket.list_all_objects()] == []
    upload.complete()
    whole = b"".join(parts[number] for number in sorted(parts))
    assert read(bucket, "mp") == whole
    head = bucket.object("mp").head(props="chunked,checksum,version")
    assert (head.size, head.obj_version) == (len(whole), "1")
    raw = requests.head(f"{bucket_url(bucket)}/mp?props=chunked", timeout=20).headers
    assert (raw["Ais-Chunks-Count"], raw["Ais-Chunks-Max-Chunk-Size"]) == ("8", str(MIB + 8))
    (entry,) = bucket.list_all_objects(props="name,size,chunked")
    assert entry.is_ok()


def bucket_url(bucket: Bucket) -> str:
    base: str = bucket.client.base_url
    return f"{base}/objects/{bucket.name}"


def test_parts_may_be_files_and_replace_what_was_there(bucket: Bucket, tmp_path: Path) -> None:
    bucket.object("mp").get_writer().put_content(b"before")
    upload = bucket.object("mp").multipart_upload().create()
    for number in (1, 2):
        file = tmp_path / str(number)
        file.write_bytes(b"%d" % number * 5000)
        upload.add_part(number).put_file(file)
    assert read(bucket, "mp") == b"before"
    upload.complete()
    assert read(bucket, "mp") == b"1" * 5000 + b"2" * 5000
    bucket.object("mp").get_writer().put_content(b"after")
    assert read(bucket, "mp") == b"after"


def test_what_cannot_be_completed_is_told_in_the_words_that_clients_look_for(bucket: Bucket) -> None:
    upload = bucket.object("mp").multipart_upload().create()
    with pytest.raises(AISError, match="no chunks"):
        upload.complete()
    with pytest.raises(AISError, match=r"invalid size \(0\)"):
        upload.add_part(1).put_content(b"")
    upload.add_part(1).put_content(b"x")
    with pytest.raises(AISError, match="partial completion"):
        upload.complete()
    upload.parts = [1]
    upload.complete()
    with pytest.raises(AISError, match="does not exist"):
        upload.complete()
    aborted = bucket.object("mp2").multipart_upload().create()
    aborted.add_part(1).put_content(b"x")
    aborted.abort()
    with pytest.raises(AISError, match="does not exist"):
        aborted.complete()


def test_a_part_of_an_upload_is_not_appended_to_the_object(bucket: Bucket) -> None:
    bucket.object("kept").get_writer().put_content(b"kept")
    upload = bucket.object("kept").multipart_upload().create()
    with pytest.raises(AISError, match="append_type and uploadId exclude each other"):
        upload.add_part(1).append_content(b"part")
    with pytest.raises(AISError):
        upload.add_part(1).as_file().write(b"part")
    assert bucket.object("kept").get_reader().read_all() == b"kept"
    upload.abort()


def test_a_bucket_is_summed_up(bucket: Bucket) -> None:
    for number in range(4):
        bucket.object(f"pre/{number}").get_writer().put_content(b"x" * 10)
    summary = bucket.summary()
    assert summary["ObjCount"] == {"obj_count_present": "4", "obj_count_remote": "0"}
    assert summary["TotalSize"]["size_all_present_objs"] == "40"
    assert summary["TotalSize"]["size_all_remote_objs"] == "0"
    assert summary["used_pct"] == 0
    assert bucket.summary(prefix="none")["ObjCount"]["obj_count_present"] == "0"


def test_a_bucket_tells_properties_and_summary_together(bucket: Bucket) -> None:
    bucket.object("one").get_writer().put_content(b"x" * 10)
    properties, summary = bucket.info()
    assert int(json.loads(properties)["features"]) == 0
    assert summary["ObjCount"] == {"obj_count_present": "1", "obj_count_remote": "0"}
    assert summary["is_present"] is True


def test_what_a_bucket_tells_can_be_of_a_prefix_only(bucket: Bucket) -> None:
    for name in ("pre/1", "pre/2", "é é/1", "other"):
        bucket.object(name).get_writer().put_content(b"x" * 10)
    counts = [bucket.info(prefix=prefix)[1]["ObjCount"] for prefix in ("pre/", "é é/", "none")]
    assert [count["obj_count_present"] for count in counts] == ["2", "1", "0"]


def test_a_missing_bucket_has_no_summary(client: Client) -> None:
    with pytest.raises(ErrBckNotFound):
        client.bucket("no-such-bucket").summary()
    with pytest.raises(AISError):
        client.bucket("no-such-bucket").info()


def test_flags_of_listings_go_on_as_before(bucket: Bucket) -> None:
    upload = bucket.object("mp").multipart_upload().create()
    upload.add_part(1).put_content(b"x")
    upload.complete()
    (entry,) = bucket.list_all_objects(flags=[ListObjectFlag.NAME_SIZE])
    assert (entry.name, entry.size, entry.is_cached()) == ("mp", 1, True)


def test_files_of_the_machine_are_promoted(tmp_path: Path) -> None:
    root = tmp_path / "promote"
    (root / "d" / "sub").mkdir(parents=True)
    contents = {f"d/{number:03}": payload("promote", number, 1000 * number) for number in range(100)}
    contents["d/sub/large"] = payload("promote", 1000, 20 * MIB)
    for name, content in contents.items():
        (root / name).write_bytes(content)
    (tmp_path / "secret").write_bytes(b"secret")
    with running_node(workers=2, env={"AISLE_PROMOTE": str(root)}) as running:
        client = Client(running.url, timeout=(3, 20))
        bucket = client.bucket("p").create()
        assert bucket.object("one").promote(str(root / "d" / "005")) == ""
        assert read(bucket, "one") == contents["d/005"]
        job = bucket.object("d/").promote(str(root / "d"), recursive=True, delete_source=True)
        assert client.job(job_id=job).wait(timeout=30).success
        assert sorted(entry.name for entry in bucket.list_all_objects()) == [*sorted(contents), "one"]
        for name in ("d/000", "d/099", "d/sub/large"):
            assert read(bucket, name) == contents[name]
        assert [path for path in root.rglob("*") if path.is_file()] == []
        with pytest.raises(AISError, match="must be under"):
            bucket.object("stolen").promote(str(tmp_path / "secret"))


def test_performance_and_logs_are_told_of_every_target(client: Client, bucket: Bucket) -> None:
    bucket.object("o").get_writer().put_content(b"hello")
    (target,) = client.cluster().get_info().tmap
    (performance,) = client.cluster().get_performance().values()
    assert performance["tracker"]["put.n"] >= 1
    log = client.cluster().get_node_log(target)
    assert "worker-0 started" in log
    assert "committer-0 started" in log
    assert set(client.cluster().get_cluster_logs()) == {target}
    assert client.cluster().get_node_log_archive(target)[:2] == b"\x1f\x8b"


def test_a_killed_node_goes_on_promoting(tmp_path: Path) -> None:
    root = tmp_path / "promote"
    root.mkdir()
    for number in range(200):
        (root / f"{number:03}").write_bytes(payload("promote", number, 30_000))
    with running_node(env={"AISLE_PROMOTE": str(root)}) as running:
        bucket = Client(running.url, timeout=(3, 20)).bucket("p").create()
        (jobs,) = running.children("jobs")
        job = bucket.object("").promote(str(root), delete_source=True)
        assert wait_until(lambda: len(list(root.iterdir())) < 180, timeout_s=60)
        os.kill(jobs, signal.SIGSTOP)  # it might be done before all that is to be killed is found
        running.kill()
        assert any(root.iterdir()), "it was to be killed at work"
        running.restart()
        client = Client(running.url, timeout=(3, 20))
        assert client.job(job_id=job).wait(timeout=90).success
        bucket = client.bucket("p")
        names = sorted(entry.name for entry in bucket.list_all_objects())
        assert names == [f"{number:03}" for number in range(200)]
        for number in range(0, 200, 13):
            assert read(bucket, f"{number:03}") == payload("promote", number, 30_000)
        assert list(root.iterdir()) == []
