"""What seed 3 tells of chains of clusters, where it takes more than a session of commands to see it.

Three clusters in a row: `here` knows `middle`, that knows `far`, and only `far` has an account of a cloud.
"""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

import pytest

from support.ais import ais
from support.faulty_bucket import faulty_bucket
from support.node import RunningNode, running_node

LARGE = bytes(range(256)) * 65_536  # 16 MiB


class Chain(NamedTuple):
    here: RunningNode
    middle: RunningNode
    far: RunningNode
    cloud: RunningNode


def account(url: str) -> dict[str, str]:
    """What a node has in its environment that may use that endpoint of S3."""
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
    return {"AWS_ENDPOINT_URL": url, **keys}


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with running_node(workers=1) as cloud:
        ais(cloud.url, "create", "data")
        assert ais(cloud.url, "put", "-", "data/aaa/ddd", stdin=b"from the cloud").code == 0
        with (
            running_node(workers=1, env=account(f"{cloud.url}/s3")) as far,
            running_node(workers=1) as middle,
            running_node(workers=1) as here,
        ):
            assert ais(middle.url, "cluster", "remote-attach", f"remais={far.url}").code == 0
            assert ais(here.url, "cluster", "remote-attach", f"next={middle.url}").code == 0
            yield Chain(here, middle, far, cloud)


def uuid_of(node: RunningNode) -> str:
    return str(ais(node.url, "show", "cluster", "--json").json["cluster"]["id"])


def set_backend(node: RunningNode, bucket: str, backend: str) -> None:
    assert ais(node.url, "create", bucket).code == 0
    run = ais(node.url, "bucket", "props", "set", bucket, f"backend_bck={backend}")
    assert run.code == 0, run.stderr


def test_a_clouds_bucket_is_reached_through_two_clusters_by_alias_and_by_uuid(chain: Chain) -> None:
    set_backend(chain.middle, "ais://nnn", "s3://@remais/data")
    set_backend(chain.here, "ais://by-alias", "ais://@next/nnn")
    set_backend(chain.here, "ais://by-uuid", f"ais://@{uuid_of(chain.middle)}/nnn")
    for bucket in ("ais://by-alias", "ais://by-uuid", "ais://@next/nnn"):
        listed = ais(chain.here.url, "ls", bucket, "--name-only").lines
        assert listed == ["NAME", "aaa/ddd"], bucket
        assert ais(chain.here.url, "cat", f"{bucket}/aaa/ddd").stdout == b"from the cloud"
    # What is written here is in the cloud, though no bucket of a cloud's is known here.
    assert ais(chain.here.url, "put", "-", "ais://by-alias/new", stdin=b"all the way").code == 0
    assert ais(chain.cloud.url, "cat", "data/new").stdout == b"all the way"
    assert ais(chain.cloud.url, "rm", "ais://data/new", "--yes").code == 0
    assert ais(chain.here.url, "ls", "s3:", "--json").json == {"buckets": []}


def test_a_read_that_has_begun_ends_well_though_its_cluster_is_detached(chain: Chain) -> None:
    with faulty_bucket() as source, running_node(workers=1, env=account(source.url)) as between:
        source.objects["large"] = LARGE
        source.hold("large", len(LARGE) // 2)
        assert ais(chain.here.url, "cluster", "remote-attach", f"brief={between.url}").code == 0
        host = chain.here.url.removeprefix("http://")
        with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
            connection.request("GET", "/v1/objects/data/large?provider=aws&namespace=@brief")
            answer = connection.getresponse()
            assert (answer.status, source.held.wait(60)) == (200, True)
            first = answer.read(100_000)
            assert ais(chain.here.url, "cluster", "remote-detach", "brief").code == 0
            source.go_on.set()
            assert first + answer.read() == LARGE


@contextmanager
def another_address(node: RunningNode) -> Iterator[str]:
    """Another URL of a node, which dies with the block."""
    host, _, port = node.url.removeprefix("http://").partition(":")
    ends: list[socket.socket] = []

    def relay(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((host, int(port)))
                ends.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=relay, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def test_when_one_url_dies_the_others_go_on(chain: Chain) -> None:
    with running_node(workers=1) as here:
        with another_address(chain.far) as url:
            run = ais(here.url, "cluster", "remote-attach", f"two={url},{chain.far.url}")
            assert run.code == 0, run.stderr
            assert ais(here.url, "cat", "s3://@two/data/aaa/ddd").stdout == b"from the cloud"
        for number in range(4):
            assert ais(chain.cloud.url, "put", "-", f"data/more/{number}", stdin=b"later").code == 0
            assert ais(here.url, "cat", f"s3://@two/data/more/{number}").stdout == b"later"
        (row,) = ais(here.url, "show", "remote-cluster", "--json").json["clusters"]
        assert (row["online"], len(row["urls"])) == (True, 2)
