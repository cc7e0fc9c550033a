"""Which provider serves a remote bucket: one instance for each account, made when it is first asked for."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import NamedTuple

from aisle.backends.provider import BackendProvider
from aisle.backends.retrying import Retrying
from aisle.errors import Unsupported
from aisle.model.bucket import Extra
from aisle.model.extras import how_to_install
from aisle.model.names import SCHEMES, Bucket


class Account(NamedTuple):
    """What tells one account of a provider from another; buckets that share it share connections."""

    provider: str
    """`aws`, `gcp`, …; `ais` for other clusters."""
    namespace: str = ""
    """`#name` tells accounts apart, `@uuid` names the cluster through which the bucket is reached."""
    extra: Extra = Extra()
    """The properties of the bucket that say how it is reached."""


Factory = Callable[[Account], BackendProvider]
"""Makes the provider of an account, without asking it anything. Raises Unsupported for a missing extra
or for credentials that cannot be used, naming what is to be installed or set, and ClusterNotAttached."""


class Providers:
    """The providers of one event loop."""

    def __init__(
        self,
        factories: Mapping[str, Factory],
        *,
        canonical: Callable[[Bucket], Bucket] = lambda bucket: bucket,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`factories` by provider; `@` is the one for all that is reached through another cluster.

        `canonical` gives the name under which a bucket is kept, where others mean the same one. `pause`
        waits for so many seconds before a source that failed is asked again.
        """
        self._factories = factories
        self._open: dict[Account, BackendProvider] = {}
        self._pause = pause
        self.canonical = canonical

    def names(self) -> list[str]:
        """The providers that can be used."""
        return sorted(name for name in self._factories if name != "@")

    def of(self, bucket: Bucket, extra: Extra = Extra()) -> BackendProvider:  # noqa: B008 - it is immutable
        """The provider that has a remote bucket. Raises Unsupported, ClusterNotAttached."""
        account = Account(bucket.provider, bucket.namespace, extra)
        provider = self._open.get(account)
        if provider is None:
            factory = self._factories.get("@" if bucket.namespace.startswith("@") else bucket.provider)
            if factory is None:
                usable = ", ".join(f"{SCHEMES[name]}://" for name in self.names()) or "nothing"
                raise Unsupported(
                    f"{bucket.cname}: this node has no remote backend for {SCHEMES[bucket.provider]}://, "
                    f"only for {usable}"
                )
            provider = self._open[account] = Retrying(factory(account), pause=self._pause)
        return provider

    async def close(self) -> None:
        """Give all connections back."""
        opened, self._open = list(self._open.values()), {}
        for provider in opened:
            await provider.close()


def require_extra(extra: str, modules: Sequence[str]) -> None:
    """Raise Unsupported, naming the extra, unless all of its modules are installed."""
    if missing := [name for name in modules if not is_installed(name)]:
        raise Unsupported(f"the {extra} backend needs {', '.join(missing)}: {how_to_install(extra)}")


def is_installed(module: str) -> bool:
    """Whether a module could be imported; nothing is."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False  # nor is the package that it is in
