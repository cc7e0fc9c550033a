"""Operations of patient processes gather; nobody else waits."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from aisle.model.record import Generation
from aisle.storage import commit_server
from aisle.storage.commit import Committer
from aisle.storage.commit_connection import Connection
from aisle.storage.commit_server import CommitServer
from aisle.storage.disk import Disk
from aisle.storage.messages import ANSWERS, FRAME, Answer, Hello, Touch, decode_answers, encode_message
from aisle.storage.operations import Request
from support.processes import wait_until

LONG_S = 30.0
SHORT_S = 0.2


class CommitterDouble:
    """Answers everything with None and keeps the sizes of the groups."""

    def __init__(self) -> None:
        self.disks: Sequence[Disk] = ()
        self.groups: list[int] = []
        self.swept: list[bytes] = []

    def execute(
        self, requests: Sequence[Request], undelivered: Sequence[tuple[Generation, Answer]] = ()
    ) -> list[Answer]:
        """Execute nothing."""
        del undelivered
        self.groups.append(len(requests))
        return [None] * len(requests)

    def remember(self, answers: object) -> None:
        """Forget what was not delivered."""


class Peer:
    """A process connected with the committer."""

    def __init__(self, path: Path, incarnation: bytes, *, patient: bool) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(LONG_S / 2)
        self._socket.connect(str(path))
        self._send(encode_message(Hello(incarnation, [], 0, patient)))
        assert self.answers() == 1

    def touch(self) -> None:
        """Send an operation."""
        self._send(encode_message(Touch(os.urandom(16), 0, 0, [])))

    def _send(self, message: bytes) -> None:
        self._socket.sendall(FRAME.pack(len(message), len(message), 0) + message)

    def answers(self) -> int:
        """Wait for a frame of answers; how many it has."""
        (length,) = ANSWERS.unpack(self._socket.recv(ANSWERS.size, socket.MSG_WAITALL))
        return len(decode_answers(self._socket.recv(length, socket.MSG_WAITALL)))

    def is_silent(self) -> bool:
        """Whether no answer comes within a moment."""
        self._socket.settimeout(SHORT_S)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(LONG_S / 2)
        return False

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[CommitterDouble, Path]]:
    """A server whose pauses are so long that a test would notice one that nothing ends."""
    monkeypatch.setattr(commit_server, "PAUSE_S", LONG_S)
    path = tmp_path / "committer"
    committer = CommitterDouble()
    stop, lifeline = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = CommitServer(
            listener,
            cast("Committer", committer),
            group_size_max=100,
            chores=(),
            sweep=committer.swept.append,
        )
        thread = threading.Thread(target=server.run, args=(stop,))
        thread.start()
        yield committer, path
        os.close(lifeline)
        thread.join(LONG_S / 2)
        assert not thread.is_alive(), "a pause held up the end"
        os.close(stop)


def test_patient_operations_wait_for_others_and_those_for_nothing(
    served: tuple[CommitterDouble, Path],
) -> None:
    committer, path = served
    patient, other = Peer(path, b"0001", patient=True), Peer(path, b"0002", patient=False)
    other.touch()
    assert other.answers() == 1
    for _ in range(3):
        patient.touch()
        assert patient.is_silent()
    assert committer.groups == [1]
    other.touch()
    assert (other.answers(), patient.answers()) == (1, 3)
    assert committer.groups == [1, 4]
    patient.close()
    other.close()


def test_newcomers_and_the_end_of_the_node_end_a_pause(served: tuple[CommitterDouble, Path]) -> None:
    committer, path = served
    patient = Peer(path, b"0001", patient=True)
    patient.touch()
    assert patient.is_silent()
    newcomer = Peer(path, b"0002", patient=False)  # whoever connects is not kept waiting
    assert patient.answers() == 1
    assert committer.groups == [1]
    patient.touch()  # and left waiting: the fixture stops the server
    newcomer.close()
    patient.close()


def test_who_died_before_it_was_greeted_is_swept_after(
    served: tuple[CommitterDouble, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job worker killed just after its start, on a busy machine: its drafts stayed until the next start."""
    committer, path = served
    gone = subprocess.Popen(["true"])
    gone.wait()
    monkeypatch.setattr(Connection, "peer_pid", lambda _: gone.pid)
    peer = Peer(path, b"0003", patient=False)
    peer.touch()
    assert peer.answers() == 1
    assert committer.swept == []  # not before all that it sent was executed
    peer.close()
    assert wait_until(lambda: committer.swept == [b"0003"], timeout_s=LONG_S)
