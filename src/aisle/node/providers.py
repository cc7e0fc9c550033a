"""The remote backends of a node: with `opening` and `wiring`, where implementations are named.

A provider's module is imported when its first bucket is asked for, so that a node without remote
buckets loads none of them.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from aisle.backends.provider import BackendProvider
from aisle.backends.registry import Account, Factory, Providers
from aisle.backends.remote_gateways import Gateways
from aisle.cluster.store import MetadataStore
from aisle.errors import ClusterNotAttached, Unsupported
from aisle.gateway.remote_clusters import RemoteClusters
from aisle.model.bucket import BucketInfo, HttpProperties
from aisle.node.boot import Boot
from aisle.node.credentials import open_sealer

if TYPE_CHECKING:
    from aisle.api.s3.origins import Origin
    from aisle.rules.egress import EgressPolicy
    from aisle.transfer.exchange import Exchanges


Provider = TypeVar("Provider", bound=BackendProvider)


class Clusters(NamedTuple):
    """Other clusters: which are attached, and how they are asked."""

    known: RemoteClusters
    gateways: Gateways


def open_clusters(boot: Boot, store: MetadataStore) -> Clusters:
    """The clusters that are attached, for one process."""
    known = RemoteClusters(store, open_sealer(boot), cluster_id=boot.cluster_id)
    return Clusters(known, Gateways(known, connect=partial(_to_cluster, boot), cluster_id=boot.cluster_id))


def open_providers(boot: Boot, store: MetadataStore, clusters: Clusters | None = None) -> Providers:
    """All backends that this node can use, for one process; `clusters` if they are open already."""
    clusters = clusters or open_clusters(boot, store)
    return Providers(_factories(boot, clusters), canonical=clusters.known.canonical)


def open_origins(boot: Boot) -> "Callable[[BucketInfo], Origin]":
    """Where the signed requests of buckets of S3 accounts are passed on to, for one process."""
    known: dict[Account, Origin] = {}
    shared: list[Exchanges] = []

    def origin_of(info: BucketInfo) -> "Origin":
        remote = info.remote
        assert remote is not None
        account = Account(remote.provider, remote.namespace, info.properties.extra)
        origin = known.get(account)
        if origin is None:
            from aisle.api.s3.origins import Origin
            from aisle.backends.aws_accounts import open_account

            if not shared:
                # Where anybody may name an endpoint, it is one that downloads may go to.
                shared.append(_to_cluster(boot, ""))
            told = open_account(account, shared[0], os.environ).account
            origin = known[account] = Origin(told.exchanges, told.endpoint, told.region)
        return origin

    return origin_of


def _factories(boot: Boot, clusters: Clusters) -> Mapping[str, Factory]:
    """By provider; `@` for whatever is reached through another cluster."""
    return {
        "aws": partial(_open_aws, boot),
        "azure": partial(_open_azure, boot),
        "gcp": partial(_open_gcp, boot),
        "ht": partial(_open_http, boot),
        "oci": partial(_open_oci, boot),
        "@": partial(_open_cluster, clusters),
    }


def _open_cluster(clusters: Clusters, account: Account) -> BackendProvider:
    from aisle.backends.remote_ais import RemoteAisProvider

    cluster = account.namespace[1:].partition("#")[0]
    if clusters.known.find(cluster) is None:
        raise ClusterNotAttached(cluster)
    return RemoteAisProvider(account, clusters.gateways)


def _open_aws(boot: Boot, account: Account) -> BackendProvider:
    from aisle.backends.aws_accounts import open_account

    _require_administered(boot, "extra.aws.profile", account.extra.aws.profile)
    # Where anybody may name an endpoint, it is one that downloads may go to.
    exchanges = _to_cluster(boot, "") if account.extra.aws.endpoint else _trusted(boot)
    return _opened(open_account, account, exchanges)


def _open_azure(boot: Boot, account: Account) -> BackendProvider:
    from aisle.backends.azure_accounts import open_account

    # Where anybody may name an endpoint, it is one that downloads may go to.
    is_named = bool(account.extra.azure and account.extra.azure.endpoint)
    return _opened(open_account, account, _to_cluster(boot, "") if is_named else _trusted(boot))


def _open_oci(boot: Boot, account: Account) -> BackendProvider:
    from aisle.backends.oci_accounts import open_account

    _require_administered(boot, "extra.oci.profile", account.extra.oci.profile)
    # Where anybody may name an endpoint, it is one that downloads may go to.
    exchanges = _to_cluster(boot, "") if account.extra.oci.endpoint else _trusted(boot)
    return _opened(open_account, account, exchanges)


def _open_gcp(boot: Boot, account: Account) -> BackendProvider:
    from aisle.backends.gcp_accounts import open_account

    # What a file names is asked for tokens.
    _require_administered(boot, "extra.gcp.application_creds", account.extra.gcp.application_creds)
    return _opened(open_account, account, _trusted(boot))


def _open_http(boot: Boot, account: Account) -> BackendProvider:
    """A dataset on a web server; the node goes there as downloads do, and to no address that they may not."""
    from aisle.backends.http_dataset import HttpDataset, HttpProvider
    from aisle.rules.egress import egress_policy
    from aisle.rules.http_datasets import dataset_url

    told = account.extra.http or HttpProperties()
    url = dataset_url(told.original_url) if told.original_url else ""
    policy = egress_policy(boot.config.egress, listens_on_loopback_only=boot.is_loopback_only)
    return HttpProvider(_trusted(boot, policy), HttpDataset(url, told.manifest))


def _is_administered(boot: Boot) -> bool:
    """Whether only an administrator, or somebody on this machine, sets properties of buckets."""
    return boot.is_loopback_only or boot.config.asks_for_credentials


def _require_administered(boot: Boot, name: str, value: str) -> None:
    """Raise Unsupported for a property that chooses among the credentials of the node's machine."""
    if value and not _is_administered(boot):
        raise Unsupported(
            f"{name}: this node listens for everybody and asks nobody for credentials, so nobody may choose "
            "among its own: name them where it is started, or give it users (docs/security.md)"
        )


def _opened(
    open_account: "Callable[[Account, Exchanges, Mapping[str, str]], Provider]",
    account: Account,
    exchanges: "Exchanges",
) -> Provider:
    """The provider of an account of a cloud; where there is none, the connections are given back."""
    try:
        return open_account(account, exchanges, os.environ)
    except BaseException:
        exchanges.close()
        raise


def _to_cluster(boot: Boot, ca_file: str) -> "Exchanges":
    """Connections to other clusters; where anybody may attach them, only to where downloads may go."""
    from aisle.rules.egress import egress_policy

    if _is_administered(boot):
        return _trusted(boot, ca_file=ca_file)
    return _trusted(boot, egress_policy(boot.config.egress, listens_on_loopback_only=False), ca_file=ca_file)


def _trusted(boot: Boot, policy: "EgressPolicy | None" = None, *, ca_file: str = "") -> "Exchanges":
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
    policy = policy or EgressPolicy(allow_loopback=True, allow_private=True)
    return Exchanges(config, EgressGuard(policy, proxy=limits.proxy), ca_file=ca_file)
