"""Reads through a real node from a bucket that fails: what clients get, and what is kept.

Whatever happens, nobody gets a torn object as a whole one, nothing torn is kept, and everybody is answered.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import quote

import pytest
import requests

from support import processes
from support.faulty_bucket import NAME, Fault, FaultyBucket, faulty_bucket
from support.node import RunningNode, running_node

WORKERS = 4
WAIT_S = 60.0
LARGE = os.urandom(6 * 1024 * 1024)
"""Larger than what stays in memory, and than a batch of a draft."""
HALF = len(LARGE) // 2
CONFIG = """
[download]
stall_timeout_s = 3.0
"""


@pytest.fixture(scope="module")
def served() -> Iterator[FaultyBucket]:
    with faulty_bucket() as bucket:
        yield bucket


@pytest.fixture(scope="module")
def node(served: FaultyBucket) -> Iterator[RunningNode]:
    env = {
        "AWS_ENDPOINT_URL": served.url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_REGION": "us-east-1",
    }
    with running_node(workers=WORKERS, env=env, config=CONFIG) as running:
        assert requests.get(url(running, "none"), timeout=WAIT_S).status_code == 404
        yield running


@pytest.fixture
def bucket(served: FaultyBucket) -> Iterator[FaultyBucket]:
    served.asked.clear()
    served.scripts.clear()
    served.refuses = False
    yield served
    served.go_on.set()
    served.refuses = False


def url(node: RunningNode, key: str, more: str = "") -> str:
    return f"{node.url}/v1/objects/{NAME}/{quote(key)}?provider=aws{more}"


def get(node: RunningNode, key: str) -> requests.Response:
    """A whole read over a connection of its own. Raises requests.RequestException if it breaks off."""
    return requests.get(url(node, key), timeout=WAIT_S, headers={"Connection": "close"})


def is_kept(node: RunningNode, key: str) -> bool:
    return requests.head(url(node, key, "&presence=2"), timeout=WAIT_S).status_code == 200


def wait_kept(node: RunningNode, key: str) -> None:
    assert processes.wait_until(lambda: is_kept(node, key), timeout_s=WAIT_S, poll_s=0.02)


def fetchers(node: RunningNode, bucket: FaultyBucket) -> list[int]:
    """The workers that have a connection to the bucket's endpoint."""
    return [pid for pid in node.children("worker") if bucket.port in processes.peer_ports(pid)]


class Readers:
    """Clients that ask for one object at the same time."""

    def __init__(self, node: RunningNode, key: str, many: int) -> None:
        self._begun = threading.Semaphore(0)
        self._node, self._key = node, key
        self._threads = ThreadPoolExecutor(many)
        self._asking: list[Future[bytes]] = [self._threads.submit(self._ask) for _ in range(many)]

    def _ask(self) -> bytes:
        received = bytearray()
        with requests.get(
            url(self._node, self._key), timeout=WAIT_S, headers={"Connection": "close"}, stream=True
        ) as answer:
            assert answer.status_code == 200, answer.text
            length = int(answer.headers["Content-Length"])
            self._begun.release()
            for chunk in answer.iter_content(65_536):
                received += chunk
        # Without this a body that breaks off is taken for a shorter one.
        if len(received) != length:
            raise requests.ConnectionError(f"{len(received)} of {length} bytes")
        return bytes(received)

    def wait_begun(self) -> None:
        """Until all have the beginning."""
        for _ in self._asking:
            assert self._begun.acquire(timeout=WAIT_S)

    def outcomes(self) -> list[bytes | None]:
        """What each got: all its bytes, or None if its answer broke off."""
        found: list[bytes | None] = []
        for asking in self._asking:
            try:
                found.append(asking.result(WAIT_S))
            except requests.RequestException:
                found.append(None)
        self._threads.shutdown()
        return found


# One source that fails


@pytest.mark.parametrize(
    "script",
    [
        [Fault(status=503, code="SlowDown")],
        [Fault(status=429, headers={"Retry-After": "1"}), Fault(status=503, headers={"Retry-After": "0"})],
        [Fault(status=500, code="InternalError")],
        [Fault(sent=HALF, then="reset")],
        [Fault(sent=HALF, then="close")],
        [Fault(sent=HALF, then="stall")],
        [Fault(sent=0, then="reset"), Fault(sent=HALF, then="reset"), Fault(sent=100, then="reset")],
    ],
    ids=["slow down", "retry after", "internal", "reset", "close", "stall", "often"],
)
def test_what_passes_is_hidden(node: RunningNode, bucket: FaultyBucket, script: list[Fault]) -> None:
    key = f"passes/100% {script[0]} é"
    bucket.objects[key] = LARGE
    bucket.scripts[key] = list(script)
    answer = get(node, key)
    assert answer.content == LARGE
    assert bucket.gets(key)[0] == 0
    # What has come is not fetched again, and only from the same object.
    goes_on = [asked for asked in bucket.asked if asked.key == key and asked.start]
    assert all("if-match" in asked.headers for asked in goes_on)
    assert len(goes_on) >= sum(bool(fault.sent) for fault in script)
    wait_kept(node, key)


