"""Which libraries a worker loads before anybody asks for a bucket of theirs; what is loaded stays."""

import json
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import asyncio, json, sys
from aisle.model.bucket import BucketInfo, BucketProperties
from aisle.model.names import Bucket
from aisle.node.preloading import preload

known = [BucketInfo(Bucket("b", *pair), 1, BucketProperties()) for pair in json.loads(sys.argv[1])]
asyncio.run(preload([*known, None], json.loads(sys.argv[2])))
names = ("botocore.session", "google.auth", "azure.identity", "oci", "aisle.backends.remote_ais")
print(json.dumps([name for name in names if name in sys.modules]))
"""


def loaded(known: list[tuple[str, str]], environment: dict[str, str]) -> list[str]:
    """What a fresh process has loaded."""
    command = [sys.executable, "-c", _PROGRAM, json.dumps(known), json.dumps(environment)]
    ended = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return list(json.loads(ended.stdout))


def test_a_node_without_buckets_of_clouds_loads_nothing() -> None:
    assert loaded([("ais", "")], {"HOME": "/nonexistent"}) == []


def test_what_known_buckets_and_accounts_need_is_loaded() -> None:
    assert loaded([("aws", "")], {}) == ["botocore.session"]
    assert loaded([], {"AWS_ENDPOINT_URL": "http://a"}) == ["botocore.session"]
    assert loaded([], {"AWS_ENDPOINT_URL_S3": "http://a"}) == ["botocore.session"]
    assert loaded([], {"AWS_ROLE_ARN": "arn:x"}) == ["botocore.session"]
    assert loaded([("aws", "@other"), ("ais", "@other")], {}) == ["aisle.backends.remote_ais"]


def test_a_file_of_an_account_counts_as_one(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\n")
    assert loaded([], {"HOME": str(tmp_path)}) == ["botocore.session"]
