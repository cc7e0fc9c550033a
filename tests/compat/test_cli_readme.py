"""What the README shows works when it is typed in."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from support.ais import Run, ais
from support.moto import running_moto
from support.node import RunningNode, running_node

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
URL = "http://127.0.0.1:8080"


def block(language: str, *, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return next(text for text in blocks if containing in text)


@contextmanager
def cloud() -> Iterator[dict[str, str]]:
    """An account of S3 with a dataset: what its user has in the environment."""
    with running_moto() as url:
        account = boto3.Session("x", "y", region_name="us-east-1").client("s3", endpoint_url=url)
        account.create_bucket(Bucket="imagenet")
        for number in range(5):
            account.put_object(Bucket="imagenet", Key=f"train/{number:04}.jpg", Body=b"\xff\xd8" * 500)
        keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
        yield {"AWS_ENDPOINT_URL": url, **keys}


def typed(node: RunningNode, text: str, folder: Path) -> dict[str, Run]:
    """Each `ais` command of a block typed in, and what it showed."""
    runs: dict[str, Run] = {}
    for line in text.splitlines():
        words = shlex.split(line.removeprefix("$ ").removeprefix("time "), comments=True)
        assert words[0] == "ais", line
        run = runs[" ".join(words[1:])] = ais(node.url, *words[1:], cwd=folder)
        assert run.code == 0, (line, run.stderr)
    return runs


def test_a_cache_is_put_in_front_of_a_bucket_as_the_readme_says(tmp_path: Path) -> None:
    program = block("python", containing="Provider.AMAZON")
    with cloud() as account, running_node(env=account) as node:
        runs = typed(node, block("console", containing="epoch1/"), tmp_path)
        read = [
            sorted(path.name for path in (tmp_path / name).rglob("*.jpg")) for name in ("epoch1", "epoch2")
        ]
        assert read == [[f"{number:04}.jpg" for number in range(5)]] * 2
        assert runs["bucket summary s3://imagenet"].lines[1].split()[:3] == ["s3://imagenet", "5", "5"]
        trained = subprocess.run(
            [sys.executable, "-c", program.replace(URL, node.url)],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert trained.stdout == "5000\n5000\n"
        runs = typed(node, block("console", containing="ais prefetch"), tmp_path)
        assert "version-changed" not in runs["ls s3://imagenet --diff --limit 3"].text
        assert ais(node.url, "ls", "s3:").lines == ["AWS Buckets (0)"]


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
