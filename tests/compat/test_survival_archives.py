"""A job that packs an archive, and whoever reads or grows one, while processes are killed."""

import io
import random
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from aistore.sdk import Bucket, Client

from support.node import RunningNode, running_node
from support.processes import wait_until

# Job workers start at the lowest priority: slowly beside others.
pytestmark = pytest.mark.timeout(400)

CONTENT = {f"dir/{number:03}": bytes([number]) * 300_000 for number in range(150)}
WAIT_S = 60


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def bucket(node: RunningNode) -> Bucket:
    made = Client(node.url, timeout=(3, 20)).bucket("data").create()
    for name, content in CONTENT.items():
        made.object(name).get_writer().put_content(content)
    return made


def test_an_archive_is_packed_however_often_the_job_worker_dies(node: RunningNode, bucket: Bucket) -> None:
    [job] = bucket.objects(obj_names=list(CONTENT)).archive("all.tgz")
    for pause_s in (0.05, 0.1, 0.2):
        time.sleep(pause_s)
        node.kill("jobs")
        assert wait_until(lambda: len(node.children("jobs")) == 1, timeout_s=WAIT_S)
        # Nothing of the archive is visible before it is whole.
        answer = requests.get(f"{node.url}/v1/objects/data/all.tgz", timeout=20)
        assert answer.status_code == 404 or len(untarred(answer.content)) == len(CONTENT)
    Client(node.url, timeout=(3, 20)).job(job).wait_for_idle(timeout=WAIT_S)
    assert untarred(bucket.object("all.tgz").get_reader().read_all()) == CONTENT


def untarred(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def put(node: RunningNode, name: str, member: str, content: bytes) -> int:
    target = f"{node.url}/v1/objects/data/{name}?archpath={member}"
    return requests.put(target, data=content, headers={"Ais-Pine": "2"}, timeout=20).status_code


def test_of_files_appended_at_the_same_time_each_is_there_or_was_refused(
    node: RunningNode, bucket: Bucket
) -> None:
    outcomes: dict[str, int] = {}

    def append(writer: int) -> None:
        for number in range(10):
            outcomes[f"{writer}-{number}"] = put(node, "grown.tar", f"{writer}-{number}", b"x" * 5000)

    threads = [threading.Thread(target=append, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(outcomes.values()) <= {200, 503}
    done = {name for name, status in outcomes.items() if status == 200}
    assert done
    found = untarred(bucket.object("grown.tar").get_reader().read_all())
    assert found == dict.fromkeys(done, b"x" * 5000)


def test_a_worker_that_dies_in_an_append_leaves_the_archive_as_it_was(
    node: RunningNode, bucket: Bucket
) -> None:
    assert put(node, "kept.tar", "first", b"1") == 200
    before = bucket.object("kept.tar").get_reader().read_all()

    def slowly() -> Iterator[bytes]:
        for number in range(50):
            if number == 12:  # by now the worker has begun to take it
                node.kill("worker")
            yield b"x" * 100_000
            time.sleep(0.05)

    class Body:
        """A body of known length that takes its time."""

        def __len__(self) -> int:
            return 5_000_000

        def __iter__(self) -> Iterator[bytes]:
            return slowly()

    with pytest.raises(requests.exceptions.RequestException):
        requests.put(
            f"{node.url}/v1/objects/data/kept.tar?archpath=second",
            data=Body(),
            headers={"Ais-Pine": "1", "Content-Length": "5000000"},
            timeout=20,
        )
    assert wait_until(lambda: len(node.children("worker")) == 2, timeout_s=WAIT_S)
    assert bucket.object("kept.tar").get_reader().read_all() == before


def open_files(node: RunningNode) -> int:
    """Payload files that workers hold open."""
    found = 0
    for pid in node.children("worker"):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found += "/data/" in str(link.readlink())
            except OSError:
                continue
    return found


def test_readers_that_go_away_leave_no_file_open(node: RunningNode, bucket: Bucket) -> None:
    large = {f"m/{number}": random.Random(number).randbytes(2_000_000) for number in range(10)}
    for extension in ("tar", "tgz"):
        put_archive(bucket, f"large.{extension}", large)
    before = open_files(node)
    for query in (
        "archregx=m&archmode=prefix",
        "archpath=m/9",
        "archpath=none",
        "archregx=x&archmode=prefix",
    ):
        for extension in ("tar", "tgz"):
            for _ in range(5):
                target = f"{node.url}/v1/objects/data/large.{extension}?{query}"
                with requests.get(target, stream=True, timeout=20) as answer:
                    answer.raw.read(10_000)
    assert wait_until(lambda: open_files(node) <= before, timeout_s=WAIT_S), open_files(node)
    assert "Traceback" not in node.stderr_text()


def put_archive(bucket: Bucket, name: str, files: dict[str, bytes]) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz" if name.endswith("tgz") else "w") as tar:
        for member, content in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    bucket.object(name).get_writer().put_content(target.getvalue())
