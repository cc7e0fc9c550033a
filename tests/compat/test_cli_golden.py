"""Every command of AIStore's documentation that one node without clouds can run, and what it prints.

`golden/cli.txt` holds commands and their output as a session on a terminal would show them; the test
runs them in order against one real node. Ids, times and what depends on the machine stand there as
`<id>`, `<time>`, `<size>`; runs of spaces count as one. Lines behind `! ` went to standard error.

After a change that is meant, run the module as a script: it writes the file anew, to be read before it
is committed.
"""

import random
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.ais import Run, ais
from support.node import RunningNode, running_node

GOLDEN = Path(__file__).parent / "golden" / "cli.txt"
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
    (r"(?<=\[)[A-Za-z0-9_-]{6,}(?=\] (ais:|finished))", "<id>"),
    (r"(?<=t\[TARGET\])( +)\d+$", r"\1<count>"),
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

    def __init__(self, node: RunningNode, folder: Path) -> None:
        self._node = node
        self._folder = folder
        (folder / "README.md").write_bytes(b"hello world\n")
        (folder / "blob.bin").write_bytes(random.Random(5).randbytes(3_000_000))
        for name in ("a.jpg", "b.jpg"):
            (folder / "photos").mkdir(exist_ok=True)
            (folder / "photos" / name).write_bytes(name.encode() * 100)
        for number in range(3):
            (folder / f"shard-{number:02}.tar").write_bytes(bytes([number]) * 1000)
        told = ais(node.url, "show", "cluster", "--json").json
        ids = {each["role"]: each["id"] for each in told["nodes"]}
        self._names = {
            node.url: "ENDPOINT",
            ids["proxy"]: "GATEWAY",
            ids["target"]: "TARGET",
            told["cluster"]["id"]: "CLUSTER",
            str(node.data[0]): "DATA",
            str(folder): "FOLDER",
        }

    def run(self, command: str) -> list[str]:
        """Run a command as a shell would; what it showed."""
        words = shlex.split(command)
        assert words[0] == "ais", command
        run = ais(self._node.url, *words[1:], cwd=self._folder, XDG_CONFIG_HOME=str(self._folder / "config"))
        return shown(run, self._names)


@pytest.mark.timeout(300)
def test_every_command_prints_what_it_should(tmp_path: Path) -> None:
    with running_node() as node:
        stage = Stage(node, tmp_path)
        for step in steps(GOLDEN.read_text("utf-8")):
            assert stage.run(step.command) == step.output, step.command


def test_a_golden_file_is_read_as_it_is_written() -> None:
    text = "# Why\n$ ais ls\nNAME\n\n! note\n[exit 0]\n\n$ ais x\n[exit 2]\n"
    assert list(steps(text)) == [
        Step(["# Why"], "ais ls", ["NAME", "", "! note", "[exit 0]"]),
        Step([], "ais x", ["[exit 2]"]),
    ]


def rewritten(text: str) -> str:
    """The same commands with what they print now."""
    with tempfile.TemporaryDirectory() as folder, running_node() as node:
        stage = Stage(node, Path(folder))
        blocks = [
            "\n".join([*step.comment, f"$ {step.command}", *stage.run(step.command)]) for step in steps(text)
        ]
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(rewritten(GOLDEN.read_text("utf-8")), "utf-8")
    sys.exit(0)
