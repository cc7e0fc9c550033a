"""Which credentials, region and endpoint an account of S3 has."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from aisle.backends import registry
from aisle.backends.aws import AwsAccount, AwsKeys, AwsProvider
from aisle.backends.aws_accounts import open_account
from aisle.backends.aws_multipart import MULTIPART_BYTES
from aisle.backends.registry import Account
from aisle.errors import SourceDenied, Unsupported
from aisle.model.bucket import AwsProperties, Extra
from aisle.transfer.exchange import Exchanges

NO_EXCHANGES = cast("Exchanges", None)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in (
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "S3_ENDPOINT",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
    ):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id=one\naws_secret_access_key=first\n"
        "[other]\naws_access_key_id=two\naws_secret_access_key=second\naws_session_token=token\n"
    )
    (tmp_path / "config").write_text("[profile other]\nregion=eu-north-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def opened(environment: dict[str, str] | None = None, **properties: Any) -> AwsAccount:
    provider = open_account(
        Account("aws", extra=Extra(aws=AwsProperties(**properties))), NO_EXCHANGES, environment or {}
    )
    assert isinstance(provider, AwsProvider)
    return provider.account


def test_a_bucket_without_properties_has_what_the_environment_says() -> None:
    account = opened({"S3_ENDPOINT": "http://here:1", "AWS_ENDPOINT_URL": "http://there:2"})
    assert (account.endpoint, account.region) == ("http://here:1", "us-east-1")
    assert asyncio.run(account.keys()) == AwsKeys("one", "first")
    assert (account.multipart_bytes, account.page_keys_max) == (MULTIPART_BYTES, 1000)


def test_properties_of_a_bucket_go_first() -> None:
    account = opened(
        {"S3_ENDPOINT": "http://here:1"}, endpoint="http://mine:3", profile="other", max_pagesize=7
    )
    assert (account.endpoint, account.region, account.page_keys_max) == ("http://mine:3", "eu-north-1", 7)
    assert asyncio.run(account.keys()) == AwsKeys("two", "second", "token")
    assert opened({}, profile="other", cloud_region="us-west-2").region == "us-west-2"


@pytest.mark.parametrize(
    ("size", "parts"), [("-1", 0), ("0", MULTIPART_BYTES), ("16MiB", 16 << 20), (8 << 20, 8 << 20)]
)
def test_sizes_of_parts(size: str | int, parts: int) -> None:
    assert opened(multipart_size=size).multipart_bytes == parts


def test_an_account_without_credentials_is_anonymous(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert asyncio.run(opened().keys()) is None


def test_a_profile_that_does_not_exist_is_named() -> None:
    with pytest.raises(SourceDenied, match="nobody"):
        asyncio.run(opened(profile="nobody").keys())


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    with pytest.raises(Unsupported, match=r"pip install '\.\[aws\]"):
        opened()
