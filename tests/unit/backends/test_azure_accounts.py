"""Which account, endpoint and credentials a container of Azure has."""

import asyncio
from base64 import b64encode
from types import SimpleNamespace
from typing import Any, cast

import azure.identity
import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from aisle.backends import registry
from aisle.backends.azure import AzureAccount, BearerToken, SasToken, SharedKey
from aisle.backends.azure_accounts import REFUSED_S, IdentityTokens, open_account, parse_connection
from aisle.backends.registry import Account
from aisle.errors import BadRequest, SourceDenied, SourceUnreachable, Unsupported
from aisle.model.bucket import AzureProperties, BucketProperties, Extra, changed, encode_properties
from aisle.transfer.exchange import Exchanges

NO_EXCHANGES = cast("Exchanges", None)
KEY = b64encode(b"secret").decode()
ACCOUNT = {"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_KEY": KEY}
CONNECTION = (
    f"DefaultEndpointsProtocol=https;AccountName=mine;AccountKey={KEY};EndpointSuffix=core.windows.net"
)
SAS = "sv=2021&sp=rl&sig=a%2Bb"


def opened(environment: dict[str, str], **properties: Any) -> AzureAccount:
    extra = Extra(azure=AzureProperties(**properties)) if properties else Extra()
    return open_account(Account("azure", extra=extra), NO_EXCHANGES, environment).account


def credential(environment: dict[str, str], **properties: Any) -> object:
    return asyncio.run(opened(environment, **properties).credential())


@pytest.mark.parametrize(
    ("more", "endpoint"),
    [
        ({}, "https://mine.blob.core.windows.net"),
        ({"AIS_AZURE_URL": "http://127.0.0.1:10000/mine/"}, "http://127.0.0.1:10000/mine"),
        ({"AIS_AZURE_URL": ".blob.core.chinacloudapi.cn"}, "https://mine.blob.core.chinacloudapi.cn"),
        ({"AIS_AZURE_URL": "blob.local", "AIS_AZURE_PROTO": "http://"}, "http://mine.blob.local"),
        ({"AIS_AZURE_PROTO": "http"}, "http://mine.blob.core.windows.net"),
        ({"AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=http://here:1/mine/"}, "http://here:1/mine"),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=mine;EndpointSuffix=core.cloud.example"},
            "https://mine.blob.core.cloud.example",
        ),
    ],
)
def test_endpoints_are_found_as_azures_tools_and_aistore_do(more: dict[str, str], endpoint: str) -> None:
    assert opened({**ACCOUNT, **more}).endpoint == endpoint


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (ACCOUNT, SharedKey("mine", b"secret")),
        ({"AZURE_STORAGE_CONNECTION_STRING": CONNECTION}, SharedKey("mine", b"secret")),
        ({"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_SAS_TOKEN": f"?{SAS}"}, SasToken(SAS)),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint=https://x/;SharedAccessSignature={SAS}"},
            SasToken(SAS),
        ),
        ({**ACCOUNT, "AZURE_STORAGE_SAS_TOKEN": SAS}, SharedKey("mine", b"secret")),
        # Azure's command line takes what stands in the connection string first, too.
        (
            {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION, "AZURE_STORAGE_KEY": "b3RoZXI="},
            SharedKey("mine", b"secret"),
        ),
        ({"AZURE_STORAGE_ACCOUNT": "mine"}, None),
        ({"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_AUTH_MODE": "key"}, None),
    ],
)
def test_credentials_of_the_environment(environment: dict[str, str], expected: object) -> None:
    assert credential(environment) == expected


def test_properties_go_first_and_what_is_set_for_one_account_is_never_anothers() -> None:
    assert opened(ACCOUNT, endpoint="http://there:2/mine/").endpoint == "http://there:2/mine"
    assert credential(ACCOUNT, account="mine") == SharedKey("mine", b"secret")
    assert credential(ACCOUNT, account="other") is None
    url = {"AIS_AZURE_URL": "http://127.0.0.1:10000/mine"}
    assert opened({**ACCOUNT, **url}, account="other").endpoint == "https://other.blob.core.windows.net"
    assert credential({"AZURE_STORAGE_CONNECTION_STRING": CONNECTION}, account="other") is None
    theirs = {"AZURE_STORAGE_KEY_OTHER": b64encode(b"theirs").decode()}
    assert credential({**ACCOUNT, **theirs}, account="other") == SharedKey("other", b"theirs")
    assert credential({**ACCOUNT, "AZURE_STORAGE_SAS_TOKEN_OTHER": SAS}, account="other") == SasToken(SAS)
    connection = {"AZURE_STORAGE_CONNECTION_STRING_OTHER": "BlobEndpoint=http://o:3/other"}
    assert opened({**ACCOUNT, **connection}, account="other").endpoint == "http://o:3/other"
    # A key that names no account is for whichever the properties name.
    assert credential({"AZURE_STORAGE_KEY": KEY}, account="other") == SharedKey("other", b"secret")


