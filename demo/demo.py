"""`make demo`: the main job once through, on real data.

A real web server holds an image dataset. A node downloads it into a bucket, and we read it back with
three different clients and compare every byte. All of it happens below `.demo`, on ports of
127.0.0.1 that are free, and all processes are gone at the end.
"""

import hashlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import servers

FOLDER = Path(".demo").absolute()
BUCKET = "ais://images"
PREFIX = "train"
LARGE_BYTES = 256 * 1024 * 1024
MIB = 1024 * 1024
WITHOUT_NGINX = "--without-nginx" in sys.argv


def main() -> None:
    """Run the demo; exit status 0 means that every byte was right."""
    began = time.monotonic()
    # A supervisor that ends us politely also ends our servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(FOLDER, ignore_errors=True)
    web_root = FOLDER / "web"
    web_root.mkdir(parents=True)
    say("Aisle keeps data for training near your GPUs. Here is its main job, once through.")

    with step("Build an image dataset (scikit-learn's digits and photographs) as WebDataset shards"):
        from dataset import build_shards

        shards = build_shards(web_root)
        sums = {path.name: sha256(path.read_bytes()) for path in shards}
        total_bytes = sum(path.stat().st_size for path in shards)
        say(f"{len(shards)} shards, {total_bytes / MIB:.1f} MiB")

    with (
        servers.web_server(FOLDER, web_root, without_nginx=WITHOUT_NGINX) as (server, web_url),
        servers.node(FOLDER) as node_url,
    ):
        say(f"\n{server} serves the shards at {web_url}. The node listens at {node_url}.")
        environment = os.environ | {"AIS_ENDPOINT": node_url}
        download(environment, web_url, len(shards))
        with step("List what is there now"):
            ais(environment, "ls", BUCKET)
        check_with_sdk(node_url, sums)
        check_with_curl(node_url, sums)
        measure(environment)
    shutil.rmtree(FOLDER)
    say(f"\nAll bytes were right, in {time.monotonic() - began:.0f} s. Everything has been cleaned up.\n")
    say(NEXT)


NEXT = """\
Where to go next:
  make run                     a node that stays: http://127.0.0.1:8080, data in ./aisle-data
  .venv/bin/ais --help         its command line; manual: docs/cli.md
  README.md, ARCHITECTURE.md   what it is for, and how it works inside"""


def download(environment: dict[str, str], web_url: str, count: int) -> None:
    """Let the node fetch all shards with one template."""
    template = f"{web_url}/train-{{0000..{count - 1:04}}}.tar"
    with step("Download the dataset into a bucket: the node does it, we only watch"):
        ais(environment, "create", BUCKET)
        ais(environment, "download", template, f"{BUCKET}/{PREFIX}", "--progress")


def check_with_sdk(node_url: str, sums: dict[str, str]) -> None:
    """Read all shards with AIStore's own Python SDK and look at one sample."""
    with step("Read it back with the official `aistore` Python SDK, and compare SHA-256 sums"):
        from aistore import Client

        bucket = Client(node_url).bucket(BUCKET.removeprefix("ais://"))
        read_bytes, began, first = 0, time.monotonic(), b""
        for name, expected in sums.items():
            content = bucket.object(f"{PREFIX}/{name}").get_reader().read_all()
            same(f"{PREFIX}/{name}", expected, sha256(content))
            read_bytes += len(content)
            first = first or content
        say(f"{len(sums)} of {len(sums)} shards are right ({rate(read_bytes, began)}, sums included)")
        with tarfile.open(fileobj=io.BytesIO(first)) as tar:
            picture, label = tar.getmembers()[:2]
            text = (tar.extractfile(label) or io.BytesIO()).read().decode()
            say(f'the first sample: {picture.name}, {picture.size} bytes, label "{text}"')


def check_with_curl(node_url: str, sums: dict[str, str]) -> None:
    """Read one shard with curl."""
    name = next(iter(sums))
    url = f"{node_url}/v1/objects/{BUCKET.removeprefix('ais://')}/{PREFIX}/{name}"
    with step("Read one shard with curl"):
        if shutil.which("curl"):
            say(f"$ curl -s {url} | sha256sum")
            content = subprocess.run(["curl", "-s", "--fail", url], check=True, stdout=subprocess.PIPE).stdout
        else:
            say("(curl is not installed here: Python's urllib reads the same URL)")
            with urllib.request.urlopen(url) as answer:
                content = answer.read()
        say(f"{sha256(content)}  -")
        same(name, sums[name], sha256(content))
        say("which is what the web server has")


def measure(environment: dict[str, str]) -> None:
    """Write and read one large file through the node."""
    source, copy = (Path(os.path.relpath(FOLDER / name)) for name in ("large.bin", "copy.bin"))
    with step("How fast it is here: one large file, synced to the disk, and back"):
        source.write_bytes(os.urandom(MIB) * (LARGE_BYTES // MIB))
        began = time.monotonic()
        ais(environment, "put", str(source), f"{BUCKET}/large.bin")
        say(f"  {rate(LARGE_BYTES, began)}")
        began = time.monotonic()
        ais(environment, "get", f"{BUCKET}/large.bin", str(copy))
        say(f"  {rate(LARGE_BYTES, began)}")
        same("large.bin", sha256(source.read_bytes()), sha256(copy.read_bytes()))


def ais(environment: dict[str, str], *arguments: str) -> None:
    """Show and run an `ais` command; the demo ends if it fails."""
    say(f"$ ais {shlex.join(arguments)}")
    program = Path(sys.executable).with_name("ais")
    code = subprocess.run([program, *arguments], env=environment, check=False).returncode
    if code:
        raise SystemExit(f"ais ended with exit code {code}; the node's log is {FOLDER}/node.log")


@contextmanager
def step(title: str) -> Iterator[None]:
    """A heading, and the time that what is below it took."""
    say(f"\n== {title}")
    began = time.monotonic()
    yield
    say(f"   ({time.monotonic() - began:.1f} s)")


def same(name: str, expected: str, found: str) -> None:
    """End the demo unless two sums are the same."""
    if expected != found:
        raise SystemExit(f"{name} came back changed: {found}, not {expected}. This must not happen.")


def sha256(data: bytes) -> str:
    """The SHA-256 sum, hex."""
    return hashlib.sha256(data).hexdigest()


def rate(count: int, began: float) -> str:
    """Bytes per second since a time, in words."""
    return f"{count / MIB / max(time.monotonic() - began, 1e-6):,.0f} MiB/s"


def say(text: str) -> None:
    """Print at once: the commands that run in between print for themselves."""
    print(text, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; all processes have ended.")
