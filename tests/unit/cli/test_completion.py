"""What shells are told while somebody types."""

import json

import pytest
from click.shell_completion import CompletionItem

from aisle.cli.completion import VARIABLE, ColonBash
from aisle.cli.main import cli
from aisle.cli.session import Session
from aisle.client import Client
from aisle.errors import NodeUnreachable
from support.cli import run_ais
from support.fake_node import FakeAnswer, FakeNode, FakeObject

NODE = FakeNode(
    {"images": {b"a/1": FakeObject(b""), b"a b": FakeObject(b""), b"c": FakeObject(b"")}, "idle": {}}
)


def completed(line: str, monkeypatch: pytest.MonkeyPatch, node: FakeNode = NODE) -> list[str]:
    """The answers for a command line with the cursor at its end, as bash gets them."""
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_BREAKS", " \t\n\"'><=;|&(:")
    session = Session("http://fake", lambda endpoint: Client(endpoint, connections=node))
    bash = ColonBash(cli, {"obj": session}, "ais", VARIABLE)
    return bash.complete().splitlines()


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("ais cre", ["plain,create"]),
        ("ais show clu", ["plain,cluster"]),
        ("ais ls --sum", ["plain,--summary"]),
        ("ais ls im", ["open,images/"]),
        ("ais ls a", ["open,ais://", "open,az://"]),
        ("ais ls s", ["open,s3://"]),
        ("ais ls ais://im", ["open,//images/"]),
        ("ais get images/", ["plain,images/a\\ b", "open,images/a/", "plain,images/c"]),
        ("ais get ais://images/a/", ["plain,//images/a/1"]),
        ("ais rmb i", ["plain,idle", "plain,images"]),
        ("ais rmb ais://i", ["plain,//idle", "plain,//images"]),
        ("ais bucket props set images checksum.t", ["open,checksum.type="]),
        ("ais config cluster space.l", ["plain,space.lowwm"]),
        ("ais bucket props set images checksum.type=x", ["plain,xxhash", "plain,xxhash2"]),
        ("ais bucket props set images lru.enabled=", ["plain,true", "plain,false"]),
        ("ais config cluster ec.data_slices=", []),
        ("ais put READ", ["file,READ"]),
        ("ais nonsense x", []),
    ],
)
def test_bash_is_told_what_may_follow(line: str, answers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed(line, monkeypatch) == answers


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("ais ls s3://im", ["open,//images/"]),
        ("ais ls ais://@fa", ["open,//@far/images/"]),
        ("ais ls ais://@far/i", ["open,//@far/images/"]),
        ("ais rmb ima", ["plain,images-here"]),
    ],
)
def test_remote_buckets_are_completed_with_their_schemes(
    line: str, answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets = [
        {"name": "images", "provider": "aws"},
        {"name": "images", "provider": "ais", "namespace": {"uuid": "far", "name": ""}},
        {"name": "images-here", "provider": "ais"},
    ]
    node = FakeNode(answers=[FakeAnswer(200, json.dumps(buckets).encode())])
    assert completed(line, monkeypatch, node) == answers


def test_the_properties_that_aistores_manual_completes_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    named = """
        backend_bck.name checksum.validate_cold_get lru.enabled ec.bundle_multiplier features
        backend_bck.provider checksum.validate_warm_get mirror.copies ec.data_slices write_policy.data
        versioning.enabled checksum.validate_obj_move mirror.burst_buffer ec.parity_slices write_policy.md
        versioning.validate_warm_get checksum.enable_read_range mirror.enabled ec.enabled
        versioning.synchronize lru.dont_evict_time ec.objsize_limit ec.disk_only
        checksum.type lru.capacity_upd_time ec.compression access
    """
    offered = completed("ais bucket props set images ", monkeypatch)
    assert {f"open,{name}=" for name in named.split()} <= set(offered)
    assert not {"open,bid=", "open,created=", "open,provider="} & set(offered)


def test_without_a_node_nothing_is_offered_and_nothing_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    away = FakeNode(answers=[NodeUnreachable("http://fake", "connection refused")])
    assert completed("ais ls im", monkeypatch, away) == []


def test_names_that_would_be_two_answers_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    node = FakeNode(
        {"b": {b"one\ntwo": FakeObject(b""), b"x\x1b[2J": FakeObject(b""), b"good": FakeObject(b"")}}
    )
    assert completed("ais get b/", monkeypatch, node) == ["plain,b/good"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_for_each_shell(shell: str) -> None:
    result = run_ais(FakeNode(), "completion", shell)
    assert result.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in result.stdout


def test_what_a_shell_would_act_upon_is_escaped() -> None:
    bash = ColonBash(cli, {}, "ais", VARIABLE)
    bash._kept = 0
    assert bash.format_completion(CompletionItem("b/$(x) 'y'")) == "plain,b/\\$\\(x\\)\\ \\'y\\'"