@pytest.mark.parametrize("size", [10, len(LARGE)])
def test_a_wrong_checksum_is_never_a_whole_object(node: RunningNode, bucket: FaultyBucket, size: int) -> None:
    key = f"wrong-{size}"
    bucket.objects[key] = LARGE[:size]
    bucket.scripts[key] = [Fault(etag="0" * 32)]
    if size > 64 * 1024:
        with pytest.raises(requests.RequestException):
            get(node, key)
    else:
        answer = get(node, key)
        assert (answer.status_code, "BAD DATA CHECKSUM" in answer.text) == (502, True)
    assert not is_kept(node, key)
    assert get(node, key).content == LARGE[:size]


def test_an_object_shorter_than_announced_is_an_error(node: RunningNode, bucket: FaultyBucket) -> None:
    bucket.objects["short"] = LARGE
    # Whoever asks for the missing rest is told that there is none.
    bucket.scripts["short"] = [Fault(longer_by=1000), *[Fault(status=416) for _ in range(10)]]
    with pytest.raises(requests.RequestException):
        get(node, "short")
    assert not is_kept(node, "short")


def test_an_object_that_changes_while_it_streams(node: RunningNode, bucket: FaultyBucket) -> None:
    newer = bucket.objects["changes"] = LARGE[::-1]
    bucket.scripts["changes"] = [Fault(sent=HALF, then="reset", etag="1" * 32)]
    with pytest.raises(requests.RequestException):
        get(node, "changes")
    assert not is_kept(node, "changes")
    assert get(node, "changes").content == newer


def test_an_object_that_is_deleted_while_it_streams(node: RunningNode, bucket: FaultyBucket) -> None:
    bucket.objects["deleted"] = LARGE
    bucket.scripts["deleted"] = [Fault(sent=HALF, then="reset"), Fault(status=404, code="NoSuchKey")]
    with pytest.raises(requests.RequestException):
        get(node, "deleted")
    del bucket.objects["deleted"]
    assert not is_kept(node, "deleted")
    assert get(node, "deleted").status_code == 404


def test_expired_credentials_are_told_and_nothing_is_kept(node: RunningNode, bucket: FaultyBucket) -> None:
    bucket.objects["expired"] = LARGE
    bucket.scripts["expired"] = [Fault(status=403, code="ExpiredToken")]
    answer = get(node, "expired")
    assert (answer.status_code, "ExpiredToken" in answer.text) == (403, True)
    assert not is_kept(node, "expired")
    bucket.scripts["expired"] = [Fault(sent=HALF, then="reset"), Fault(status=403, code="ExpiredToken")]
    with pytest.raises(requests.RequestException):
        get(node, "expired")
    assert not is_kept(node, "expired")
    assert get(node, "expired").content == LARGE


def test_a_bucket_in_another_region_is_asked_there(node: RunningNode, bucket: FaultyBucket) -> None:
    bucket.objects["elsewhere"] = b"x" * 100
    elsewhere = {"x-amz-bucket-region": "eu-west-3"}
    bucket.scripts["elsewhere"] = [Fault(status=301, code="PermanentRedirect", headers=elsewhere)]
    assert get(node, "elsewhere").content == b"x" * 100
    signed = [asked.headers["authorization"] for asked in bucket.asked if asked.key == "elsewhere"]
    assert ["/us-east-1/s3/" in signed[0], "/eu-west-3/s3/" in signed[1]] == [True, True]


def test_a_bucket_that_is_gone_for_a_while(node: RunningNode, bucket: FaultyBucket) -> None:
    bucket.objects["present"] = bucket.objects["absent"] = LARGE
    assert get(node, "present").content == LARGE
    wait_kept(node, "present")
    bucket.refuses = True
    assert get(node, "present").content == LARGE
    refused = get(node, "absent")
    assert refused.status_code == 502
    assert not is_kept(node, "absent")
    bucket.refuses = False
    assert get(node, "absent").content == LARGE


# Many clients, several workers


def test_many_clients_of_all_workers_cost_one_read(node: RunningNode, bucket: FaultyBucket) -> None:
    bucket.objects["many"] = LARGE
    bucket.hold("many", HALF)
    readers = Readers(node, "many", 100)
    assert bucket.held.wait(WAIT_S)
    readers.wait_begun()
    bucket.go_on.set()
    assert readers.outcomes() == [LARGE] * 100
    wait_kept(node, "many")
    assert bucket.gets("many") == [0]


@pytest.mark.parametrize("size", [0, 1, 10_000, 100_000])
def test_small_objects_are_read_once_too(node: RunningNode, bucket: FaultyBucket, size: int) -> None:
    key = f"small-{size}"
    bucket.objects[key] = LARGE[:size]
    bucket.hold(key, 0)
    with ThreadPoolExecutor(32) as threads:
        asking = [threads.submit(get, node, key) for _ in range(32)]
        assert bucket.held.wait(WAIT_S)
        bucket.go_on.set()
        assert {each.result().content for each in asking} == {LARGE[:size]}
    wait_kept(node, key)
    assert bucket.gets(key) == [0]


