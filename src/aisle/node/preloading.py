"""Libraries of clouds, loaded in a thread right after the start and not in the middle of serving.

Amazon's takes a third of a second to load. A node that has no buckets of a cloud and no account for it loads
nothing.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Final

from aisle.model.bucket import BucketInfo

_MODULES: Final = {
    "aws": ("aisle.backends.aws_accounts", "botocore.session", "botocore.client"),
    "azure": ("aisle.backends.azure_accounts",),
    "gcp": ("aisle.backends.gcp_accounts", "google.auth.transport.requests", "google.oauth2.service_account"),
    "ht": ("aisle.backends.http_dataset",),
    "oci": ("aisle.backends.oci_accounts",),
    "@": ("aisle.backends.remote_ais",),
}
"""By provider; `@` for whatever is reached through another cluster. Libraries may be missing."""
_AWS_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL", "S3_ENDPOINT")

_log = logging.getLogger(__name__)


async def preload(
    known: Iterable[BucketInfo | None], environment: Mapping[str, str], *, home: Path | None = None
) -> None:
    """Load what the known buckets need, and the accounts that `environment` and `home` tell of."""
    providers = {_provider(info) for info in known if info is not None and info.remote is not None}
    home = home or Path(environment.get("HOME", "/nonexistent"))
    has_account = any(environment.get(name) for name in _AWS_VARIABLES)
    if has_account or (home / ".aws" / "credentials").exists():
        providers.add("aws")
    if providers:
        await asyncio.to_thread(_load, sorted(providers))


def _provider(info: BucketInfo) -> str:
    remote = info.remote
    assert remote is not None
    return "@" if remote.namespace.startswith("@") else remote.provider


def _load(providers: Iterable[str]) -> None:
    for provider in providers:
        for name in _MODULES.get(provider, ()):
            # What is missing is told to whoever asks for a bucket.
            with suppress(ImportError):
                import_module(name)
        _log.debug("loaded what buckets of %s need", provider)
