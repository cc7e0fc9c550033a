"""What the README shows works when it is typed in."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from support.ais import ais
from support.node import running_node

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
URL = "http://127.0.0.1:8080"


def block(language: str, *, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return next(text for text in blocks if containing in text)


@pytest.mark.program("curl")
def test_the_examples_of_the_readme_work(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8" * 1000)
    with running_node() as node:
        for line in block("console", containing="ais create").splitlines():
            words = shlex.split(line.removeprefix("$ "))
            if words[1] == "download":  # its host is made up; test_cli_download.py downloads
                continue
            if words[1] == "get":
                assert ais(node.url, "put", "photo.jpg", words[2], cwd=tmp_path).code == 0
            assert ais(node.url, *words[1:], cwd=tmp_path).code == 0, line
        for line in block("console", containing="curl -T").splitlines():
            command = shlex.split(line.removeprefix("$ ").replace(URL, node.url))
            subprocess.run([*command, "--fail", "--silent", "--show-error"], check=True, cwd=tmp_path)
        assert (tmp_path / "head.bin").read_bytes() == (tmp_path / "photo.jpg").read_bytes()[:1024]
        program = block("python", containing="aistore").replace(URL, node.url)
        told = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
        )
    assert told.stdout.splitlines()[0] == "b'hello'"
    assert "hello.txt" in told.stdout.splitlines()[1]