def test_clients_follow_a_job(node: RunningNode, bucket: FaultyBucket) -> None:
    bucket.objects["job"] = LARGE
    bucket.hold("job", HALF)
    begun = requests.post(
        f"{node.url}/v1/buckets/{NAME}?provider=aws",
        json={"action": "prefetch-listrange", "value": {"objnames": ["job"]}},
        timeout=WAIT_S,
    )
    assert begun.status_code == 200, begun.text
    assert bucket.held.wait(WAIT_S)
    assert [pid for pid in node.children("jobs") if bucket.port in processes.peer_ports(pid)]
    readers = Readers(node, "job", 8)
    readers.wait_begun()
    bucket.go_on.set()
    assert readers.outcomes() == [LARGE] * 8
    wait_kept(node, "job")
    assert bucket.gets("job") == [0]


def test_ranges_pass_through_and_the_object_is_brought_once(node: RunningNode, bucket: FaultyBucket) -> None:
    bucket.objects["ranges"] = LARGE

    def ask(number: int) -> bool:
        start = number * 100_000
        part = requests.get(
            url(node, "ranges"),
            headers={"Range": f"bytes={start}-{start + 999}", "Connection": "close"},
            timeout=WAIT_S,
        )
        return (part.status_code, part.content) == (206, LARGE[start : start + 1000])

    with ThreadPoolExecutor(16) as threads:
        asking = [threads.submit(ask, number) for number in range(16, 48)]
        assert all(each.result() for each in asking)
    wait_kept(node, "ranges")
    whole = [asked for asked in bucket.asked if asked.method == "GET" and "range" not in asked.headers]
    assert len(whole) == 1


def test_what_is_not_there_is_told_to_all_who_wait(node: RunningNode, bucket: FaultyBucket) -> None:
    with ThreadPoolExecutor(16) as threads:
        asking = [threads.submit(get, node, "nowhere") for _ in range(16)]
        assert {each.result().status_code for each in asking} == {404}


def test_a_failure_reaches_the_clients_of_all_workers(node: RunningNode, bucket: FaultyBucket) -> None:
    bucket.objects["fails"] = LARGE
    bucket.hold("fails", HALF)
    bucket.scripts["fails"][0].etag = "0" * 32
    readers = Readers(node, "fails", 16)
    readers.wait_begun()
    bucket.go_on.set()
    assert readers.outcomes() == [None] * 16
    assert bucket.gets("fails") == [0]
    assert not is_kept(node, "fails")


@pytest.mark.parametrize("who", ["who fetches", "who follows"])
def test_a_killed_worker_takes_only_its_own_clients_along(
    node: RunningNode, bucket: FaultyBucket, who: str
) -> None:
    key = who.replace(" ", "-")
    bucket.objects[key] = LARGE
    bucket.hold(key, HALF)
    readers = Readers(node, key, 24)
    readers.wait_begun()
    (fetcher,) = fetchers(node, bucket)
    followers = [pid for pid in node.children("worker") if pid != fetcher]
    busiest = max(followers, key=lambda pid: len(processes.peer_ports(pid)))
    killed = fetcher if who == "who fetches" else busiest
    processes.send([killed], 9)
    assert processes.wait_until(lambda: len(node.children("worker")) == WORKERS, timeout_s=WAIT_S)
    bucket.go_on.set()
    outcomes = readers.outcomes()
    assert LARGE in outcomes
    assert None in outcomes
    assert set(outcomes) == {LARGE, None}
    wait_kept(node, key)
    assert get(node, key).content == LARGE
    gets = bucket.gets(key)
    if who == "who fetches":
        # One of those who followed went on where they were.
        assert gets[0] == 0
        assert len(gets) == 2
        assert HALF // 2 < gets[1] <= HALF + 1000
    else:
        assert gets == [0]


def test_what_is_deleted_while_it_is_fetched_does_not_come_back(
    node: RunningNode, bucket: FaultyBucket
) -> None:
    for key in ("gone-small", "gone-large"):
        content = LARGE if key == "gone-large" else LARGE[:5000]
        bucket.objects[key] = content
        bucket.hold(key, len(content) // 2)
        with ThreadPoolExecutor(1) as threads:
            asking = threads.submit(get, node, key)
            assert bucket.held.wait(WAIT_S)
            # Many, so that some come to other workers than the one that fetches.
            for _ in range(8):
                deleted = requests.delete(url(node, key), timeout=WAIT_S, headers={"Connection": "close"})
                assert deleted.status_code == 200
            bucket.go_on.set()
            assert asking.result().content == content
        assert get(node, key).status_code == 404
        assert not is_kept(node, key)


def test_what_is_overwritten_while_it_is_fetched_is_read_anew(
    node: RunningNode, bucket: FaultyBucket
) -> None:
    bucket.objects["again"] = LARGE
    bucket.hold("again", HALF)
    newer = os.urandom(len(LARGE))
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(get, node, "again")
        assert bucket.held.wait(WAIT_S)
        assert requests.put(url(node, "again"), data=newer, timeout=WAIT_S).status_code == 200
        for _ in range(8):
            assert get(node, "again").content == newer
        bucket.go_on.set()
        assert asking.result().content == LARGE
    assert get(node, "again").content == newer
