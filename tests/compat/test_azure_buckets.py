"""A real node in front of Azurite: `az://` buckets read, written, listed and removed."""

import datetime
import hashlib
import os
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

import pytest
import requests
from azure.storage.blob import (
    ContainerClient,
    ContainerSasPermissions,
    ContentSettings,
    generate_container_sas,
)

from support import processes
from support.ais import ais
from support.azurite import KEYS, Azurite, running_azurite
from support.node import RunningNode, running_node

WAIT_S = 60.0
NAMES = ["a b", "100%", "a%20b", "x//y", "ä/ö", "日本/\U0001f600", "q?x=y&z#", "+", "n" * 1024]


class Served(NamedTuple):
    """A node, and what stands behind it."""

    node: RunningNode
    azurite: Azurite
    data: ContainerClient


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with running_azurite() as azurite:
        data = azurite.container("data")
        azurite.container("shared", "secondaccount").upload_blob("k", b"by a SAS token")
        azurite.container("closed", "secondaccount").upload_blob("k", b"closed")
        sas = generate_container_sas(
            "secondaccount",
            "shared",
            KEYS["secondaccount"],
            permission=ContainerSasPermissions(read=True, list=True),
            expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1),
        )
        first = f"AccountName=firstaccount;AccountKey={KEYS['firstaccount']}"
        env = {
            "AZURE_STORAGE_CONNECTION_STRING": f"{first};BlobEndpoint={azurite.endpoint()}",
            "AZURE_STORAGE_CONNECTION_STRING_SECONDACCOUNT": (
                f"BlobEndpoint={azurite.endpoint('secondaccount')};SharedAccessSignature={sas}"
            ),
            "AZURE_STORAGE_KEY_WRONGACCOUNT": "d3Jvbmc=",
        }
        with running_node(workers=1, env=env) as node:
            yield Served(node, azurite, data)


def url(node: RunningNode, key: str, bucket: str = "data") -> str:
    return f"{node.url}/v1/objects/{bucket}/{quote(key, safe='')}?provider=azure"


def get(node: RunningNode, key: str, bucket: str = "data") -> requests.Response:
    return requests.get(url(node, key, bucket), timeout=WAIT_S)


def is_kept(node: RunningNode, key: str) -> bool:
    return requests.head(f"{url(node, key)}&presence=2", timeout=WAIT_S).status_code == 200


def wait_kept(node: RunningNode, key: str) -> None:
    """The last byte does not wait until the object is kept."""
    assert processes.wait_until(lambda: is_kept(node, key), timeout_s=WAIT_S, poll_s=0.02)


def test_an_object_is_read_once_from_azure_and_then_from_here(served: Served) -> None:
    node, _, data = served
    content = os.urandom(5 * 1024 * 1024)
    data.upload_blob("read", content, metadata={"who": "me"})
    told = data.get_blob_client("read").get_blob_properties()
    cold = get(node, "read")
    assert cold.content == content
    wait_kept(node, "read")
    data.delete_blob("read")
    warm = get(node, "read")
    assert warm.content == content
    for answer in (cold, warm):
        assert answer.headers["ETag"].strip('"') == told.etag.strip('"')
        assert answer.headers["Last-Modified"] == told.last_modified.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert warm.headers["Ais-Checksum-Type"] == "md5"
    assert warm.headers["Ais-Checksum-Value"] == hashlib.md5(content).hexdigest()


def test_names_of_all_kinds_are_written_through_and_read_and_removed(served: Served) -> None:
    node, azurite, _ = served
    names = azurite.container("names")
    for number, name in enumerate(NAMES):
        assert requests.put(url(node, name, "names"), data=b"%d" % number, timeout=WAIT_S).status_code == 200
    assert sorted(names.list_blob_names()) == sorted(NAMES)
    run = ais(node.url, "evict", "az://names", "--keep-md")
    assert run.code == 0, run.stderr
    for number, name in enumerate(NAMES):
        assert get(node, name, "names").content == b"%d" % number, name
    listed = ais(node.url, "ls", "az://names", "--json").json["objects"]
    assert [entry["name"] for entry in listed] == sorted(NAMES, key=str.encode)
    for name in NAMES:
        assert requests.delete(url(node, name, "names"), timeout=WAIT_S).status_code in (200, 204)
        assert get(node, name, "names").status_code == 404
    assert not list(names.list_blob_names())


