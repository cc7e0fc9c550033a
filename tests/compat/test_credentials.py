"""A real node that asks for credentials, and the clients that show them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from aistore import Client as SdkClient
from botocore.config import Config
from botocore.exceptions import ClientError

from support.node import NodeDidNotStart, RunningNode, running_node
from support.processes import wait_until

ROOT = ("root-key", "root-secret-long")
ALICE = ("alice-key", "alice-secret-long")
ENVIRONMENT = {"AISLE_ROOT_ACCESS_KEY": ROOT[0], "AISLE_ROOT_SECRET_KEY": ROOT[1]}
USERS = f"""
[[users]]
name = "alice"
id = "alice-id"
access_key = "{ALICE[0]}"
secret_key = "{ALICE[1]}"
"""
NAMES = ["plain", "a//b", "dir/", "100% +*~'()", "ü/文", "a=b&c?d#e", "%41"]


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2, env=ENVIRONMENT, config=USERS) as running:
        yield running


def s3(node: RunningNode, who: tuple[str, str], *, path: str = "", **config: Any) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=node.url + path,
        region_name="anywhere-1",
        aws_access_key_id=who[0],
        aws_secret_access_key=who[1],
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, **config),
    )


def ais(node: RunningNode, *arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AIS")}
    return subprocess.run(
        [str(Path(sys.executable).with_name("ais")), *arguments],
        env={**plain, "AIS_ENDPOINT": node.url, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


AS_ROOT = {"AIS_ACCESS_KEY": ROOT[0], "AIS_SECRET_KEY": ROOT[1]}


@pytest.mark.parametrize("path", ["", "/s3"])
@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_boto3_signs_names_of_all_kinds(node: RunningNode, path: str, version: str) -> None:
    client = s3(node, ALICE, path=path, signature_version=version)
    bucket = f"names-{path.strip('/') or 'root'}-{version}"
    client.create_bucket(Bucket=bucket)
    for name in NAMES:
        client.put_object(Bucket=bucket, Key=name, Body=name.encode(), Metadata={"a": "two  words"})
        assert client.get_object(Bucket=bucket, Key=name)["Body"].read() == name.encode()
        url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": name})
        assert ("X-Amz-Signature" in url) == (version == "s3v4")
        answer = requests.get(url, timeout=10)
        assert (answer.status_code, answer.content) == (200, name.encode())
        assert requests.get(_forged(url), timeout=10).status_code == 403
        assert requests.put(url, b"x", timeout=10).status_code == 403
    listed = client.list_objects_v2(Bucket=bucket, Prefix="a")["Contents"]
    assert {found["Key"] for found in listed} == {"a//b", "a=b&c?d#e"}


def test_a_presigned_upload_is_let_in_and_expires(node: RunningNode) -> None:
    client = s3(node, ALICE)
    client.create_bucket(Bucket="presigned")
    put = {"Bucket": "presigned", "Key": "k"}
    url = client.generate_presigned_url("put_object", Params=put, ExpiresIn=60)
    assert requests.put(url, b"uploaded", timeout=10).status_code == 200
    assert client.get_object(**put)["Body"].read() == b"uploaded"
    expired = client.generate_presigned_url("put_object", Params=put, ExpiresIn=1)
    time.sleep(2.1)
    assert requests.put(expired, b"other", timeout=10).status_code == 403
    assert client.get_object(**put)["Body"].read() == b"uploaded"


def test_large_bodies_are_verified_in_chunks_and_whole(node: RunningNode) -> None:
    client = s3(node, ALICE)
    client.create_bucket(Bucket="large")
    body = os.urandom(3_000_000)
    client.put_object(Bucket="large", Key="whole", Body=body, ChecksumAlgorithm="CRC32")
    assert client.get_object(Bucket="large", Key="whole")["Body"].read() == body
    client.upload_file(str(_file(body * 4)), "large", "parts")
    assert client.get_object(Bucket="large", Key="parts")["Body"].read() == body * 4


def _forged(url: str) -> str:
    """The URL with another first digit in its signature."""
    return re.sub("Signature=(.)", lambda found: f"Signature={'1' if found[1] == '0' else '0'}", url)


def _file(body: bytes) -> Path:
    import tempfile

    path = Path(tempfile.mkdtemp(prefix="aisle-test-")) / "file"
    path.write_bytes(body)
    return path


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ((ALICE[0], "wrong"), "SignatureDoesNotMatch"),
        (("nobody", "wrong"), "InvalidAccessKeyId"),
    ],
)
def test_wrong_keys_are_refused_in_s3s_words(node: RunningNode, who: tuple[str, str], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        s3(node, who).list_buckets()
    assert caught.value.response["Error"]["Code"] == code


def test_users_see_their_own_and_what_is_public(node: RunningNode) -> None:
    root, alice = s3(node, ROOT), s3(node, ALICE)
    root.create_bucket(Bucket="roots")
    root.put_object(Bucket="roots", Key="k", Body=b"x")
    root.create_bucket(Bucket="public", ACL="public-read")
    root.put_object(Bucket="public", Key="k", Body=b"for all")
    for operation in ("get_object", "head_object", "delete_object"):
        with pytest.raises(ClientError) as caught:
            getattr(alice, operation)(Bucket="roots", Key="k")
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    with pytest.raises(ClientError):
        alice.delete_bucket(Bucket="roots")
    assert alice.get_object(Bucket="public", Key="k")["Body"].read() == b"for all"
    assert requests.get(f"{node.url}/s3/public/k", timeout=10).content == b"for all"
    assert requests.get(f"{node.url}/v1/objects/public/k", timeout=10).content == b"for all"
    assert requests.get(f"{node.url}/s3/roots/k", timeout=10).status_code == 403
    assert requests.put(f"{node.url}/s3/public/k", b"x", timeout=10).status_code == 403
    assert "roots" not in {found["Name"] for found in alice.list_buckets()["Buckets"]}
    assert {"roots", "public"} <= {found["Name"] for found in root.list_buckets()["Buckets"]}


def test_the_sdk_and_ais_work_with_tokens_that_ais_mints(node: RunningNode) -> None:
    assert ais(node, "auth", "user", "add", "carol", env=AS_ROOT).stdout == 'user "carol" added\n'
    minted = ais(node, "auth", "token", "add", "carol", "--json", env=AS_ROOT)
    told = json.loads(minted.stdout)
    key = json.loads(ais(node, "auth", "key", "add", "carol", "--json", env=AS_ROOT).stdout)

    sdk = SdkClient(node.url, token=told["token"])
    bucket = sdk.bucket("carols").create()
    bucket.object("name").get_writer().put_content(b"from the sdk")
    assert bucket.object("name").get_reader().read_all() == b"from the sdk"
    s3(node, ROOT).create_bucket(Bucket="hidden")
    names = {found.name for found in sdk.cluster().list_buckets()}
    assert "carols" in names
    assert "hidden" not in names

    as_carol = {"AIS_AUTHN_TOKEN": told["token"]}
    got = ais(node, "get", "ais://carols/name", "-", env=as_carol)
    assert (got.stdout, got.stderr) == ("from the sdk", "")
    carol = s3(node, (key["access_key"], key["secret_key"]))
    assert carol.get_object(Bucket="carols", Key="name")["Body"].read() == b"from the sdk"
    for env in (
        {},
        {"AIS_AUTHN_TOKEN": "nonsense"},
        {"AIS_ACCESS_KEY": "alice-key", "AIS_SECRET_KEY": "x" * 9},
    ):
        refused = ais(node, "ls", "ais://carols", env=env)
        assert (refused.returncode, refused.stdout) == (1, ""), env
    assert ais(node, "auth", "user", "show", env=as_carol).returncode == 1

    assert ais(node, "auth", "token", "rm", told["id"], env=AS_ROOT).returncode == 0
    # The other worker knows it at once, too.
    for _ in range(8):
        assert (
            requests.get(
                f"{node.url}/v1/objects/carols/name",
                headers={"Authorization": f"Bearer {told['token']}"},
                timeout=10,
            ).status_code
            == 401
        )
    assert ais(node, "auth", "user", "rm", "carol", "--yes", env=AS_ROOT).returncode == 0
    with pytest.raises(ClientError):
        carol.list_buckets()


def test_health_needs_no_credentials_and_everything_else_does(node: RunningNode) -> None:
    assert requests.get(f"{node.url}/v1/health", timeout=10).status_code == 200
    for path in ("/metrics", "/v1/daemon?what=smap", "/", "/v1/nothing", "/v1/buckets"):
        answer = requests.get(node.url + path, timeout=10)
        assert (answer.status_code, "token required" in answer.text) == (401, True), path


def test_users_survive_a_restart_and_need_the_same_master_key() -> None:
    with running_node(env=ENVIRONMENT | {"AISLE_AUTH_MASTER_KEY": "m" * 32}) as running:
        ais(running, "auth", "user", "add", "carol", env=AS_ROOT)
        told = json.loads(ais(running, "auth", "key", "add", "carol", "--json", env=AS_ROOT).stdout)
        carol = (told["access_key"], told["secret_key"])
        s3(running, carol).create_bucket(Bucket="carols")
        running.restart()
        assert [b["Name"] for b in s3(running, carol).list_buckets()["Buckets"]] == ["carols"]
        running.stop()
        folders = running.data
        for path in folders[0].rglob("*"):
            if path.is_file():
                assert carol[1].encode() not in path.read_bytes(), path
        for env, words in (
            ({}, "set AISLE_ROOT_ACCESS_KEY and AISLE_ROOT_SECRET_KEY"),
            (ENVIRONMENT, "auth.earlier_master_keys"),
            (ENVIRONMENT | {"AISLE_AUTH_MASTER_KEY": "n" * 32}, "auth.earlier_master_keys"),
        ):
            with (
                running_node(folders, env=env, start=False) as other,
                pytest.raises(NodeDidNotStart) as caught,
            ):
                other.start()
            assert words in str(caught.value)
        rotated = {"AISLE_AUTH_MASTER_KEY": "n" * 32, "AISLE_AUTH_EARLIER_MASTER_KEYS": "m" * 32}
        with running_node(folders, env=ENVIRONMENT | rotated) as again:
            assert [b["Name"] for b in s3(again, carol).list_buckets()["Buckets"]] == ["carols"]


def test_a_master_key_in_a_data_folder_is_refused(tmp_path: Path) -> None:
    data, key = tmp_path / "data", tmp_path / "key"
    key.write_text("m" * 32)
    with running_node([data], env=ENVIRONMENT | {"AISLE_AUTH_MASTER_KEY_FILE": str(key)}) as running:
        assert running.stop() == 0
    inside = data / "index" / "key"
    key.rename(inside)
    env = ENVIRONMENT | {"AISLE_AUTH_MASTER_KEY_FILE": str(inside)}
    with running_node([data], env=env, start=False) as running:
        with pytest.raises(NodeDidNotStart) as caught:
            running.start()
        assert "lies in a data folder" in str(caught.value)


def test_with_credentials_a_node_may_listen_everywhere() -> None:
    with running_node(env=ENVIRONMENT, args=["--listen", "0.0.0.0:0"]) as running:
        assert requests.get(f"{running.url}/v1/health", timeout=10).status_code == 200
        assert requests.get(f"{running.url}/metrics", timeout=10).status_code == 401


def test_reloading_never_switches_credentials_off_or_half_on() -> None:
    with running_node(config="log_level = 'info'\n") as running:
        assert running._config_path is not None
        running._config_path.write_text(f"{USERS}\n[auth]\nmaster_key = '{'m' * 32}'\n")
        running.kill("supervisor", signal.SIGHUP)
        assert wait_until(lambda: "needs a restart" in running.stderr_text(), timeout_s=60)
        assert wait_until(lambda: _answers(running), timeout_s=60)
        running.restart()
        assert requests.get(f"{running.url}/metrics", timeout=10).status_code == 401
        running._config_path.write_text("log_level = 'info'\n")
        running.kill("supervisor", signal.SIGHUP)
        assert wait_until(lambda: running.stderr_text().count("one by one") == 2, timeout_s=60)
        assert wait_until(lambda: _answers(running), timeout_s=60)
        assert requests.get(f"{running.url}/metrics", timeout=10).status_code == 401
        assert s3(running, ALICE).list_buckets()["Buckets"] == []


def _answers(node: RunningNode) -> bool:
    return requests.get(f"{node.url}/v1/health", timeout=10).status_code == 200


def test_no_secret_shows_in_the_log_or_the_command_line(node: RunningNode) -> None:
    secrets = (ROOT[1], ALICE[1])
    assert not any(secret in node.stderr_text() for secret in secrets)
    for pid in node.processes():
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        assert not any(secret in line for secret in secrets)


def test_a_removed_user_is_refused_by_every_worker_at_once(node: RunningNode) -> None:
    assert ais(node, "auth", "user", "add", "dave", env=AS_ROOT).returncode == 0
    key = json.loads(ais(node, "auth", "key", "add", "dave", "--json", env=AS_ROOT).stdout)
    token = json.loads(ais(node, "auth", "token", "add", "dave", "--json", env=AS_ROOT).stdout)["token"]
    dave = s3(node, (key["access_key"], key["secret_key"]))
    dave.create_bucket(Bucket="daves")
    dave.put_object(Bucket="daves", Key="name", Body=b"x")
    link = dave.generate_presigned_url("get_object", Params={"Bucket": "daves", "Key": "name"})
    bearer = {"Authorization": f"Bearer {token}"}
    native = f"{node.url}/v1/objects/daves/name"

    def told() -> set[tuple[int, int]]:
        # A connection each: with several workers, either may get it.
        return {
            (
                requests.get(link, timeout=10).status_code,
                requests.get(native, headers=bearer, timeout=10).status_code,
            )
            for _ in range(8)
        }

    # What was verified before is remembered by both workers.
    assert told() == {(200, 200)}
    assert ais(node, "auth", "user", "rm", "dave", "--yes", env=AS_ROOT).returncode == 0
    assert told() == {(403, 401)}
    assert s3(node, ROOT).get_object(Bucket="daves", Key="name")["Body"].read() == b"x"
