"""Accounts of Azure's storage: names, endpoints, keys, tokens.

What a bucket's properties say (`extra.azure`) goes before the environment. The names of variables are those
of Azure's command line and of AIStore (`AIS_AZURE_…`, ais-downloader-backends-s3.md §3.2). An account that
only properties name has variables of its own, which end in its name: `AZURE_STORAGE_KEY_MYACCOUNT`; what is
set for one account is never used for another. Tokens, which whoever sees them can use, are sent only to
where the environment says that the account is.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from aisle.backends.azure import AzureAccount, AzureProvider, BearerToken, Credential, SasToken, SharedKey
from aisle.backends.refreshed import Refreshed
from aisle.backends.registry import Account, require_extra
from aisle.backends.settings import AZURE_IDENTITY
from aisle.errors import SourceDenied, SourceUnreachable, Unsupported
from aisle.model.bucket import AzureProperties
from aisle.transfer.exchange import Exchanges

ACCOUNT: Final = "AZURE_STORAGE_ACCOUNT"
KEY: Final = "AZURE_STORAGE_KEY"
SAS_TOKEN: Final = "AZURE_STORAGE_SAS_TOKEN"  # noqa: S105 - a name
CONNECTION_STRING: Final = "AZURE_STORAGE_CONNECTION_STRING"
AUTH_MODE: Final = "AZURE_STORAGE_AUTH_MODE"
URL: Final = "AIS_AZURE_URL"
SCHEME: Final = "AIS_AZURE_PROTO"

DEFAULT_SUFFIX: Final = ".blob.core.windows.net"
REFUSED_S: Final = 10.0
_ERROR_CHARS_MAX: Final = 1000
_SCOPE: Final = "https://storage.azure.com/.default"


class Settings(NamedTuple):
    """What is known of an account."""

    account: str
    endpoint: str
    credential: SharedKey | SasToken | None
    has_identity: bool
    """Tokens are asked for, as there are neither key nor SAS token."""


def open_account(account: Account, exchanges: Exchanges, environment: Mapping[str, str]) -> AzureProvider:
    """The provider of an account; nothing is asked of it yet.

    Raises Unsupported for missing or unusable settings, and for a missing extra where tokens are wanted.
    """
    settings = settings_of(account.extra.azure or AzureProperties(), environment)
    credential: Callable[[], Awaitable[Credential | None]]
    if settings.has_identity:
        require_extra("azure", ["azure.identity"])
        credential = Refreshed(IdentityTokens().current).current
    else:
        credential = _always(settings.credential)
    return AzureProvider(AzureAccount(exchanges, credential, settings.endpoint))


def settings_of(properties: AzureProperties, environment: Mapping[str, str]) -> Settings:
    """What properties and environment say. Raises Unsupported, naming what is to be set."""
    told = _Told(properties, environment)
    endpoint = told.endpoint()
    if not endpoint:
        raise Unsupported(
            f"az://: no storage account: set {ACCOUNT} with {KEY} or {SAS_TOKEN}, or {CONNECTION_STRING}, "
            "or the bucket's property extra.azure.account"
        )
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise Unsupported(
            f"az://: the endpoint of the Blob service must be like https://HOST[:PORT][/PATH] ({URL}, "
            f"BlobEndpoint in {CONNECTION_STRING}, or the property extra.azure.endpoint)"
        )
    credential = told.credential()
    has_identity = credential is None and _has_identity(environment)
    if has_identity and parts.scheme != "https":
        raise Unsupported(f"az://: tokens of an identity go over https only, not to {endpoint}")
    if (has_identity or isinstance(credential, SasToken)) and not told.is_endpoint_of_environment():
        raise Unsupported(
            f"az://: tokens are not sent to {endpoint}, which a property names: name it as BlobEndpoint in "
            f"{CONNECTION_STRING}{told.suffix} instead of extra.azure.endpoint"
        )
    return Settings(told.account, endpoint, credential, has_identity)


class _Told:
    """The settings that count for one account."""

    def __init__(self, properties: AzureProperties, environment: Mapping[str, str]) -> None:
        self._properties = properties
        self._environment = environment
        members = parse_connection(environment.get(CONNECTION_STRING, ""))
        default = members.get("accountname") or environment.get(ACCOUNT, "")
        self.account = properties.account or default
        # A key without a name belongs to whichever account is named.
        self._is_default = not default or self.account == default
        self.suffix = "" if self._is_default else f"_{self.account.upper()}"
        """What the names of the account's own variables end in."""
        self._connection = members if self._is_default else parse_connection(self._read(CONNECTION_STRING))

    def _read(self, name: str) -> str:
        return self._environment.get(f"{name}{self.suffix}", "").strip()

    def endpoint(self) -> str:
        """URL of the account's Blob service; empty where no account is named either."""
        return self._properties.endpoint.rstrip("/") or self._endpoint_of_environment()

    def is_endpoint_of_environment(self) -> bool:
        """Whether the environment, too, says that the account is there."""
        return self.endpoint() == self._endpoint_of_environment()

    def _endpoint_of_environment(self) -> str:
        connection, url = self._connection, self._environment.get(URL, "").strip()
        if connection.get("blobendpoint"):
            return connection["blobendpoint"].rstrip("/")
        is_suffix = not url.lower().startswith(("http://", "https://"))
        if url and not is_suffix and self._is_default:
            return url.rstrip("/")
        if not self.account:
            return ""
        scheme = connection.get("defaultendpointsprotocol") or self._environment.get(SCHEME, "")
        suffix = f".blob.{connection['endpointsuffix']}" if connection.get("endpointsuffix") else ""
        suffix = suffix or (f".{url.strip('./')}" if url and is_suffix else DEFAULT_SUFFIX)
        return f"{scheme.partition(':')[0] or 'https'}://{self.account}{suffix}"

    def credential(self) -> SharedKey | SasToken | None:
        """The key, else the SAS token, of the connection string, else of variables of their own."""
        pairs = (
            (self._connection.get("accountkey", ""), self._connection.get("sharedaccesssignature", "")),
            (self._read(KEY), self._read(SAS_TOKEN)),
        )
        for key, token in pairs:
            if key:
                return SharedKey(self._named(), _key_bytes(key))
            if token:
                return SasToken(_sas_query(token))
        return None

    def _named(self) -> str:
        if not self.account:
            raise Unsupported(f"az://: a key needs the name of its account: set {ACCOUNT}")
        return self.account


