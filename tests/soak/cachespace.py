"""A cache that is smaller than what is read through it: nobody notices, and the disk never fills up.

More remote data than a small disk holds is read through a node, several times, by several clients over both
APIs. No client sees an error or a wrong byte; the disk never passes the level `space.out_of_space`; what
exists only here is there at the end: objects of an own bucket, and writes that their source cannot take yet.
"""

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from support import volumes
from support.ais import ais
from support.content import describe, payload
from support.native import NativeClient
from support.node import RunningNode, running_node
from support.oracle import Violation

MIB = 1024 * 1024
WORKERS = 2
CLIENTS = 4
CONFIG = "[storage]\nreserve_bytes = 4194304\nunlink_delay_s = 1.0\n"
OUT_OF_SPACE_PERCENT = 95
OWN, UNWRITTEN = "/v1/objects/own", "/v1/objects/unwritten"
ONLY_HERE = 20
ONLY_HERE_BYTES = 100_000
_NOWHERE = "http://127.0.0.1:1"
_WATCH_S = 0.02
_WAIT_S = 120.0


class Sizes(NamedTuple):
    """How much there is."""

    image_bytes: int
    data_bytes: int
    large_bytes: int
    """The largest object."""
    passes: int


class Outcome(NamedTuple):
    """What a run showed."""

    reads: int
    read_bytes: int
    seconds: float
    percent_max: float
    evicted: int
    kept_bytes: int
    """Of the remote bucket, at the end."""

    def describe(self, sizes: Sizes) -> str:
        """One line for the log."""
        return (
            f"cache space: {sizes.data_bytes / MIB:.0f} MiB of remote data through a disk of "
            f"{sizes.image_bytes / MIB:.0f} MiB, {sizes.passes} times: {self.reads} reads "
            f"({self.read_bytes / MIB:.0f} MiB) in {self.seconds:.0f} s without an error, disk at most "
            f"{self.percent_max:.2f} % full, {self.evicted} objects evicted, "
            f"{self.kept_bytes / MIB:.0f} MiB kept at the end"
        )


def names_and_sizes(sizes: Sizes) -> dict[str, int]:
    """What lies in the remote bucket: small and large objects, odd names among them."""
    dice, left, found = random.Random(5), sizes.data_bytes, dict[str, int]()
    while left > 0:
        number = len(found)
        name = f"{('train', 'ünter %2F', 'a//b', 'x' * 200)[number % 4]}/{number:06}"
        size = dice.choice((dice.randrange(1, 16_000), dice.randrange(20_000, sizes.large_bytes)))
        found[name] = size
        left -= size
    return found


def read_through(sizes: Sizes, folder: Path) -> Outcome:
    """Read everything through a small cache. Violation tells what went wrong."""
    objects = names_and_sizes(sizes)
    with running_node() as source, volumes.disk_folder() as disks:
        _fill_source(source, objects)
        image = volumes.new_image(disks / "disk", size_bytes=sizes.image_bytes)
        account = {
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "y",
            "AWS_REGION": "us-east-1",
            "S3_ENDPOINT": f"{source.url}/s3",
        }
        root = folder / "small"
        with (
            volumes.mounted(image, root) as disk,
            running_node([root / "data"], WORKERS, env=account, config=CONFIG) as node,
        ):
            _prepare(node)
            with _watched(disk.root) as percent_max:
                began = time.monotonic()
                read_bytes = 0
                for number in range(sizes.passes):
                    if number:
                        _wait_for_room(node)
                    read_bytes += _one_pass(node, objects, number)
                seconds = time.monotonic() - began
            _check_only_here(node)
            _check_shown(node)
            kept = sum(each["evictable"] for each in _space(node)["mountpaths"].values())
            return Outcome(
                len(objects) * sizes.passes, read_bytes, seconds, percent_max(), _evicted(node), kept
            )


def _fill_source(source: RunningNode, objects: dict[str, int]) -> None:
    client = NativeClient(source.host, source.port)
    assert client.create_bucket("data").status == 200
    for name, size in objects.items():
        assert client.put("data", name, payload(name, 0, size)).status == 200
    client.close()


