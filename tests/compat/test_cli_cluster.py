"""The real `ais` asks a real node about itself: nodes, disks, counters, logs, configuration."""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ais import PROGRAM, ais, environment
from support.node import RunningNode, running_node


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node() as running:
        ais(running.url, "create", "b")
        for name in ("x", "y"):
            ais(running.url, "put", "-", f"b/{name}", stdin=b"x" * 1024)
            ais(running.url, "cat", f"b/{name}")
        yield running


def ids(node: RunningNode) -> tuple[str, str]:
    """The gateway's and the target's."""
    told = ais(node.url, "show", "cluster", "--json").json["nodes"]
    return told[0]["id"], told[1]["id"]


def test_nodes_are_shown_in_both_roles(node: RunningNode) -> None:
    told = ais(node.url, "show", "cluster", "--json").json
    gateway, target = told["nodes"]
    assert (gateway["role"], target["role"]) == ("proxy", "target")
    assert told["cluster"]["primary"] == gateway["id"]
    assert target["uptime_s"] > 0
    assert target["used"] > 0
    assert 0 < target["memory_percent"] < 100
    for name in (target["id"], f"t[{target['id']}]"):
        one = ais(node.url, "show", "cluster", name)
        assert [line.split()[0] for line in one.lines] == ["TARGET", f"t[{target['id']}]"]
    assert ais(node.url, "show", "cluster", f"p[{target['id']}]").code == 3
    assert ais(node.url, "show", "cluster", f"p[{gateway['id']}]").lines[1].split()[0] == (
        f"p[{gateway['id']}][P]"
    )


def test_counters_count(node: RunningNode) -> None:
    before = ais(node.url, "show", "performance", "--json").json["targets"][0]["counts"]
    ais(node.url, "cat", "b/x")
    after = ais(node.url, "show", "performance", "--json").json["targets"][0]["counts"]
    assert after["get.n"] == before["get.n"] + 1
    assert after["get.size"] == before["get.size"] + 1024
    latency = ais(node.url, "show", "performance", "latency").lines
    assert latency[0].startswith("latency ---")
    assert "GET(t)" in latency[1].split()


def test_reports_are_repeated_as_lines(node: RunningNode) -> None:
    run = ais(node.url, "show", "performance", "--refresh", "10ms", "--count", "3", "--json")
    first, *others = [json.loads(line)["targets"][0] for line in run.lines]
    assert first["seconds"] is None
    assert [each["seconds"] > 0 for each in others] == [True, True]
    assert ais(node.url, "show", "cluster", "--count", "2").code == 2


def test_disks_are_shown(node: RunningNode) -> None:
    target = ids(node)[1]
    told = ais(node.url, "show", "storage", "--json").json["targets"]
    assert [each["id"] for each in told] == [target]
    assert [each["path"] for each in told[0]["mountpaths"]] == [str(path) for path in node.data]
    lines = ais(node.url, "show", "storage", "mountpath").lines
    assert lines[0] == target
    assert str(node.data[0]) in lines[2]
    assert ais(node.url, "show", "storage", "disk", ids(node)[0]).code == 1


def test_a_log_is_shown_followed_and_saved(node: RunningNode, tmp_path: Path) -> None:
    target = ids(node)[1]
    lines = ais(node.url, "show", "log").lines
    assert lines
    assert ais(node.url, "log", "show", target).lines[: len(lines)] == lines
    grave = ais(node.url, "show", "log", "--severity", "error").lines
    assert len(grave) < len(lines)
    run = ais(node.url, "log", "get", target, cwd=tmp_path)
    assert run.lines == [f"Saved the log of t[{target}] as {target}.log"]
    assert (tmp_path / f"{target}.log").read_text().splitlines()[: len(lines)] == lines
    assert ais(node.url, "log", "get", target, cwd=tmp_path).code == 2
    assert ais(node.url, "log", "get", "cluster", "all", cwd=tmp_path).code == 0
    with tarfile.open(tmp_path / "all" / f"{target}.tar.gz") as archive:
        assert archive.getnames() == ["log"]
    assert ais(node.url, "log", "get", target, "-").lines[: len(lines)] == lines


def test_a_nodes_configuration_is_the_clusters_and_its_own(node: RunningNode) -> None:
    target = ids(node)[1]
    own = ais(node.url, "config", "node", target, "local", "--json").json
    assert set(own) <= {"fspaths", "confdir", "log_dir", "test_fspaths", "host_net"}
    assert own["fspaths"] == {"paths": str(node.data[0])}
    inherited = ais(node.url, "show", "config", target, "inherited", "checksum", "--json")
    assert inherited.json == ais(node.url, "config", "cluster", "checksum", "--json").json
    run = ais(node.url, "config", "node", f"t[{target}]", "log.level=4")
    assert (run.code, run.json) == (0, {"log.level": "4"})
    assert ais(node.url, "config", "cluster", "log.level", "--json").json == {"log": {"level": "4"}}
    run = ais(node.url, "config", "node", target, "log_dir=/tmp")
    assert (run.code, "own settings" in run.stderr) == (1, True)
    assert ais(node.url, "config", "node", "nobody").code == 3


def test_secrets_of_the_environment_are_not_shown(node: RunningNode) -> None:
    run = ais(node.url, "config", "cli", AIS_AUTHN_TOKEN="very-secret", AIS_CLIENT_CA=__file__)
    assert run.code == 0
    assert "very-secret" not in run.text
    assert __file__ in run.text


def test_bash_completes_buckets_behind_a_colon(node: RunningNode) -> None:
    script = """
        PATH="$1:$PATH"
        source <(ais completion bash)
        COMP_LINE="ais get ais://b/" COMP_POINT=16
        _ais_completion ais
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    for _ in range(10):
        ended = subprocess.run(
            ["bash", "-c", script, "bash", str(Path(PROGRAM).parent)],
            env=environment(node.url),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if ended.stdout.strip():
            # Nobody who types waits for a node that is slow: then there are no answers.
            break
    assert (ended.stdout.splitlines(), ended.stderr) == (["//b/x", "//b/y"], "")


def test_files_of_the_nodes_machine_become_objects(tmp_path: Path) -> None:
    root = tmp_path / "drop"
    (root / "set" / "deep").mkdir(parents=True)
    for name in ("one", "set/a", "set/deep/b"):
        (root / name).write_bytes(name.encode())
    with running_node(config=f'promote = ["{root}"]\n') as node:
        ais(node.url, "create", "b")
        run = ais(node.url, "object", "promote", str(root / "one"), "b/first", "--delete-src")
        assert run.lines == [f'promoted "{root}/one" => ais://b/first']
        assert not (root / "one").exists()
        run = ais(node.url, "object", "promote", str(root / "set"), "b/x/", "-r", "--wait", "--json")
        assert (run.json["kind"], run.json["objects"]) == ("promote", 2)
        names = ais(node.url, "ls", "b", "--name-only", "-H").lines
        assert names == ["first", "x/a", "x/deep/b"]
        assert ais(node.url, "cat", "b/x/deep/b").stdout == b"set/deep/b"
        refused = ais(node.url, "object", "promote", "/etc/hostname", "b")
        assert (refused.code, refused.stdout) == (1, b"")
        assert ais(node.url, "object", "promote", str(root / "set"), "none").code == 3
