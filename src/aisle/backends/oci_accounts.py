"""Accounts of Oracle's cloud: keys, tokens, regions and addresses, as Oracle's library finds them.

What a bucket's properties say (`extra.oci`) goes before the environment, and that before the
configuration file of Oracle's tools. The names of variables are AIStore's. The library is large: it is
imported, and asked, in threads, so that nobody waits who does not want a bucket of Oracle's.
"""

import logging
from collections.abc import Callable, Mapping
from configparser import Error as ParsingError
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from aisle.backends.oci import PAGE_NAMES_MAX, OciAccount, OciIdentity, OciProvider
from aisle.backends.oci_multipart import MULTIPART_FROM_BYTES, PART_BYTES, WHOLE_BYTES_MAX
from aisle.backends.oci_signing import SigningKey
from aisle.backends.refreshed import Refreshed
from aisle.backends.registry import Account, require_extra
from aisle.errors import SourceDenied
from aisle.model.quantities import size_bytes
from aisle.transfer.exchange import Exchanges

CONFIG_FILE: Final = "~/.oci/config"
PROFILE: Final = "DEFAULT"
VARIABLES: Final = {
    "tenancy": "OCI_TENANCY_OCID",
    "user": "OCI_USER_OCID",
    "fingerprint": "OCI_FINGERPRINT",
    "region": "OCI_REGION",
    "key_content": "OCI_PRIVATE_KEY",
}
"""Where members of a profile may come from instead of the configuration file."""
ATTEMPTS_MAX: Final = 3
PATIENCE_S: Final = 20
"""How often, and how long, the services that say who an instance is are asked."""
_LIBRARY_NAMES: Final = {"objectstorage": "object_storage", "identity": "identity"}
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


def open_account(account: Account, exchanges: Exchanges, environment: Mapping[str, str]) -> OciProvider:
    """The provider of an account; nothing is asked of it yet. Raises Unsupported without the extra."""
    require_extra("oci", ["oci"])
    logging.getLogger("oci").setLevel(logging.WARNING)  # it tells every process how it was set up
    properties = account.extra.oci
    ask: Callable[[], OciIdentity]
    if environment.get("OCI_INSTANCE_PRINCIPAL_AUTH", "").lower() in _TRUE and not properties.profile:
        ask = InstancePrincipal().identity
    else:
        ask = ConfiguredUser(environment, properties.profile).identity
    endpoint = properties.endpoint or environment.get("OCI_CLI_ENDPOINT", "")
    return OciProvider(
        OciAccount(
            exchanges,
            Refreshed(ask).current,
            endpoint_of(endpoint),
            region=properties.region,
            compartment=environment.get("OCI_COMPARTMENT_OCID", ""),
            has_regions=not endpoint or "{region}" in endpoint,
            multipart_from_bytes=min(
                _bytes(environment, "OCI_MULTI_PART_UPLOAD_THRESHOLD", MULTIPART_FROM_BYTES), WHOLE_BYTES_MAX
            ),
            part_bytes=_bytes(environment, "OCI_MAX_UPLOAD_SEGMENT_SIZE", PART_BYTES),
            page_names_max=min(_bytes(environment, "OCI_MAX_PAGE_SIZE", PAGE_NAMES_MAX), PAGE_NAMES_MAX),
        )
    )


def endpoint_of(endpoint: str) -> Callable[[str, str], str]:
    """What gives the URL of a service in a region.

    An `endpoint` is used for all of them; `{service}` and `{region}` in it are filled in. Without one,
    Oracle's library knows.
    """

    @cache
    def url(service: str, region: str) -> str:
        if endpoint:
            return endpoint.replace("{service}", service).replace("{region}", region)
        from oci.regions import endpoint_for

        return str(endpoint_for(_LIBRARY_NAMES[service], region))

    return url


