"""The remote backends of a node: with `opening` and `wiring`, where implementations are named.

A provider's module is imported when its first bucket is asked for, so that a node without remote
buckets loads none of them.
"""

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from aisle.backends.provider import BackendProvider
from aisle.backends.registry import Account, Factory, Providers
from aisle.cluster.store import MetadataStore
from aisle.node.boot import Boot

if TYPE_CHECKING:
    from aisle.transfer.exchange import Exchanges


def open_providers(boot: Boot, store: MetadataStore) -> Providers:
    """All backends that this node can use, for one process."""
    return Providers(_factories(boot, store))


def _factories(boot: Boot, store: MetadataStore) -> Mapping[str, Factory]:  # noqa: ARG001
    """By provider; `@` for whatever is reached through another cluster."""
    return {"aws": partial(_open_aws, boot)}


def _open_aws(boot: Boot, account: Account) -> BackendProvider:
    from aisle.backends.aws_accounts import open_account

    return open_account(account, _trusted(boot), os.environ)


def _trusted(boot: Boot) -> "Exchanges":
    """Connections to an endpoint that an administrator named: it may lie inside the network."""
    from aisle.rules.egress import EgressPolicy
    from aisle.transfer.exchange import Exchanges
    from aisle.transfer.fetch import FetchConfig
    from aisle.transfer.guard import EgressGuard

    limits = boot.config.download
    config = FetchConfig(
        limits.connections_max,
        limits.connections_max,
        limits.connect_timeout_s,
        limits.stall_timeout_s,
    )
    policy = EgressPolicy(allow_loopback=True, allow_private=True)
    return Exchanges(config, EgressGuard(policy, proxy=limits.proxy))
