"""Which credentials, project and endpoint an account of Google's storage has."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aisle.backends import gcp_accounts, registry
from aisle.backends.gcp import ENDPOINT, GcpProvider
from aisle.backends.gcp_accounts import find_credentials, open_account
from aisle.backends.registry import Account
from aisle.errors import SourceDenied, Unsupported
from aisle.model.bucket import AwsProperties, Extra, GcpProperties, OciProperties
from aisle.node import providers
from aisle.transfer.exchange import Exchanges

USER = {
    "type": "authorized_user",
    "client_id": "client",
    "client_secret": "very secret",
    "refresh_token": "very secret, too",
}


def opened(own_file: str = "", **environment: str) -> GcpProvider:
    extra = Extra(gcp=GcpProperties(own_file))
    return open_account(Account("gcp", extra=extra), cast("Exchanges", None), environment)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    with pytest.raises(Unsupported, match=r"pip install '\.\[gcp\]'"):
        opened()


@pytest.mark.parametrize(
    ("emulator", "endpoint"),
    [
        ("", ENDPOINT),
        ("127.0.0.1:4443", "http://127.0.0.1:4443"),
        ("http://127.0.0.1:4443/", "http://127.0.0.1:4443"),
        ("https://storage.internal", "https://storage.internal"),
    ],
)
def test_an_emulator_takes_the_place_of_google(emulator: str, endpoint: str) -> None:
    assert opened(STORAGE_EMULATOR_HOST=emulator).account.endpoint == endpoint


def test_an_emulator_is_not_shown_credentials_that_are_valid_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "user.json"
    path.write_text(json.dumps(USER))
    emulated = {"STORAGE_EMULATOR_HOST": "h", "GOOGLE_APPLICATION_CREDENTIALS": str(path)}

    def credentials_of(provider: GcpProvider) -> Any:
        return cast("Any", provider.account.identity)._find().credentials

    assert credentials_of(opened(**emulated)) is None
    assert credentials_of(opened(str(path), **emulated)) is not None
    assert credentials_of(opened(GOOGLE_APPLICATION_CREDENTIALS=str(path))) is not None


def test_a_file_that_is_named_goes_before_that_of_googles_tools(tmp_path: Path) -> None:
    for name in ("own", "named", "application_default_credentials"):
        (tmp_path / f"{name}.json").write_text(json.dumps({**USER, "client_id": name}))
    environment = {"CLOUDSDK_CONFIG": str(tmp_path)}
    assert find_credentials("", environment).credentials.client_id == "application_default_credentials"
    environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(tmp_path / "named.json")
    assert find_credentials("", environment).credentials.client_id == "named"
    assert find_credentials(str(tmp_path / "own.json"), environment).credentials.client_id == "own"
    environment["GOOGLE_CLOUD_QUOTA_PROJECT"] = "payer"
    assert find_credentials("", environment).credentials.quota_project_id == "payer"


def test_the_home_folder_has_the_file_of_googles_tools(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    (folder / "application_default_credentials.json").write_text(json.dumps(USER))
    assert find_credentials("", {"HOME": str(tmp_path)}).credentials is not None


@pytest.mark.parametrize(
    "content",
    ["", "[]", "5", '{"type": "service_account", "private_key": "very secret"}', '{"type": 5}', "\ud800"],
)
def test_what_is_no_credentials_file_is_told_without_its_content(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(SourceDenied, match="no Google credentials") as raised:
        find_credentials(str(path), {})
    assert "very secret" not in str(raised.value)
    assert raised.value.__cause__ is None
    with pytest.raises(SourceDenied, match="Is a directory"):
        find_credentials(str(tmp_path), {})


@pytest.mark.parametrize(
    ("product", "is_there"), [("Google Compute Engine\n", True), ("Google\n", True), ("Other\n", False)]
)
def test_googles_machines_are_known_by_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: str, is_there: bool
) -> None:
    (tmp_path / "product_name").write_text(product)
    monkeypatch.setattr(gcp_accounts, "_MACHINE_FILE", str(tmp_path / "product_name"))
    found = find_credentials("", {"CLOUDSDK_CONFIG": str(tmp_path)})
    assert (found.credentials is not None) == is_there


@pytest.mark.parametrize("path", ["key.json", "/a/../key.json", "/a//key.json", "/a/./b", "/a/"])
def test_a_file_is_named_by_its_plain_path(path: str) -> None:
    assert list(GcpProperties(path).mistakes())
    assert not list(GcpProperties("/etc/aisle/key.json").mistakes())


@pytest.mark.parametrize(
    ("provider", "extra", "named"),
    [
        ("gcp", Extra(gcp=GcpProperties("/etc/passwd")), "extra.gcp.application_creds"),
        ("aws", Extra(aws=AwsProperties(profile="production")), "extra.aws.profile"),
        ("oci", Extra(oci=OciProperties(profile="production")), "extra.oci.profile"),
    ],
)
def test_where_anybody_sets_properties_nobody_chooses_among_credentials(
    provider: str, extra: Extra, named: str
) -> None:
    boot = cast(
        "Any", SimpleNamespace(is_loopback_only=False, config=SimpleNamespace(asks_for_credentials=False))
    )
    with pytest.raises(Unsupported, match=named):
        getattr(providers, f"_open_{provider}")(boot, Account(provider, extra=extra))
