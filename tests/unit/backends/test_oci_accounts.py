"""Which identity, region and endpoint an account of Oracle's has."""

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from aisle.backends import registry
from aisle.backends.oci import OciAccount, OciProvider
from aisle.backends.oci_accounts import open_account
from aisle.backends.registry import Account
from aisle.errors import SourceDenied, Unsupported
from aisle.model.bucket import Extra, OciProperties
from aisle.transfer.exchange import Exchanges

pytest.importorskip("oci", reason="Oracle's library is not installed: pip install '.[oci]'")

NO_EXCHANGES = cast("Exchanges", None)
USER = "user=ocid1.user.oc1..u\nfingerprint=aa:bb\ntenancy=ocid1.tenancy.oc1..t\nregion=us-phoenix-1\n"


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def pem(private_key: rsa.RSAPrivateKey) -> str:
    return private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def config(tmp_path: Path, pem: str, private_key: rsa.RSAPrivateKey) -> Path:
    secret = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"phrase"))
    (tmp_path / "plain.pem").write_text(pem)
    (tmp_path / "secret.pem").write_bytes(secret)
    (tmp_path / "token").write_text("a.session.token\n")
    (tmp_path / "config").write_text(
        f"[DEFAULT]\n{USER}key_file={tmp_path}/plain.pem\n"
        f"[locked]\nregion=eu-paris-1\nkey_file={tmp_path}/secret.pem\npass_phrase=phrase\n"
        f"[forgotten]\nkey_file={tmp_path}/secret.pem\n"
        f"[session]\nsecurity_token_file={tmp_path}/token\n"
        f"[nowhere]\nkey_file={tmp_path}/none.pem\n"
    )
    return tmp_path / "config"


def opened(environment: dict[str, str], **properties: Any) -> OciAccount:
    provider = open_account(
        Account("oci", extra=Extra(oci=OciProperties(**properties))), NO_EXCHANGES, environment
    )
    assert isinstance(provider, OciProvider)
    return provider.account


def who(environment: dict[str, str], **properties: Any) -> tuple[str, str]:
    """Key id and region of the identity that an account has; its key is the fixture's."""
    identity = asyncio.run(_identity(opened(environment, **properties)))
    return identity.key.key_id, identity.region


async def _identity(account: OciAccount) -> Any:
    return await account.identity()


def test_a_configuration_file_and_its_profiles(config: Path, private_key: rsa.RSAPrivateKey) -> None:
    told = {"OCI_CLI_CONFIG_FILE": str(config)}
    user = "ocid1.tenancy.oc1..t/ocid1.user.oc1..u/aa:bb"
    assert who(told) == (user, "us-phoenix-1")
    assert who({**told, "OCI_CLI_PROFILE": "locked"}) == (user, "eu-paris-1")
    assert who({**told, "OCI_CLI_PROFILE": "locked"}, profile="session") == (
        "ST$a.session.token",
        "us-phoenix-1",
    )
    identity = asyncio.run(_identity(opened({**told, "OCI_CLI_PROFILE": "locked"})))
    assert identity.key.private_key.private_numbers() == private_key.private_numbers()


def test_variables_go_before_the_file_and_properties_before_both(config: Path, pem: str) -> None:
    told = {"OCI_CLI_CONFIG_FILE": str(config), "OCI_REGION": "ap-tokyo-1", "OCI_USER_OCID": "other"}
    assert who(told) == ("ocid1.tenancy.oc1..t/other/aa:bb", "ap-tokyo-1")
    assert who(told, profile="locked")[1] == "eu-paris-1"
    assert opened(told, region="sa-bogota-1").region == "sa-bogota-1"
    whole = {
        "OCI_CLI_CONFIG_FILE": str(config.with_name("none")),
        "OCI_TENANCY_OCID": "t",
        "OCI_USER_OCID": "u",
        "OCI_FINGERPRINT": "f",
        "OCI_REGION": "r",
        "OCI_PRIVATE_KEY": pem,
    }
    assert who(whole) == ("t/u/f", "r")