def test_a_large_object_is_written_in_blocks(served: Served) -> None:
    node, _, data = served
    content = os.urandom(20 * 1024 * 1024)
    assert requests.put(url(node, "large"), data=content, timeout=WAIT_S).status_code == 200
    blob = data.get_blob_client("large")
    assert len(blob.get_block_list()[0]) == 3
    assert blob.download_blob().readall() == content
    assert get(node, "large").content == content


def test_user_metadata_comes_and_goes_over_s3(served: Served) -> None:
    node, _, data = served
    fields = {"x-amz-meta-shard-no": "7", "Content-Type": "image/jpeg"}
    link = f"{node.url}/s3/data--azure/user"
    assert requests.put(link, data=b"x", headers=fields, timeout=WAIT_S).status_code == 200
    told = data.get_blob_client("user").get_blob_properties()
    assert (told.metadata, told.content_settings.content_type) == ({"shard_x002d_no": "7"}, "image/jpeg")
    for evicted in (False, True):
        if evicted:
            assert ais(node.url, "evict", "az://data/user").code == 0
        answer = requests.get(link, timeout=WAIT_S)
        assert answer.headers["x-amz-meta-shard-no"] == "7"
        assert answer.headers["Content-Type"] == "image/jpeg"


def test_a_conditional_write_asks_azure(served: Served) -> None:
    node, _, data = served
    data.upload_blob("there", b"theirs")
    link = f"{node.url}/s3/data--azure/there"
    refused = requests.put(link, data=b"mine", headers={"If-None-Match": "*"}, timeout=WAIT_S)
    assert refused.status_code == 412
    assert data.download_blob("there").readall() == b"theirs"


def test_bytes_that_are_not_those_of_the_digest_are_never_given_whole(served: Served) -> None:
    node, _, data = served
    blob = data.upload_blob("wrong", os.urandom(2_000_000))
    blob.set_http_headers(ContentSettings(content_md5=bytearray(16)))
    with pytest.raises(requests.RequestException):
        get(node, "wrong")
    assert not is_kept(node, "wrong")


def test_a_container_that_is_not_there_is_not_found(served: Served) -> None:
    for bucket in ("nothing", "Not.A.Container"):
        answer = get(served.node, "k", bucket)
        assert answer.status_code == 404, answer.text
        assert "ErrRemoteBckNotFound" in answer.text
    assert get(served.node, "nothing").status_code == 404


def test_other_accounts_have_their_own_credentials(served: Served) -> None:
    node, azurite, _ = served

    made = ais(node.url, "create", "az://shared", "--props", "extra.azure.account=secondaccount")
    assert made.code == 0, made.stderr
    assert get(node, "k", "shared").content == b"by a SAS token"
    assert ais(node.url, "ls", "az://shared").lines[1].split()[0] == "k"
    refused = requests.put(url(node, "new", "shared"), data=b"x", timeout=WAIT_S)
    assert refused.status_code == 403
    assert "SAS token" in refused.text
    props = f"extra.azure.account=wrongaccount extra.azure.endpoint={azurite.endpoint('secondaccount')}"
    unmade = ais(node.url, "create", "az://closed", "--props", props)
    assert unmade.code != 0
    assert "key of the account wrongaccount" in unmade.stderr
    assert ais(node.url, "bucket", "props", "set", "az://shared", *props.split()).code == 0
    denied = get(node, "not-kept", "shared")
    assert denied.status_code == 403
    assert "key of the account wrongaccount" in denied.text
    # Nothing of the credentials is ever told, nor in the log.
    shown = (
        refused.text
        + unmade.stderr
        + node.stderr_text()
        + ais(node.url, "bucket", "props", "show", "az://shared").text
    )
    assert not any(secret in shown for secret in ("sig=", "d3Jvbmc=", *KEYS.values()))


def test_the_containers_of_the_account_are_listed(served: Served) -> None:
    served.azurite.container("unused")
    run = ais(served.node.url, "ls", "az:", "--all")
    assert run.code == 0, run.stderr
    assert {"az://data", "az://unused"} <= {line.split()[0] for line in run.lines if line}


def test_a_node_without_an_account_says_what_to_set() -> None:
    with running_node(workers=1, env={name: "" for name in os.environ if name.startswith("AZURE_")}) as node:
        answer = get(node, "k")
        assert answer.status_code == 501
        assert "AZURE_STORAGE_ACCOUNT" in answer.text
        # Asking in vain leaves nothing open.
        (worker,) = node.children("worker")
        before = len(os.listdir(f"/proc/{worker}/fd"))
        for _ in range(30):
            assert get(node, "k").status_code == 501
        assert len(os.listdir(f"/proc/{worker}/fd")) < before + 30
