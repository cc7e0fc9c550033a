"""What tells that a provider's account is configured."""

from pathlib import Path

import pytest

from aisle.backends.settings import REQUIREMENTS, found_settings


@pytest.mark.parametrize(
    ("provider", "variable"),
    [
        ("azure", "AZURE_CLIENT_ID"),
        ("azure", "AZURE_TENANT_ID"),
        ("azure", "IDENTITY_ENDPOINT"),
        ("gcp", "K_SERVICE"),
        ("gcp", "GCE_METADATA_HOST"),
        ("aws", "AWS_ROLE_ARN"),
    ],
)
def test_an_identity_that_the_node_would_use_is_seen(provider: str, variable: str, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), variable: "x"}
    assert found_settings(REQUIREMENTS[provider], environment).settings == [variable]


def test_the_folder_of_googles_tools_may_be_elsewhere(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path / "g")}
    assert found_settings(REQUIREMENTS["gcp"], environment).settings == []
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "application_default_credentials.json").write_text("{}")
    assert found_settings(REQUIREMENTS["gcp"], environment).settings == ["CLOUDSDK_CONFIG"]


def test_files_are_named_by_where_they_usually_are(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\n")
    environment = {"HOME": str(tmp_path)}
    assert found_settings(REQUIREMENTS["aws"], environment).settings == ["~/.aws/config"]