def test_a_changed_file_is_noticed(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisle.backends.refreshed.REFRESH_S", 0.0)
    account = opened({"OCI_CLI_CONFIG_FILE": str(config)})

    def change() -> None:
        config.write_text(config.read_text().replace("aa:bb", "cc:dd"))

    async def scenario() -> None:
        before = await account.identity()
        change()
        after = await account.identity()
        assert (before.key.key_id[-5:], after.key.key_id[-5:]) == ("aa:bb", "cc:dd")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"OCI_CLI_CONFIG_FILE": "/nonexistent/config"}, "/nonexistent/config"),
        ({"OCI_CLI_PROFILE": "nobody"}, "nobody"),
        ({"OCI_CLI_PROFILE": "nowhere"}, "none.pem"),
        ({"OCI_CLI_PROFILE": "forgotten"}, "passphrase"),
        ({"OCI_PRIVATE_KEY": "garbage"}, "private key"),
        ({"OCI_PRIVATE_KEY": "EC"}, "RSA"),
    ],
)
def test_what_is_wrong_is_told(config: Path, changes: dict[str, str], message: str) -> None:
    if changes.get("OCI_PRIVATE_KEY") == "EC":
        curve = ec.generate_private_key(ec.SECP256R1())
        changes = {
            "OCI_PRIVATE_KEY": curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        }
    with pytest.raises(SourceDenied, match=message) as raised:
        who({"OCI_CLI_CONFIG_FILE": str(config), **changes})
    assert "garbage" not in str(raised.value)


def test_what_is_no_configuration_file_is_not_shown(config: Path, pem: str) -> None:
    config.write_text(pem)
    with pytest.raises(SourceDenied, match="no configuration file") as raised:
        who({"OCI_CLI_CONFIG_FILE": str(config)})
    assert "BEGIN" not in str(raised.value)


def test_what_is_missing_is_named_with_its_variable(config: Path) -> None:
    config.write_text("[DEFAULT]\nuser=u\nregion=r\n")
    with pytest.raises(SourceDenied, match=r"tenancy, key_file, fingerprint.*OCI_PRIVATE_KEY"):
        who({"OCI_CLI_CONFIG_FILE": str(config)})


def test_a_machine_that_is_no_instance_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(**_: object) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr("oci.auth.signers.InstancePrincipalsSecurityTokenSigner", silent)
    with pytest.raises(SourceDenied, match=r"OCI_INSTANCE_PRINCIPAL_AUTH.*nobody answers"):
        who({"OCI_INSTANCE_PRINCIPAL_AUTH": "true"})


def test_addresses(config: Path) -> None:
    account = opened({})
    assert account.service_url("objectstorage", "eu-paris-1") == (
        "https://objectstorage.eu-paris-1.oraclecloud.com"
    )
    assert account.service_url("identity", "us-langley-1").endswith(".oraclegovcloud.com")
    told = {"OCI_CLI_ENDPOINT": "https://{service}.{region}.example"}
    assert opened(told).service_url("identity", "r") == "https://identity.r.example"
    assert (opened({}).has_regions, opened(told).has_regions) == (True, True)
    mine = opened(told, endpoint="http://here:1")
    assert (mine.service_url("identity", "r"), mine.has_regions) == ("http://here:1", False)


def test_sizes(config: Path) -> None:
    usual = opened({})
    assert (usual.multipart_from_bytes, usual.part_bytes, usual.page_names_max) == (
        512 << 20,
        256 << 20,
        1000,
    )
    told = {
        "OCI_MULTI_PART_UPLOAD_THRESHOLD": "64MiB",
        "OCI_MAX_UPLOAD_SEGMENT_SIZE": "16777216",
        "OCI_MAX_PAGE_SIZE": "5000",
        "OCI_COMPARTMENT_OCID": "c",
    }
    account = opened(told)
    assert (account.multipart_from_bytes, account.part_bytes) == (64 << 20, 16 << 20)
    assert opened({"OCI_MULTI_PART_UPLOAD_THRESHOLD": "1TiB"}).multipart_from_bytes == 50 << 30
    assert (account.page_names_max, account.compartment) == (1000, "c")


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    with pytest.raises(Unsupported, match=r"pip install '\.\[oci\]"):
        opened({})


def test_a_node_without_credentials_does_not_import_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "oci" or name.startswith("oci.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SourceDenied, match=r"OCI_CLI_CONFIG_FILE.*OCI_PRIVATE_KEY"):
        who({"OCI_CLI_CONFIG_FILE": "/nonexistent/config"})
    assert "oci" not in sys.modules