def parse_connection(text: str) -> dict[str, str]:
    """The members of a connection string, names in lower case. Raises Unsupported for anything else."""
    members = {}
    for member in filter(None, (part.strip() for part in text.split(";"))):
        name, separator, value = member.partition("=")
        if not separator:
            # It may hold a key: none of it is shown.
            raise Unsupported(f"az://: {CONNECTION_STRING} is not of the form NAME=VALUE;NAME=VALUE")
        members[name.strip().lower()] = value.strip()
    return members


class IdentityTokens:
    """Tokens of the identity that Microsoft's library finds: of a service, a machine, or a logged-in user."""

    def __init__(self, *, now_s: Callable[[], float] = monotonic) -> None:
        self._now_s = now_s
        self._source: Any = None
        self._refused = ""
        self._refused_until_s = 0.0

    def current(self) -> BearerToken:
        """A token that is valid now; blocks. Raises SourceDenied, SourceUnreachable.

        The library tries all kinds of identities in turn, which may take seconds: where it found none, it
        is left alone for a while.
        """
        if self._refused and self._now_s() < self._refused_until_s:
            raise SourceDenied(self._refused)
        # Imported here, in a thread: it takes a quarter of a second.
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.identity import DefaultAzureCredential

        try:
            if self._source is None:
                self._source = DefaultAzureCredential()
            # The library keeps tokens, and asks for another in good time.
            return BearerToken(self._source.get_token(_SCOPE).token)
        except ClientAuthenticationError as error:
            attempts = " ".join(str(error).split())[:_ERROR_CHARS_MAX]
            self._refused = f"no token of an Azure identity: {attempts}"
            self._refused_until_s = self._now_s() + REFUSED_S
            raise SourceDenied(self._refused) from error
        except (AzureError, ValueError) as error:
            raise SourceUnreachable(f"no token of an Azure identity: {error}") from error


def _has_identity(environment: Mapping[str, str]) -> bool:
    mode = environment.get(AUTH_MODE, "").strip().lower()
    return mode == "login" or any(environment.get(name) for name in AZURE_IDENTITY)


def _key_bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError) as error:
        raise Unsupported(f"az://: the account's key ({KEY}) is no base64 text") from error


def _sas_query(text: str) -> str:
    query = text.lstrip("?&")
    if not query.isascii() or not query.isprintable() or " " in query or "sig=" not in query:
        raise Unsupported(f"az://: {SAS_TOKEN} is no shared access signature (sv=…&sig=…)")
    return query


def _always(credential: Credential | None) -> Callable[[], Awaitable[Credential | None]]:
    async def current() -> Credential | None:
        return credential

    return current