class ConfiguredUser:
    """A user with a key of an API, or a session with a token, as configured."""

    def __init__(self, environment: Mapping[str, str], profile: str) -> None:
        """With a `profile` the environment's members of one do not count."""
        self._file = environment.get("OCI_CLI_CONFIG_FILE") or CONFIG_FILE
        self._profile = profile or environment.get("OCI_CLI_PROFILE") or PROFILE
        told = {member: environment.get(variable, "") for member, variable in VARIABLES.items()}
        self._told = {} if profile else {member: text for member, text in told.items() if text}

    def identity(self) -> OciIdentity:
        """Who that is now. Raises SourceDenied, naming what is missing."""
        if not self._has_file() and self._told.keys() != VARIABLES.keys():
            # Told without the library: a search for a bucket asks every account, configured or not.
            raise SourceDenied(
                f"no OCI credentials: there is no {self._file}; name one in OCI_CLI_CONFIG_FILE, set all of"
                f" {', '.join(VARIABLES.values())}, or OCI_INSTANCE_PRINCIPAL_AUTH=true on an instance"
            )
        from oci.exceptions import ClientError

        try:
            config = {**self._from_file(), **self._told}
            self._check(config)
            key = _signing_key(config)
        except ParsingError:
            # It quotes what stands in the file, which may be a key.
            raise SourceDenied(f"no OCI credentials: {self._file} is no configuration file") from None
        except (ClientError, ValueError, TypeError, OSError) as error:
            raise SourceDenied(f"no OCI credentials: {error}") from error
        return OciIdentity(key, config["tenancy"], config["region"])

    def _from_file(self) -> dict[str, Any]:
        """The profile's members; none without a file."""
        from oci.config import from_file

        return dict(from_file(self._file, self._profile)) if self._has_file() else {}

    def _has_file(self) -> bool:
        return Path(self._file).expanduser().is_file()

    def _check(self, config: Mapping[str, Any]) -> None:
        needed = {"tenancy": "tenancy", "region": "region", "key_content": "key_file"}
        if "security_token_file" not in config:
            needed |= {"user": "user", "fingerprint": "fingerprint"}
        missing = [
            member for member, other in needed.items() if not (config.get(member) or config.get(other))
        ]
        if missing:
            variables = ", ".join(VARIABLES[member] for member in missing)
            names = ", ".join(needed[member] for member in missing)
            raise ValueError(f"set {names} in profile {self._profile} of {self._file}, or {variables}")


class InstancePrincipal:
    """The instance of Oracle's cloud that the node runs on: it needs no configuration."""

    def __init__(self) -> None:
        self._signer: Any = None

    def identity(self) -> OciIdentity:
        """What the instance is now; its token is renewed in time. Raises SourceDenied if it has none."""
        from circuitbreaker import CircuitBreakerError
        from oci.auth.certificate_retriever import InvalidCertificateFromInstanceMetadataError
        from oci.auth.signers import InstancePrincipalsSecurityTokenSigner
        from oci.exceptions import ClientError, RequestException, ServiceError
        from oci.retry import RetryStrategyBuilder

        try:
            if self._signer is None:
                # The library's own patience, 3 minutes, is more than those have who wait for it.
                patience = RetryStrategyBuilder(
                    max_attempts=ATTEMPTS_MAX, total_elapsed_time_seconds=PATIENCE_S
                ).get_retry_strategy()
                self._signer = InstancePrincipalsSecurityTokenSigner(
                    retry_strategy=patience, federation_client_retry_strategy=patience
                )
            token = self._signer.federation_client.get_security_token()
            private_key = self._signer.session_key_supplier.get_key_pair()["private"]
        except (
            *(ClientError, RequestException, ServiceError, CircuitBreakerError),
            *(InvalidCertificateFromInstanceMetadataError, RuntimeError, ValueError, OSError),
        ) as error:
            raise SourceDenied(
                "no OCI credentials: this machine gives no instance principal; unset"
                f" OCI_INSTANCE_PRINCIPAL_AUTH to use {CONFIG_FILE}: {error}"
            ) from error
        return OciIdentity(
            SigningKey(f"ST${token}", private_key), self._signer.tenancy_id, self._signer.region
        )


def _signing_key(config: Mapping[str, Any]) -> SigningKey:
    from oci.signer import load_private_key, load_private_key_from_file

    phrase = config.get("pass_phrase")
    if config.get("key_content"):
        private_key = load_private_key(config["key_content"], phrase)
    else:
        private_key = load_private_key_from_file(config["key_file"], phrase)
    if not isinstance(private_key, RSAPrivateKey):
        raise ValueError("OCI signs with RSA keys only")
    if config.get("security_token_file"):
        token = Path(config["security_token_file"]).expanduser().read_text("ascii").strip()
        return SigningKey(f"ST${token}", private_key)
    return SigningKey(f"{config['tenancy']}/{config['user']}/{config['fingerprint']}", private_key)


def _bytes(environment: Mapping[str, str], variable: str, default: int) -> int:
    return size_bytes(environment.get(variable) or "0") or default
