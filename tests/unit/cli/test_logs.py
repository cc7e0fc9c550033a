"""A log that is followed."""

from aisle.cli.logs import Following
from aisle.client import Client
from aisle.client.cluster import Cluster, Node
from support.fake_node import FakeAnswer, FakeNode, error

NODE = Node("one", "target")
LINES = b"t1 INFO started\nt2 WARNING low\n  on disk\nt3 ERROR gone\n  Traceback\n"


def following(severity: str, *answers: FakeAnswer) -> tuple[Following, FakeNode]:
    node = FakeNode(answers=list(answers))
    return Following(Cluster(Client("http://fake", connections=node)), NODE, severity), node


def test_lines_come_once_and_unfinished_ones_when_they_end() -> None:
    log, node = following("info", FakeAnswer(200, LINES + b"t4 INFO ha"), FakeAnswer(200, b"t4 INFO half\n"))
    assert list(log.lines()) == LINES.decode().splitlines()
    assert list(log.lines()) == ["t4 INFO half"]
    assert f"offset={len(LINES)}" in node.calls[1].target
    assert node.calls[1].headers["Ais-Node-Id"] == "one"


def test_a_severity_selects_lines_with_what_belongs_to_them() -> None:
    log, _ = following("warning", FakeAnswer(200, LINES))
    assert list(log.lines()) == LINES.decode().splitlines()[1:]
    log, _ = following("error", FakeAnswer(200, LINES))
    assert list(log.lines()) == ["t3 ERROR gone", "  Traceback"]


def test_a_log_that_was_put_aside_is_begun_anew() -> None:
    behind = error(400, "log offset 73 is beyond the size 5: log likely rotated")
    log, _ = following("info", FakeAnswer(200, LINES), behind, FakeAnswer(200, b"t5 INFO new\n"))
    list(log.lines())
    assert list(log.lines()) == ["t5 INFO new"]