@pytest.mark.parametrize(
    "environment",
    [
        {"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_SAS_TOKEN": SAS},
        {"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_AUTH_MODE": "login"},
    ],
)
def test_tokens_go_only_to_where_the_environment_says_that_the_account_is(
    environment: dict[str, str],
) -> None:
    with pytest.raises(Unsupported, match="BlobEndpoint") as raised:
        opened(environment, endpoint="https://evil.example")
    assert SAS not in str(raised.value)
    opened(environment, endpoint="https://mine.blob.core.windows.net/")
    assert credential(ACCOUNT, endpoint="https://other.example") == SharedKey("mine", b"secret")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "AZURE_STORAGE_ACCOUNT"),
        ({"AZURE_STORAGE_KEY": KEY}, "AZURE_STORAGE_ACCOUNT"),
        ({"AZURE_STORAGE_KEY": KEY, "AIS_AZURE_URL": "http://here:1"}, "AZURE_STORAGE_ACCOUNT"),
        ({"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_KEY": "no base64!"}, "AZURE_STORAGE_KEY"),
        ({"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_SAS_TOKEN": "no token"}, "AZURE_STORAGE_SAS_TOKEN"),
        (
            {"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_SAS_TOKEN": "sig=a\r\nb"},
            "AZURE_STORAGE_SAS_TOKEN",
        ),
        ({"AZURE_STORAGE_CONNECTION_STRING": "nothing"}, "AZURE_STORAGE_CONNECTION_STRING"),
        ({**ACCOUNT, "AIS_AZURE_URL": "http://"}, "AIS_AZURE_URL"),
        ({**ACCOUNT, "AIS_AZURE_URL": "https://user:password@here/"}, "AIS_AZURE_URL"),
    ],
)
def test_what_cannot_be_used_is_named_and_secrets_are_not_shown(
    environment: dict[str, str], words: str
) -> None:
    with pytest.raises(Unsupported, match=words) as raised:
        opened(environment)
    for value in environment.values():
        assert len(value) < 8 or value not in str(raised.value)


def test_connection_strings_keep_what_stands_behind_the_first_equals_sign() -> None:
    assert parse_connection(" AccountKey = YQ==; accountName=a;; ") == {
        "accountkey": "YQ==",
        "accountname": "a",
    }


def test_tokens_are_asked_for_where_the_node_has_an_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Known:
        def get_token(self, scope: str) -> SimpleNamespace:
            asked.append(scope)
            return SimpleNamespace(token="t")

    monkeypatch.setattr(azure.identity, "DefaultAzureCredential", Known)
    for more in ({"AZURE_STORAGE_AUTH_MODE": "login"}, {"AZURE_CLIENT_ID": "x"}, {"IDENTITY_ENDPOINT": "x"}):
        assert credential({"AZURE_STORAGE_ACCOUNT": "mine", **more}) == BearerToken("t")
    assert asked == ["https://storage.azure.com/.default"] * 3
    assert credential({**ACCOUNT, "AZURE_CLIENT_ID": "x"}) == SharedKey("mine", b"secret")
    with pytest.raises(Unsupported, match="https only"):
        opened({"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_CLIENT_ID": "x", "AIS_AZURE_PROTO": "http"})


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ClientAuthenticationError("nobody is logged in"), SourceDenied),
        (ServiceRequestError("no route"), SourceUnreachable),
        (ValueError("a tenant that is none"), SourceUnreachable),
    ],
)
def test_a_token_that_is_not_to_be_had_is_told(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: type[Exception]
) -> None:
    class Failing:
        def get_token(self, _scope: str) -> None:
            raise failure

    monkeypatch.setattr(azure.identity, "DefaultAzureCredential", Failing)
    with pytest.raises(kind, match="Azure identity"):
        IdentityTokens().current()


def test_where_there_is_no_identity_it_is_not_looked_for_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Nobody:
        def get_token(self, scope: str) -> None:
            asked.append(scope)
            raise ClientAuthenticationError("nobody is logged in")

    monkeypatch.setattr(azure.identity, "DefaultAzureCredential", Nobody)
    now_s = 100.0
    tokens = IdentityTokens(now_s=lambda: now_s)
    for now_s, times in ((100.0, 1), (100.0 + REFUSED_S / 2, 1), (100.0 + REFUSED_S, 2)):  # noqa: B007 - read by the clock
        with pytest.raises(SourceDenied, match="nobody is logged in"):
            tokens.current()
        assert len(asked) == times


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    with pytest.raises(Unsupported, match=r"pip install '\.\[azure\]"):
        opened({"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_AUTH_MODE": "login"})
    # Keys and SAS tokens need nothing of it.
    assert credential(ACCOUNT) == SharedKey("mine", b"secret")


def test_a_module_whose_package_is_missing_is_missing() -> None:
    with pytest.raises(Unsupported, match="nothing_like_it"):
        registry.require_extra("azure", ["nothing_like_it.identity"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"account": "No"},
        {"account": "a/../b"},
        {"endpoint": "a.b/c"},
        {"endpoint": "file:///etc"},
        {"endpoint": "https://"},
        {"endpoint": "https://user:password@a/"},
        {"endpoint": "https://a/?sig=secret"},
        {"endpoint": "https://a b/"},
        {"endpoint": "https://a/\r\nb"},
        {"unknown": "x"},
    ],
)
def test_properties_that_lead_nowhere_or_hold_secrets_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(BadRequest) as raised:
        changed(BucketProperties(provider="azure"), {"extra": {"azure": wrong}})
    assert "secret" not in str(raised.value)
    assert "password@" not in str(raised.value)


def test_properties_are_shown_only_where_there_are_some() -> None:
    own = BucketProperties(provider="azure")
    assert b'"azure":{' not in encode_properties(own)
    named = changed(own, {"extra": {"azure": {"account": "other"}}})
    assert b'"azure":{"account":"other"}' in encode_properties(named)
