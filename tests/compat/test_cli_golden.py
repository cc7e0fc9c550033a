"""Every command of AIStore's documentation that can be run here, and what it prints.

The files in `golden` hold commands and their output as sessions on a terminal would show them: `cli.txt` is
one node without clouds, `backends.txt` one with an account of S3 and another cluster. The test runs them in
order against real nodes. Ids, times and what depends on the machine stand there as `<id>`, `<time>`,
`<size>`; runs of spaces count as one. Lines behind `! ` went to standard error.

After a change that is meant, run the module as a script: it writes the files anew, to be read before they
are committed.
"""

import random
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest

from support.ais import Run, ais
from support.moto import running_moto
from support.node import RunningNode, running_node

GOLDEN = Path(__file__).parent / "golden"
_MASKS = [
    (r"^(ais +)\d+\.\d+\S*$", r"\1<version>"),
    # Which disk it is, if any, and how busy.
    (r"^TARGET +(DISK.*UTIL\(%\)|MOUNTPATH) +CAP", "TARGET <disk> CAP"),
    (r"^(t\[TARGET\]) .* (\d+% +\d\S+iB)$", r"\1 <disk> \2"),
    (r"^(\t\tDATA)( .*)?$", r"\1 <file system>"),
    (r"^(( +Capacity:|[pt]\[(GATEWAY|TARGET)\]).*?)\b\d+(\.\d+)?[KM]iB", r"\1<size>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\d\d [A-Z][a-z]{2} \d\d \d\d:\d\d UTC", "<time>"),
    (r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", "<time>"),
    (r"\d\d:\d\d:\d\d\.\d{6}", "<time>"),
    (r"\b\d+(\.\d+)?([GTP]iB)", "<size>"),
    (r"(?<![\d.])\d+(\.\d+)?%(?= |$|\)|,)", "<percent>"),
    (r"\b(\d+[dhm])+(\d+[hms])?\b(?= +online)|\b\d+(\.\d+)?m?s\b(?= +online)", "<span>"),
    (r"\b\d+(\.\d+)?m?s(?= +yes$)", "<span>"),
    (r"(?<=\[)[A-Za-z0-9_-]{6,}(?=\] (ais:|finished))", "<id>"),
    (r"(?<=-objects\[)[A-Za-z0-9_-]{6,}(?=\]:)", "<id>"),
    (r"(?<= in )\d+\.\d+ s, \d+(\.\d+)?(B|KiB|MiB)/s", "<span>, <speed>"),
    (r"(?<=t\[TARGET\])( +)\d+$", r"\1<count>"),
    (r"\bdnl-[A-Za-z0-9_-]{6,}", "<id>"),
    (r"(?<=show job )[A-Za-z0-9_-]{6,}", "<id>"),
    (r"(?<=job )[A-Za-z0-9_-]{9,}", "<id>"),
]


class Step(NamedTuple):
    """One command and what it prints; `comment` stands before it."""

    comment: list[str]
    command: str
    output: list[str]


def steps(text: str) -> Iterator[Step]:
    """The steps of a golden file."""
    comment: list[str] = []
    for block in re.split(r"\n{2,}(?=[$#])", text.strip()):
        lines = block.splitlines()
        while lines and lines[0].startswith("#"):
            comment.append(lines.pop(0))
        if lines:
            yield Step(comment, lines[0].removeprefix("$ "), lines[1:])
            comment = []


def shown(run: Run, names: dict[str, str]) -> list[str]:
    """A run's output as the golden file has it."""
    told = run.stdout.decode() + "".join(f"! {line}\n" for line in run.stderr.splitlines())
    for real, name in sorted(names.items(), key=lambda item: -len(item[0])):
        told = told.replace(real, name)
    for pattern, mask in _MASKS:
        told = re.sub(pattern, mask, told, flags=re.MULTILINE)
    lines = [re.sub(r"[ \t]+", " ", line).rstrip() for line in told.splitlines()]
    return [*lines, f"[exit {run.code}]"]


class Stage:
    """A node with an empty store, and a folder with files."""

    def __init__(self, node: RunningNode, folder: Path, *, other: RunningNode | None = None) -> None:
        self._node = node
        self._folder = folder
        self._names: dict[str, str] = {str(folder): "FOLDER"}
        self._add(node, "")
        if other is not None:
            self._add(other, "OTHER-")
        (folder / "README.md").write_bytes(b"hello world\n")
        (folder / "blob.bin").write_bytes(random.Random(5).randbytes(3_000_000))
        for name in ("a.jpg", "b.jpg"):
            (folder / "photos").mkdir(exist_ok=True)
            (folder / "photos" / name).write_bytes(name.encode() * 100)
        for number in range(3):
            (folder / f"shard-{number:02}.tar").write_bytes(bytes([number]) * 1000)

    def _add(self, node: RunningNode, prefix: str) -> None:
        told = ais(node.url, "show", "cluster", "--json").json
        ids = {each["role"]: each["id"] for each in told["nodes"]}
        self._names |= {
            node.url: f"{prefix}ENDPOINT",
            ids["proxy"]: f"{prefix}GATEWAY",
            ids["target"]: f"{prefix}TARGET",
            told["cluster"]["id"]: f"{prefix}CLUSTER",
            str(node.data[0]): f"{prefix}DATA",
        }

    def run(self, command: str) -> list[str]:
        """Run a command as a shell would, with the names of the file for what differs; what it showed."""
        for real, name in self._names.items():
            if name.startswith("OTHER-"):
                command = command.replace(name, real)
        endpoint, words = self._node.url, shlex.split(command)
        if words[0].startswith("AIS_ENDPOINT="):
            endpoint = words.pop(0).partition("=")[2]
        assert words[0] == "ais", command
        run = ais(endpoint, *words[1:], cwd=self._folder, XDG_CONFIG_HOME=str(self._folder / "config"))
        return shown(run, self._names)


@contextmanager
def one_node() -> Iterator[Stage]:
    """Nothing but a node."""
    with tempfile.TemporaryDirectory() as folder, running_node() as node:
        yield Stage(node, Path(folder))


@contextmanager
def backends() -> Iterator[Stage]:
    """A node with an account of S3, and another cluster that has the same account."""
    with tempfile.TemporaryDirectory() as folder, running_moto() as cloud:
        session = boto3.Session("x", "y", region_name="us-east-1")
        account = session.client("s3", endpoint_url=cloud)
        for bucket in ("clouddata", "data", "www"):
            account.create_bucket(Bucket=bucket)
        for number in range(1, 6):
            account.put_object(
                Bucket="clouddata", Key=f"train/obj-{number}.txt", Body=b"payload-%02d" % number
            )
        for name in (
            "aaa/bbb/ccc",
            "aaa/bbb/eee",
            "aaa/ddd",
            "aaabbb",
            "aaaccc",
            "bbb/111",
            "ttt/hhh",
            "ttt/qqq",
        ):
            account.put_object(Bucket="data", Key=name, Body=name.encode().ljust(16_650))
        env = {
            "AWS_ENDPOINT_URL": cloud,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "y",
            "AWS_REGION": "us-east-1",
            "HOME": folder,
        }
        with running_node(env=env) as node, running_node(env=env) as other:
            yield Stage(node, Path(folder), other=other)


SESSIONS = {"cli.txt": one_node, "backends.txt": backends}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("file", SESSIONS)
def test_every_command_prints_what_it_should(file: str) -> None:
    with SESSIONS[file]() as stage:
        for step in steps((GOLDEN / file).read_text("utf-8")):
            assert stage.run(step.command) == step.output, step.command


def test_a_golden_file_is_read_as_it_is_written() -> None:
    text = "# Why\n$ ais ls\nNAME\n\n! note\n[exit 0]\n\n$ ais x\n[exit 2]\n"
    assert list(steps(text)) == [
        Step(["# Why"], "ais ls", ["NAME", "", "! note", "[exit 0]"]),
        Step([], "ais x", ["[exit 2]"]),
    ]


def rewritten(file: str, text: str) -> str:
    """The same commands with what they print now."""
    with SESSIONS[file]() as stage:
        blocks = [
            "\n".join([*step.comment, f"$ {step.command}", *stage.run(step.command)]) for step in steps(text)
        ]
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    for file in sys.argv[1:] or SESSIONS:
        (GOLDEN / file).write_text(rewritten(file, (GOLDEN / file).read_text("utf-8")), "utf-8")
    sys.exit(0)
