"""Libraries of clouds, loaded in a thread right after the start and not in the middle of serving.

Amazon's takes a third of a second to load. A node that has no buckets of a cloud and no account for it loads
nothing.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Final

from aisle.backends.settings import REQUIREMENTS, found_settings
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

_log = logging.getLogger(__name__)


async def preload(known: Iterable[BucketInfo | None], environment: Mapping[str, str]) -> None:
    """Load what the known buckets need, and the accounts that `environment` and files tell of."""
    providers = {_provider(info) for info in known if info is not None and info.remote is not None}
    await asyncio.to_thread(_load, providers, environment)


def _provider(info: BucketInfo) -> str:
    remote = info.remote
    assert remote is not None
    return "@" if remote.namespace.startswith("@") else remote.provider


def _load(providers: set[str], environment: Mapping[str, str]) -> None:
    configured = {name for name, needs in REQUIREMENTS.items() if found_settings(needs, environment).settings}
    for provider in sorted(providers | configured):
        for name in _MODULES.get(provider, ()):
            # What is missing is told to whoever asks for a bucket.
            with suppress(ImportError):
                import_module(name)
        _log.debug("loaded what buckets of %s need", provider)
