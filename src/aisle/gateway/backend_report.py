"""How the providers of remote buckets are: installed, configured, reachable."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from aisle.backends.settings import REQUIREMENTS, Requirements, found_settings
from aisle.errors import AisleError, NotFound
from aisle.gateway.buckets import Buckets
from aisle.model.extras import how_to_install
from aisle.model.names import SCHEMES, Bucket

ANSWER_S: Final = 5.0
"""How long a provider is waited for."""


class BackendState(NamedTuple):
    """How one provider is."""

    provider: str
    scheme: str
    installed: bool
    """Whether the libraries of its extra are there."""
    needs_extra: bool
    """Whether it can do nothing without them."""
    settings: list[str]
    """Names of variables and files that say how to use it."""
    known: int
    """Buckets of it that are known here."""
    reachable: bool | None
    """Whether its account answers; None where it was not asked."""
    buckets: int | None
    """How many buckets the account lists; None where that is not known."""
    error: str
    """What the account, or the way to it, says instead of an answer."""
    advice: str
    """What to do where it is not installed or not configured; empty otherwise."""


class BackendReport:
    """Looks at all providers, for one process."""

    def __init__(
        self,
        list_buckets: Callable[[str], Awaitable[Sequence[Bucket]]],
        buckets: Buckets,
        environment: Mapping[str, str],
    ) -> None:
        """`list_buckets` asks a provider's account for its buckets; raises as `RemoteBuckets.elsewhere`."""
        self._list_buckets = list_buckets
        self._buckets = buckets
        self._environment = environment
        self._asked: dict[str, asyncio.Task[list[BackendState]]] = {}

    async def states(self, provider: str = "") -> list[BackendState]:
        """All providers, or one. Raises NotFound.

        An account is asked for its buckets, for a few seconds at most, if there are settings for it or
        buckets of it are known, or if it alone is meant: others would be looked for on the Internet.
        """
        if provider and provider not in REQUIREMENTS:
            raise NotFound(
                f'"{provider[:80]}" is none of the backends {", ".join(REQUIREMENTS)}; '
                "of other clusters tells what=remote (ais show remote-cluster)"
            )
        task = self._asked.get(provider)
        if task is None:
            # One question however many ask, and whoever asked first may leave.
            task = self._asked[provider] = asyncio.create_task(self._look(provider))
            task.add_done_callback(lambda _: self._asked.pop(provider, None))
        return await asyncio.shield(task)

    async def _look(self, only: str) -> list[BackendState]:
        known: dict[str, int] = {}
        for info in self._buckets.select():
            remote = info.remote
            if remote is not None and not remote.namespace.startswith("@"):
                known[remote.provider] = known.get(remote.provider, 0) + 1
        names = [only] if only else sorted(REQUIREMENTS)
        return list(
            await asyncio.gather(
                *(self._state(name, known.get(name, 0), is_meant=bool(only)) for name in names)
            )
        )

    async def _state(self, name: str, known: int, *, is_meant: bool) -> BackendState:
        needs: Requirements = REQUIREMENTS[name]
        found = await asyncio.to_thread(found_settings, needs, self._environment)
        needs_extra = bool(needs.modules) and not needs.optional_for
        advice = "" if found.settings else needs.advice
        if not found.is_installed and needs_extra:
            advice = f"install it: {how_to_install(name)}"
        reachable: bool | None = None
        buckets: int | None = None
        error = ""
        can_be_asked = name != "ht" and (found.is_installed or not needs_extra)
        if can_be_asked and (found.settings or known or is_meant):
            try:
                async with asyncio.timeout(ANSWER_S):
                    buckets = len(await self._list_buckets(name))
                reachable = True
            except TimeoutError:
                reachable, error = False, f"no answer in {ANSWER_S:g} s"
            except AisleError as failure:
                reachable, error = False, str(failure)
        return BackendState(
            name,
            SCHEMES[name],
            found.is_installed,
            needs_extra,
            found.settings,
            known,
            reachable,
            buckets,
            error,
            advice,
        )
