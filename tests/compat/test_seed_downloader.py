"""The downloader's documentation, typed in: each request and command, and what it says it prints.

Hosts, sizes and ids are our own, and so is the Google whose bucket is downloaded.
"""

import json
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.ais import Run, ais
from support.google_service import running_google_service
from support.listings import Site as HeldSite
from support.listings import running_site
from support.nginx import running_nginx
from support.node import RunningNode, running_node

pytestmark = [pytest.mark.program("nginx"), pytest.mark.program("curl")]

ISO = "18.04.1/ubuntu-18.04.1-desktop-amd64.iso"
MNIST = ("train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "train-images-idx3-ubyte.gz")
VISION = (
    "imagenet/imagenet_test-1.tgz",
    *(f"imagenet/imagenet_train-{number}.tgz" for number in range(3)),
    "imagenet/imagenet_train-0.txt",
)
SHARD = bytes(range(256)) * 300
# The last file of each range, held where a command that does not wait for the end is to see it run.
HELD = ("/lpr-imagenet/train-0010.tgz", "/lpr-imagenet/train-0020.tgz")
EPOCH = "1970-01-01T00:00:00Z"
JOB = re.compile(r"dnl-[\w-]+")


class Site(NamedTuple):
    """A node and a web server, in place of those of the documentation."""

    node: RunningNode
    web: str
    held: HeldSite

    def local(self, text: str) -> str:
        """A command with the addresses of this site."""
        for host in ("http://releases.ubuntu.com", "http://yann.lecun.com"):
            text = text.replace(host, self.web)
        text = text.replace("gs://lpr-imagenet", f"{self.web}/lpr-imagenet")
        text = text.replace("randomwebsite.com", self.web.removeprefix("http://"))
        return text.replace("http://localhost:8080", self.node.url)

    def curl(self, command: str) -> tuple[int, Any]:
        """Run a curl command as it was written: the status, and the body, of JSON where it is that."""
        words = shlex.split(self.local(command))
        ended = subprocess.run([*words, "-s"], capture_output=True, check=True, timeout=60)
        head, _, body = ended.stdout.decode().partition("\r\n\r\n")
        return int(head.split()[1]), json.loads(body) if body.startswith(("{", "[")) else body

    def ais(self, command: str) -> Run:
        """Run an `ais` command as it was written."""
        return ais(self.node.url, *shlex.split(self.local(command))[1:])

    def ended(self, job_id: str) -> dict[str, Any]:
        """A job's status when it has ended, asked for as the documentation does."""
        ask = f"curl -Li -H 'Content-Type: application/json' -d '{{\"id\": \"{job_id}\"}}' -X GET"
        deadline_s = time.monotonic() + 60
        while True:
            status, told = self.curl(f"{ask} 'http://localhost:8080/v1/download'")
            assert status == 200
            if told["finished_time"] != EPOCH:
                return dict(told)
            assert time.monotonic() < deadline_s, told
            time.sleep(0.05)

    def names(self, bucket: str) -> list[str]:
        """What is in a bucket."""
        return [entry["name"] for entry in ais(self.node.url, "ls", bucket, "--json").json["objects"]]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    # Not below pytest's own folders, which are closed to nginx's worker: another user.
    with tempfile.TemporaryDirectory(prefix="aisle-web-") as folder:
        root = Path(folder)
        names = [ISO, *(f"exdb/mnist/{name}" for name in MNIST)]
        names += [f"some_dir/object{number}log.txt" for number in range(1, 1001)]
        names += [f"lpr-imagenet/train-{number:04}.tgz" for number in range(1, 21)]
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(SHARD if name.startswith("lpr") else name.encode() * 7)
        for path in (root, *root.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        with (
            running_site() as held,
            running_nginx(root, extra=f"location ~ /train-00.0 {{ proxy_pass {held.url}; }}") as nginx,
            running_google_service() as google,
        ):
            held.pages = dict.fromkeys(HELD, SHARD)
            google.needs_tokens = False
            for name in VISION:
                google.keep("lpr-vision", name, SHARD)
            with running_node(env={"STORAGE_EMULATOR_HOST": google.url}) as node:
                yield Site(node, nginx.url, held)


def started(answer: tuple[int, Any]) -> str:
    """The id that a request to download was answered with, and nothing else."""
    status, told = answer
    assert status == 200, told
    assert list(told) == ["id"]
    assert JOB.fullmatch(told["id"])
    return str(told["id"])


def test_two_ranges_of_a_public_bucket(site: Site) -> None:
    site.held.held = {*HELD}
    assert site.ais("ais create imagenet").lines == ['"ais://imagenet" created']
    ids = []
    for numbers in ("0001..0010", "0011..0020"):
        run = site.ais(f'ais start download "gs://lpr-imagenet/train-{{{numbers}}}.tgz" ais://imagenet')
        [job_id] = set(JOB.findall(run.text))
        assert (run.code, run.lines) == (
            0,
            [
                f"Started download job {job_id}",
                f"Run `ais show job download {job_id}` to monitor the progress of downloading.",
            ],
        )
        ids.append(job_id)
    running = site.ais(f"ais show job download {ids[1]}")
    assert re.match(rf"{ids[1]} progress: downloaded \d+ files? \(out of 10\)", running.text)
    site.held.release(*HELD)
    for job_id in ids:
        run = site.ais(f"ais wait download {job_id}")
        assert (run.code, run.lines) == (
            0,
            [f"download[{job_id}] finished", "All 10 files successfully downloaded"],
        )
    lines = site.ais("ais show job download").lines
    assert [re.split(r" {2,}", line) for line in lines] == [
        ["JOB ID", "STATUS", "ERRORS", "DESCRIPTION"],
        *(
            [job_id, "Finished", "0", f"{site.web}/lpr-imagenet/train-{{{numbers}}}.tgz -> ais://imagenet"]
            for job_id, numbers in zip(ids, ("0001..0010", "0011..0020"), strict=True)
        ),
    ]
    assert site.names("ais://imagenet") == [f"train-{number:04}.tgz" for number in range(1, 21)]
    for job_id in ids:
        assert site.ais(f"ais show job download {job_id}").text == "Done: 10 files downloaded\n"
        run = site.ais(f"ais job rm download {job_id}")
        assert run.text == f'Removed finished download job "{job_id}"\n'


def test_a_single_object(site: Site) -> None:
    job_id = started(
        site.curl(
            """curl -Li -H 'Content-Type: application/json' -d '{
              "type": "single",
              "bucket": {"name": "ubuntu"},
              "object_name": "ubuntu.iso",
              "link": "http://releases.ubuntu.com/18.04.1/ubuntu-18.04.1-desktop-amd64.iso"
            }' -X POST 'http://localhost:8080/v1/download'"""
        )
    )
    told = site.ended(job_id)
    assert (told["finished_cnt"], told["error_cnt"], told["total"]) == (1, 0, 1)
    assert told["description"] == f"{site.web}/{ISO} -> ais://ubuntu/ubuntu.iso"
    assert ais(site.node.url, "get", "ais://ubuntu/ubuntu.iso", "-").stdout == ISO.encode() * 7


@pytest.mark.parametrize(
    ("objects", "names"),
    [
        (
            """{
              "train-labels.gz": "http://yann.lecun.com/exdb/mnist/train-labels-idx1-ubyte.gz",
              "t10k-labels-idx1.gz": "http://yann.lecun.com/exdb/mnist/t10k-labels-idx1-ubyte.gz",
              "train-images.gz": "http://yann.lecun.com/exdb/mnist/train-images-idx3-ubyte.gz"
            }""",
            ["t10k-labels-idx1.gz", "train-images.gz", "train-labels.gz"],
        ),
        (
            """[
              "http://yann.lecun.com/exdb/mnist/train-labels-idx1-ubyte.gz",
              "http://yann.lecun.com/exdb/mnist/t10k-labels-idx1-ubyte.gz",
              "http://yann.lecun.com/exdb/mnist/train-images-idx3-ubyte.gz"
            ]""",
            sorted(MNIST),
        ),
    ],
    ids=["map", "list"],
)
def test_many_objects(site: Site, objects: str, names: list[str]) -> None:
    job_id = started(
        site.curl(
            f"""curl -Li -H 'Content-Type: application/json' -d '{{
              "type": "multi",
              "bucket": {{"name": "ubuntu"}},
              "objects": {objects}
            }}' -X POST 'http://localhost:8080/v1/download'"""
        )
    )
    told = site.ended(job_id)
    assert (told["finished_cnt"], told["error_cnt"], told["total"]) == (3, 0, 3)
    assert set(names) <= set(site.names("ais://ubuntu"))


@pytest.mark.parametrize(
    ("template", "subdir", "numbers"),
    [
        ("object{200..300}log.txt", "", range(200, 301)),
        ("object{200..300}log.txt", "some/subdir/", range(200, 301)),
        ("object{1..1000..10}log.txt", "", range(1, 1001, 10)),
    ],
)
def test_a_range_of_objects(site: Site, template: str, subdir: str, numbers: range) -> None:
    more = f', "subdir": "{subdir}"' if subdir else ""
    job_id = started(
        site.curl(
            f"""curl -Lig -H 'Content-Type: application/json' -d '{{
              "type": "range",
              "bucket": {{"name": "test"}},
              "template": "randomwebsite.com/some_dir/{template}"{more}
            }}' -X POST 'http://localhost:8080/v1/download'"""
        )
    )
    told = site.ended(job_id)
    assert (told["finished_cnt"], told["error_cnt"], told["total"]) == (len(numbers), 0, len(numbers))
    wanted = {f"{subdir}object{number}log.txt" for number in numbers}
    assert wanted <= set(site.names("ais://test"))
    number = numbers[-1]
    run = ais(site.node.url, "get", f"ais://test/{subdir}object{number}log.txt", "-")
    assert run.stdout == f"some_dir/object{number}log.txt".encode() * 7


def test_objects_of_a_remote_bucket_are_downloaded(site: Site) -> None:
    command = """curl -Liv -H 'Content-Type: application/json' -d '{
      "type": "backend",
      "bucket": {"name": "lpr-vision", "provider": "gcp"},
      "prefix": "imagenet/imagenet_train-",
      "suffix": ".tgz"
    }' -X POST 'http://localhost:8080/v1/download'"""
    told = site.ended(started(site.curl(command)))
    assert (told["finished_cnt"], told["error_cnt"], told["total"]) == (3, 0, 3)
    assert told["description"] == "remote bucket prefetch -> gs://lpr-vision"
    kept = ais(site.node.url, "ls", "gs://lpr-vision", "--cached", "--json").json["objects"]
    assert [entry["name"] for entry in kept] == list(VISION[1:4])
    again = site.ended(started(site.curl(command.replace('".tgz"', '".tgz", "sync": true'))))
    assert (again["finished_cnt"], again["skipped_cnt"]) == (3, 3)


def test_jobs_are_listed_aborted_and_removed(site: Site) -> None:
    site.held.held = {*HELD}
    body = json.dumps(
        {
            "type": "range",
            "bucket": {"name": "aborted"},
            "template": f"{site.web}/lpr-imagenet/train-{{0001..0010}}.tgz",
            "description": "4 aborting",
        }
    )
    job_id = started(
        site.curl(
            f"curl -Lig -H 'Content-Type: application/json' -d '{body}' -X POST "
            "'http://localhost:8080/v1/download'"
        )
    )
    status, jobs = site.curl("curl -Li -X GET 'http://localhost:8080/v1/download'")
    assert status == 200
    assert job_id in [told["id"] for told in jobs]
    status, jobs = site.curl(
        "curl -Li -H 'Content-Type: application/json' -d '{\"regex\": \"^[0-9]\"}' -X GET "
        "'http://localhost:8080/v1/download'"
    )
    descriptions = [told["description"] for told in jobs]
    assert (status, "4 aborting" in descriptions) == (200, True)
    # Ranges of this test have a number in front, too: their templates name no scheme.
    assert all(description[0].isdigit() for description in descriptions)
    for verb in ("abort", "remove"):
        ask = f"curl -Li -H 'Content-Type: application/json' -d '{{\"id\": \"{job_id}\"}}' -X"
        assert site.curl(f"{ask} DELETE 'http://localhost:8080/v1/download/{verb}'") == (200, "")
        status, told = site.curl(f"{ask} GET 'http://localhost:8080/v1/download'")
        if verb == "abort":
            assert (status, told["aborted"], told["finished_time"] != EPOCH) == (200, True, True)
        else:
            assert status == 404
            assert told["message"].endswith(f"download job {job_id} does not exist")
    site.held.release(*HELD)
