"""Accounts of S3: credentials, profiles, regions and endpoints, as Amazon's library finds them.

What a bucket's properties say (`extra.aws`) goes before the environment and the files of Amazon's
tools. The library is asked in threads: credentials may come from a service of the machine.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from aisle.backends.aws import PAGE_KEYS_MAX, AwsAccount, AwsKeys, AwsProvider
from aisle.backends.aws_multipart import MULTIPART_BYTES
from aisle.backends.refreshed import Refreshed
from aisle.backends.registry import Account, require_extra
from aisle.errors import SourceDenied
from aisle.model.bucket import AwsProperties
from aisle.model.quantities import size_bytes
from aisle.transfer.exchange import Exchanges

if TYPE_CHECKING:
    from botocore.session import Session

DEFAULT_REGION: Final = "us-east-1"
_ENDPOINT_VARIABLES: Final = ("S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def open_account(account: Account, exchanges: Exchanges, environment: Mapping[str, str]) -> AwsProvider:
    """The provider of an account; nothing is asked of it yet. Raises Unsupported without the extra."""
    require_extra("aws", ["botocore"])
    from botocore.session import Session

    properties = account.extra.aws
    session = Session(profile=properties.profile or None)
    named = [environment[name] for name in _ENDPOINT_VARIABLES if environment.get(name)]
    return AwsProvider(
        AwsAccount(
            exchanges,
            Refreshed(SessionKeys(session, properties.profile).ask).current,
            endpoint=properties.endpoint or (named[0] if named else ""),
            region=properties.cloud_region or _region(session),
            multipart_bytes=_multipart_bytes(properties),
            page_keys_max=properties.max_pagesize or PAGE_KEYS_MAX,
        )
    )


class SessionKeys:
    """The credentials of a session of Amazon's library."""

    def __init__(self, session: "Session", profile: str) -> None:
        self._session = session
        self._profile = profile

    def ask(self) -> AwsKeys | None:
        """The credentials now; None where there are none. Raises SourceDenied if they cannot be had."""
        from botocore.exceptions import BotoCoreError

        try:
            found: Any = self._session.get_credentials()
            if found is None:
                return None
            frozen = found.get_frozen_credentials()
        except BotoCoreError as error:
            where = f"profile {self._profile}: " if self._profile else ""
            raise SourceDenied(f"no AWS credentials: {where}{error}") from error
        return AwsKeys(frozen.access_key, frozen.secret_key, frozen.token or "")


def _region(session: "Session") -> str:
    from botocore.exceptions import ProfileNotFound

    try:
        region = session.get_config_variable("region")
    except ProfileNotFound:
        region = None  # told with the credentials, where it matters
    return str(region or DEFAULT_REGION)


def _multipart_bytes(properties: AwsProperties) -> int:
    """From which size on objects are written in parts: -1 in the properties means never."""
    text = str(properties.multipart_size).strip()
    if text == "-1":
        return 0
    return size_bytes(text or "0") or MULTIPART_BYTES
