"""What the local engine keeps when processes die: the committer under load, and those that write."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from aisle.errors import Unavailable
from aisle.model.names import ObjectName
from aisle.model.record import ABSENT, COUNTED, Attributes, Condition, Record
from aisle.storage import commit_client
from aisle.storage import keys as index_keys
from aisle.storage.engine import BucketCounts
from aisle.storage.local import LocalEngine
from aisle.storage.messages import FRAME, Hello, Remove, encode_message
from contract.storage_contract import keys, put, read, until_done, written
from support.folders import files_below
from support.processes import wait_until
from support.storage import CommitterProcess, running_committer

ROUNDS = 60 if os.environ.get("AISLE_SOAK") == "1" else 24
KILLS_MIN = 3
SIZES = (10, 3_000, 10_240, 40_000)


def drafts(paths: list[Path]) -> list[Path]:
    """Files in the drafts folders."""
    return list(files_below(*(path / "drafts" for path in paths)))


def payload_files(paths: list[Path]) -> list[Path]:
    """Payload files under their final names."""
    return list(files_below(*(path / "data" for path in paths)))


class Killing:
    """Kills a committer and starts it again until told to stop."""

    def __init__(self, committer: CommitterProcess) -> None:
        self._committer = committer
        self._stop = asyncio.Event()
        self._count = 0
        self._task = asyncio.create_task(self._kill())

    @property
    def is_enough(self) -> bool:
        """Whether it was killed often enough: on a fast machine much can be done between two kills."""
        return self._count >= KILLS_MIN

    async def end(self) -> None:
        """Stop, with a committer that runs."""
        self._stop.set()
        await self._task

    async def _kill(self) -> None:
        began_s = time.monotonic()
        while not self._stop.is_set():
            await asyncio.to_thread(self._committer.wait_ready)
            # Where starts take long the rest does, too: else hardly anything would ever be done in between.
            start_s = time.monotonic() - began_s
            await asyncio.sleep(random.uniform(0.0, max(0.15, start_s / 3)))
            await asyncio.to_thread(self._committer.kill)
            began_s = time.monotonic()
            self._committer.start()
            self._count += 1


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for committers for longer: here several may die in a row, each of which took long to start."""
    monkeypatch.setattr(commit_client, "RECONNECT_MAX_S", 90.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("mountpaths", [1, 3])
def test_operations_happen_once_while_committers_die(tmp_path: Path, mountpaths: int) -> None:
    paths = [tmp_path / str(number) for number in range(mountpaths)]

    async def history(engine: LocalEngine, writer: int, killing: Killing) -> tuple[bytes, bytes | None]:
        """One name's life; each step succeeds only if all steps before it happened, once."""
        name = ObjectName(7, b"w%03d" % writer)
        content = b""
        for round_ in count():
            is_last = round_ >= ROUNDS and killing.is_enough
            content = os.urandom(SIZES[(writer + round_) % len(SIZES)])
            first = await put(engine, name, content, condition=ABSENT)
            amended = await engine.amend(
                name, Attributes(content_type="a/b"), condition=Condition(generation=first.generation)
            )
            assert amended.sequence > first.sequence
            content = os.urandom(SIZES[round_ % len(SIZES)])
            await put(engine, name, content, condition=Condition(generation=first.generation))
            if not is_last or writer % 2:
                assert await engine.remove(name) is True
                assert await engine.remove(name) is False
            if is_last:
                break
        return name.key, None if writer % 2 else content

    async def main() -> None:
        engine = committer.engine()
        await engine.open_bucket(7)
        killing = Killing(committer)
        ends = dict(await asyncio.gather(*(history(engine, writer, killing) for writer in range(24))))
        await killing.end()
        left = {key: content for key, content in ends.items() if content is not None}
        assert keys(engine, 7) == sorted(left)
        for key, content in left.items():
            assert read(engine, ObjectName(7, key)) == content
        assert engine.counts(7) == BucketCounts(len(left), sum(map(len, left.values())))
        await engine.close()

    with running_committer(paths) as committer:
        asyncio.run(main())
    with running_committer(paths):
        assert drafts(paths) == []


@pytest.mark.usefixtures("patient")
def test_versions_are_counted_once_while_committers_die(tmp_path: Path) -> None:
    shared = ObjectName(7, b"shared")

    async def writer(engine: LocalEngine, number: int, killing: Killing) -> list[int]:
        """Versions of writes to the shared name; those to a name of its own must count by one."""
        own, counted, seen = ObjectName(7, b"w%d" % number), Attributes(version=COUNTED), []
        for round_ in count():
            if round_ >= 4 * ROUNDS and killing.is_enough:
                break
            record = await put(engine, own, os.urandom(SIZES[round_ % len(SIZES)]), counted)
            assert record.attributes.version == str(round_ + 1)
            seen.append(int((await put(engine, shared, os.urandom(10), counted)).attributes.version))
        return seen

    async def main() -> None:
        engine = committer.engine()
        await engine.open_bucket(7)
        killing = Killing(committer)
        seen = await asyncio.gather(*(writer(engine, number, killing) for number in range(8)))
        await killing.end()
        versions = sorted(version for each in seen for version in each)
        assert versions == [*range(1, len(versions) + 1)]
        held = engine.look_up(shared)
        assert held is not None
        assert held.record.attributes.version == str(len(versions))
        await engine.close()

    with running_committer([tmp_path / "data"]) as committer:
        asyncio.run(main())


def test_without_a_committer_changes_fail_in_time_and_reads_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        engine = committer.engine()
        await engine.open_bucket(7)
        name = ObjectName(7, b"x")
        await put(engine, name, b"1")
        committer.kill()
        monkeypatch.setattr(commit_client, "RECONNECT_MAX_S", 0.3)
        started = time.monotonic()
        for size in SIZES:
            with pytest.raises(Unavailable):
                await put(engine, name, b"2" * size)
        assert time.monotonic() - started < 30  # with the usual patience it would be 40
        assert read(engine, name) == b"1"
        monkeypatch.undo()
        committer.start()
        await put(engine, name, b"3")
        assert read(engine, name) == b"3"
        await engine.close()

    with running_committer([tmp_path / "data"]) as committer:
        asyncio.run(main())


OPENED = """
import asyncio, json, os, signal, sys, time
from pathlib import Path
from aisle.config import StorageConfig
from aisle.model.names import ObjectName
from aisle.model.record import Attributes
from aisle.storage.local import open_local_engine

async def main():
    given = json.loads(sys.argv[1])
    engine = open_local_engine(
        [Path(path) for path in given["paths"]], committer_path=given["address"],
        incarnation=bytes.fromhex(given["incarnation"]), config=StorageConfig(),
    )
"""

WRITER = (
    OPENED
    + """
    await engine.open_bucket(7)
    unfinished = []
    for number in range(20):
        name = ObjectName(7, b"k%d" % number)
        draft = engine.draft(name, size=3_000_000)
        for _ in range(3):
            if (step := draft.write(os.urandom(1_000_000))) is not None:
                await step
        if number % 2:
            await draft.finish()
            await engine.commit(name, draft, Attributes())
        else:
            unfinished.append(draft)
    print("written", flush=True)
    await asyncio.sleep(1_000)

asyncio.run(main())
"""
)


HASTY = (
    OPENED
    + """
    await asyncio.sleep(0.3)
    draft = engine.draft(ObjectName(7, b"x"), size=30_000_000)
    for _ in range(8):
        draft.write(bytes(3_000_000))
    end_s = time.monotonic() + 20
    while time.monotonic() < end_s and not any(Path(given["paths"][0], "drafts").glob("*/*")):
        time.sleep(0.01)  # the event loop gets no turn
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
)


def test_a_process_that_dies_with_its_first_draft_is_swept_after(tmp_path: Path) -> None:
    with running_committer([tmp_path]) as committer:
        committer.wait_ready()
        given = {
            "paths": [str(tmp_path)],
            "address": committer.address,
            "incarnation": committer.incarnations.new().hex(),
        }
        hasty = subprocess.run([sys.executable, "-c", HASTY, json.dumps(given)], check=False, timeout=60)
        assert hasty.returncode == -signal.SIGKILL
        assert wait_until(lambda: not drafts([tmp_path]), timeout_s=10, poll_s=0.02)


def start_writer(committer: CommitterProcess) -> subprocess.Popen[bytes]:
    """A process that has committed ten objects of 3 MB and writes ten others."""
    given = {
        "paths": [str(path) for path in committer.paths],
        "address": committer.address,
        "incarnation": committer.incarnations.new().hex(),
    }
    writer = subprocess.Popen([sys.executable, "-c", WRITER, json.dumps(given)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"written\n"
    # The unfinished ones are written beside.
    assert wait_until(lambda: len(drafts(committer.paths)) >= 10, timeout_s=60)
    return writer


def end(writer: subprocess.Popen[bytes]) -> None:
    """Kill a writer."""
    assert writer.stdout is not None
    writer.kill()
    writer.wait()
    writer.stdout.close()


def test_a_dead_writer_leaves_nothing_but_what_it_committed(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    with running_committer(paths) as committer:
        writer = start_writer(committer)
        assert len(drafts(paths)) >= 10
        end(writer)
        assert wait_until(lambda: not drafts(paths), timeout_s=60, poll_s=0.02)
        assert len(payload_files(paths)) == 10

        async def look() -> None:
            engine = committer.engine()
            assert len(keys(engine, 7)) == 10
            await engine.close()

        asyncio.run(look())


def test_what_died_with_its_committer_is_swept_at_the_next_start(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    with running_committer(paths) as committer:
        writer = start_writer(committer)
        committer.kill()
        end(writer)
    assert len(drafts(paths)) >= 10
    with running_committer(paths):
        assert drafts(paths) == []
        assert len(payload_files(paths)) == 10


def test_a_payload_file_that_was_never_committed_is_swept(tmp_path: Path) -> None:
    """The process dies between giving the file its final name and telling the committer."""
    paths = [tmp_path / "a"]

    async def main() -> None:
        engine = committer.engine()
        await engine.open_bucket(7)
        name = ObjectName(7, b"x")
        draft = await written(engine, name, b"1" * 50_000)
        assert not isinstance(draft, Record)
        committer.kill()
        commit = engine.commit(name, draft, Attributes())
        while not payload_files(paths):  # noqa: ASYNC110 - nothing tells when a file appears
            await asyncio.sleep(0.005)
        commit.cancel()
        abandoned = engine.draft(name, size=2_000_000)
        await until_done(abandoned.write(b"2" * 2_000_000))
        await until_done(abandoned.finish())
        committer.start()
        engine._client._pending.clear()
        await engine.close()

    with running_committer(paths) as committer:
        asyncio.run(main())
    assert len(drafts(paths)) == 2
    with running_committer(paths):
        assert drafts(paths) == []
        assert payload_files(paths) == []


def test_what_a_refused_worker_has_sent_is_not_executed(tmp_path: Path) -> None:
    """It was meant for other mountpaths than the committer has."""

    async def main() -> None:
        engine, name = committer.engine(), ObjectName(7, b"a")
        await engine.open_bucket(7)
        await put(engine, name, b"x")
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(committer.address)
            sent, hello = b"", Hello(b"\xff" * 4, ["another"], 0, patient=False)
            remove = Remove(bytes(16), 0, index_keys.pack(name), 0, None)
            for encoded in map(encode_message, (hello, remove)):
                sent += FRAME.pack(len(encoded), len(encoded), 0) + encoded
            stranger.sendall(sent)
            assert b"other mountpaths" in await asyncio.to_thread(stranger.recv, 1000)
        await put(engine, ObjectName(7, b"b"), b"x")  # the committer has seen to the other by now
        assert read(engine, name) == b"x"
        await engine.close()

    with running_committer([tmp_path / "data"]) as committer:
        asyncio.run(main())
