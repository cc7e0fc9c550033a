"""Running real S3 clients against a node: unpatched, and configured only as their manuals say.

    clients = Clients(Endpoint(node.host, node.port), folder)
    clients.aws("s3", "cp", "file", "s3://bucket/file")
    clients.boto3().list_buckets()

Each set of clients has a home folder of its own, so that nothing of the user's configuration counts.
Programs come from the development environment (aws, s3cmd, s5cmd) or the system (rclone).
"""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

TIMEOUT_S = 60.0
# Without credentials a node accepts any; clients want some.
ANY_ACCESS_KEY, ANY_SECRET_KEY = "anyaccesskey", "anysecretkey"


class Run(NamedTuple):
    """How a client ended and what it printed."""

    command: Sequence[str]
    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """Standard output by lines."""
        return self.out.splitlines()

    def __str__(self) -> str:
        words = " ".join(self.command)
        return f"{words}\nended with {self.code}\n{self.out[-3000:]}\n{self.error[-3000:]}"


class Endpoint(NamedTuple):
    """Where a node listens, and with which keys clients sign."""

    host: str
    port: int
    access_key: str = ANY_ACCESS_KEY
    secret_key: str = ANY_SECRET_KEY

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The S3 dialect's URL."""
        return f"http://{self.address}/s3"


@functools.cache
def find_program(name: str) -> str:
    """A program's path, from the development environment first; empty if there is none."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name) or ""


def rclones() -> list[str]:
    """Every rclone on this machine: the system's, which may be old, and one built by `go install`."""
    candidates = [shutil.which("rclone"), str(Path.home() / "go" / "bin" / "rclone")]
    return [path for path in dict.fromkeys(candidates) if path and Path(path).exists()]


class Clients:
    """S3 clients of one user of one node, with a home folder below `folder`."""

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        self.endpoint = endpoint
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)

    def environment(self) -> dict[str, str]:
        """What the programs see: this home, these keys, nothing of the user's."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "RCLONE_", "S3_", "AISLE_", "AIS_"))
        }
        return kept | {
            "HOME": str(self.home),
            "AWS_ACCESS_KEY_ID": self.endpoint.access_key,
            "AWS_SECRET_ACCESS_KEY": self.endpoint.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            "LC_ALL": "C.UTF-8",
        }

    def run(
        self,
        command: Sequence[str],
        *,
        check: bool = True,
        more: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Run:
        """Run a program in `folder`; with `check` it must succeed."""
        ended = subprocess.run(
            command,
            env=self.environment() | dict(more or {}),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
        )
        run = Run(
            command,
            ended.returncode,
            ended.stdout.decode(errors="replace"),
            ended.stderr.decode(errors="replace"),
        )
        assert not check or run.code == 0, str(run)
        return run

    def aws(self, *arguments: str, check: bool = True) -> Run:
        """Amazon's command line client, told the endpoint in its own way."""
        command = [program("aws"), "--endpoint-url", self.endpoint.url, *arguments]
        return self.run(command, check=check)

    def s3cmd(self, *arguments: str, check: bool = True) -> Run:
        """s3cmd, told the endpoint by flags as AIStore's documents show."""
        return self.s3cmd_bare(
            *arguments,
            "--no-ssl",
            f"--host={self.endpoint.address}/s3",
            f"--host-bucket={self.endpoint.address}/s3",
            check=check,
        )

    def s3cmd_bare(self, *arguments: str, check: bool = True) -> Run:
        """s3cmd with exactly these arguments; where to go is in `.s3cfg` or among them."""
        return self.run([program("s3cmd"), *arguments], check=check)

    def write_s3cfg(self, **settings: str) -> None:
        """A `.s3cfg` with the keys and further settings."""
        told = {"access_key": self.endpoint.access_key, "secret_key": self.endpoint.secret_key, **settings}
        lines = [f"{name} = {value}" for name, value in told.items()]
        (self.home / ".s3cfg").write_text("\n".join(["[default]", *lines, ""]))

    def s5cmd(self, *arguments: str, check: bool = True) -> Run:
        """s5cmd, told the endpoint in its own way."""
        return self.run([program("s5cmd"), "--endpoint-url", self.endpoint.url, *arguments], check=check)

    def rclone(self, path: str, *arguments: str, check: bool = True) -> Run:
        """The rclone at `path`, with a remote `node:` of the kind for unnamed S3 servers."""
        remote = {
            "RCLONE_CONFIG": str(self.home / "rclone.conf"),
            "RCLONE_CONFIG_NODE_TYPE": "s3",
            "RCLONE_CONFIG_NODE_PROVIDER": "Other",
            "RCLONE_CONFIG_NODE_ENDPOINT": self.endpoint.url,
            "RCLONE_CONFIG_NODE_ACCESS_KEY_ID": self.endpoint.access_key,
            "RCLONE_CONFIG_NODE_SECRET_ACCESS_KEY": self.endpoint.secret_key,
        }
        return self.run([path, *arguments], check=check, more=remote)

    def boto3(self) -> Any:
        """A default boto3 client of S3."""
        import boto3

        session = boto3.session.Session(
            aws_access_key_id=self.endpoint.access_key,
            aws_secret_access_key=self.endpoint.secret_key,
            region_name="us-east-1",
        )
        return session.client("s3", endpoint_url=self.endpoint.url)


def program(name: str) -> str:
    """A program's path; the test is skipped where there is none."""
    found = find_program(name)
    if not found:
        pytest.skip(f"needs the program {name}")
    return found