def _prepare(node: RunningNode) -> None:
    """Make the remote bucket known, and put what exists only here."""
    client = NativeClient(node.host, node.port)
    assert client.create_bucket("own").status == 200
    # The first access makes a remote bucket known.
    assert client.request("HEAD", "/v1/buckets/data?provider=aws").status == 200
    assert (
        client.request("HEAD", "/v1/buckets/unwritten?provider=aws&dont_head_remote_bck=true").status == 200
    )
    away = {"extra": {"aws": {"endpoint": _NOWHERE}}, "write_policy": {"backend": "delayed"}}
    for bucket, properties in (("data", {}), ("unwritten", away)):
        value = {"lru": {"dont_evict_time": "0s"}, **properties}
        message = json.dumps({"action": "set-bprops", "value": value}).encode()
        answer = client.request("PATCH", f"/v1/buckets/{bucket}?provider=aws", body=message)
        assert answer.status == 200, answer
    for target, content in _only_here():
        assert client.request("PUT", target, body=content).status == 200
    client.close()


def _only_here() -> Iterator[tuple[str, bytes]]:
    for number in range(ONLY_HERE):
        content = payload(f"{number}", 1, ONLY_HERE_BYTES if number % 2 else 1_000)
        yield f"{OWN}/{number}?provider=ais", content
        yield f"{UNWRITTEN}/{number}?provider=aws", content


def _one_pass(node: RunningNode, objects: dict[str, int], number: int) -> int:
    """Read everything once in some order, by several clients; how many bytes that was."""
    names = list(objects)
    random.Random(number).shuffle(names)

    def read(names: Sequence[str]) -> int:
        client = NativeClient(node.host, node.port)
        count = 0
        for place, name in enumerate(names):
            target = quote(name, safe="/")
            url = f"/v1/objects/data/{target}?provider=aws" if place % 2 else f"/s3/data/{target}"
            answer = client.request("GET", url)
            if (answer.status, answer.body) != (200, payload(name, 0, objects[name])):
                raise Violation(f"GET {url}: {answer.status} {describe(answer.body)}")
            count += len(answer.body)
        client.close()
        return count

    with ThreadPoolExecutor(CLIENTS) as clients:
        return sum(clients.map(read, [names[start::CLIENTS] for start in range(CLIENTS)]))


def _wait_for_room(node: RunningNode) -> None:
    """Wait until the node has evicted something and is not above its high level any more."""
    deadline_s = time.monotonic() + _WAIT_S
    while True:
        told = _space(node)
        high = told["levels"]["highwm"]
        is_below = all(each["percent_used"] <= high for each in told["mountpaths"].values())
        if is_below and _evicted(node):
            return
        if time.monotonic() > deadline_s:
            raise Violation(f"no room was made: {told}")
        time.sleep(0.1)


@contextmanager
def _watched(root: Path) -> Iterator[Callable[[], float]]:
    """Look all the time how full the file system is; the highest percentage. Violation if too full."""
    ending, highest = threading.Event(), [0.0]

    def watch() -> None:
        while not ending.wait(_WATCH_S):
            status = os.statvfs(root)
            used = status.f_blocks - status.f_bfree
            highest[0] = max(highest[0], 100 * used / (used + status.f_bavail))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield lambda: highest[0]
    finally:
        ending.set()
        watching.join()
    if highest[0] > OUT_OF_SPACE_PERCENT:
        raise Violation(f"the disk was {highest[0]:.2f} percent full")


def _check_only_here(node: RunningNode) -> None:
    client = NativeClient(node.host, node.port)
    for target, content in _only_here():
        answer = client.request("GET", target)
        if (answer.status, answer.body) != (200, content):
            raise Violation(f"{target} is not what was stored: {answer.status} {describe(answer.body)}")
    client.close()


def _check_shown(node: RunningNode) -> None:
    """`ais` tells of the evictions."""
    [told] = ais(node.url, "show", "storage", "--json").json["targets"]
    space = told["space"]
    assert space["levels"] == {"lowwm": 75, "highwm": 90, "out_of_space": OUT_OF_SPACE_PERCENT}, space
    last = space["last_eviction"]
    assert last["objects"] > 0 or last["ended"] is None, space  # another one may just have begun
    shown = ais(node.url, "show", "storage").text
    assert f"job {last['job']}" in shown, shown
    assert ais(node.url, "show", "job", last["job"]).code == 0


def _space(node: RunningNode) -> Any:
    client = NativeClient(node.host, node.port)
    [told] = json.loads(client.request("GET", "/v1/cluster?what=space").body).values()
    client.close()
    return told


def _evicted(node: RunningNode) -> int:
    """How many objects the node has evicted so far, as its metrics tell."""
    client = NativeClient(node.host, node.port)
    text = client.request("GET", "/metrics").body.decode()
    client.close()
    [line] = [line for line in text.splitlines() if line.startswith("ais_target_lru_evict_count")]
    return int(line.rpartition(" ")[2])
