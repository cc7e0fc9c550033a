"""Accounts of Google: credentials as Google's library finds and refreshes them, projects, endpoints.

What a bucket's properties say (`extra.gcp`) goes before the environment and the file of Google's tools.
The library is imported and asked in threads of their own: tokens come from services elsewhere, and no
attempt of a request waits longer for them than `WAIT_S`.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC
from functools import partial
from pathlib import Path
from time import time
from typing import Any, Final, NamedTuple

from aisle.backends.gcp import ENDPOINT, GcpAccount, GcpProvider
from aisle.backends.registry import Account, require_extra
from aisle.backends.settings import ON_GOOGLE
from aisle.errors import AisleError, SourceDenied, SourceUnreachable
from aisle.transfer.exchange import Exchanges
from aisle.transfer.resolving import in_own_thread

SCOPES: Final = ("https://www.googleapis.com/auth/devstorage.read_write",)
WAIT_S: Final = 10.0
"""How long a request waits for a token."""
EARLY_S: Final = 240.0
"""A token is replaced so long before it ends, or in the last quarter of a short life."""

_ASKED_S: Final = 5.0
"""How long one question for a token may take; Google's library repeats some of them."""
_LIFE_S: Final = 300.0
"""What is assumed of a token that does not say when it ends."""
_NOBODY_S: Final = 30.0
"""How long there are no credentials, once none were found."""
_FAILED_S: Final = 10.0
"""How long a token that is still good is not tried to be replaced, after that failed."""
_PROJECT_VARIABLES: Final = ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT")
_MACHINE_FILE: Final = "/sys/class/dmi/id/product_name"
"""Says `Google` or `Google Compute Engine` on Google's machines."""

_log = logging.getLogger(__name__)


def open_account(account: Account, exchanges: Exchanges, environment: Mapping[str, str]) -> GcpProvider:
    """The provider of an account; nothing is asked of it yet. Raises Unsupported without the extra."""
    require_extra("gcp", ["google.auth", "requests"])
    own_file = account.extra.gcp.application_creds
    emulator = environment.get("STORAGE_EMULATOR_HOST", "")
    endpoint = ENDPOINT
    if emulator:
        endpoint = (emulator if "://" in emulator else f"http://{emulator}").rstrip("/")

    def find() -> Found:
        # An emulator takes anybody: what is valid elsewhere is not shown to it, unless that is asked for.
        return Found(None, "") if emulator and not own_file else find_credentials(own_file, environment)

    named = [environment[name] for name in _PROJECT_VARIABLES if environment.get(name)]
    identity = TokenIdentity(find, project=named[0] if named else "")
    return GcpProvider(GcpAccount(exchanges, identity, endpoint))


class Found(NamedTuple):
    """Credentials of Google's library, and the project that they name."""

    credentials: Any
    """None for anonymous requests."""
    project: str


def find_credentials(own_file: str, environment: Mapping[str, str]) -> Found:
    """What an account's requests are to be signed with; takes its time. Raises SourceDenied.

    In the order of Google's application default credentials: a file that is named, that of Google's
    tools, the service of Google's own machines. Only they are asked for it: elsewhere the question
    would wait for an answer that never comes.
    """
    named = own_file or environment.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if named:
        return _of_file(Path(named), environment)
    folder = environment.get("CLOUDSDK_CONFIG") or f"{environment.get('HOME', '')}/.config/gcloud"
    usual = Path(folder, "application_default_credentials.json")
    if usual.is_file():
        return _of_file(usual, environment)
    if _is_on_google(environment):
        from google.auth.compute_engine import Credentials

        of_machine: Any = Credentials
        return Found(of_machine(scopes=SCOPES), "")
    return Found(None, "")


def _of_file(path: Path, environment: Mapping[str, str]) -> Found:
    from google.auth import load_credentials_from_dict
    from google.auth.exceptions import GoogleAuthError
    from google.oauth2.credentials import Credentials as UserCredentials
    from google.oauth2.service_account import Credentials as ServiceCredentials

    # The library's own types are incomplete.
    of_service: Any = ServiceCredentials.from_service_account_info
    of_user: Any = UserCredentials.from_authorized_user_info
    of_any: Any = load_credentials_from_dict
    try:
        told = json.loads(path.read_bytes())
        if told["type"] == "service_account":
            found = of_service(told, scopes=SCOPES)
        elif told["type"] == "authorized_user":
            found = of_user(told)  # with what the user has granted
        else:
            # Of another cloud's identity, or of a user who acts as a service account.
            found, _ = of_any(told, scopes=SCOPES)
    except OSError as error:
        raise SourceDenied(f"no Google credentials: {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, GoogleAuthError) as error:
        # What is in the file is a secret; an error's text might quote it.
        raise SourceDenied(
            f"no Google credentials: {path} is no JSON file of a service account or another identity "
            f"({type(error).__name__})"
        ) from None
    payer = environment.get("GOOGLE_CLOUD_QUOTA_PROJECT")
    if payer and hasattr(found, "with_quota_project"):
        found = found.with_quota_project(payer)
    return Found(found, str(told.get("project_id") or ""))


def _is_on_google(environment: Mapping[str, str]) -> bool:
    if any(environment.get(name) for name in ON_GOOGLE):
        return True
    try:
        return Path(_MACHINE_FILE).read_text().startswith("Google")
    except OSError:
        return False


class TokenIdentity:
    """Credentials of Google's library, made valid in good time, once for all who wait; of one event loop."""

    def __init__(
        self,
        find: Callable[[], Found],
        *,
        project: str = "",
        now_s: Callable[[], float] = time,
    ) -> None:
        """`find` is called in a thread; `project` goes before the one that credentials name."""
        self._find = find
        self._project = project
        self._now_s = now_s
        self._found: Found | None = None
        self._headers: Mapping[str, str] = {}
        self._early_s = 0.0
        self._end_s = 0.0
        self._working: asyncio.Task[None] | None = None

    async def headers(self) -> Mapping[str, str]:
        """See gcp.Identity.headers."""
        now_s = self._now_s()
        if now_s >= self._end_s:
            await self._wait()
        elif now_s >= self._early_s:
            self._begin()  # those that are here are still good
        return self._headers

    async def project(self) -> str:
        """See gcp.Identity.project."""
        if not self._project:
            await self.headers()
        return self._project or (self._found.project if self._found else "")

    def refused(self, headers: Mapping[str, str]) -> None:
        """See gcp.Identity.refused."""
        if headers is self._headers:
            self._end_s = 0.0

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                await asyncio.shield(self._begin())
        except TimeoutError as error:
            raise SourceUnreachable(f"Google gives no access token within {WAIT_S:.0f} s") from error

    def _begin(self) -> asyncio.Task[None]:
        if self._working is None or self._working.done():
            self._working = asyncio.get_running_loop().create_task(self._renewed())
            self._working.add_done_callback(_told)
        return self._working

    async def _renewed(self) -> None:
        found = self._found
        if found is None or found.credentials is None:
            found = await in_own_thread(self._find)
        headers: Mapping[str, str] = {}
        end_s = self._now_s() + _NOBODY_S
        if found.credentials is not None:
            try:
                headers, end_s = await in_own_thread(partial(_refreshed, found.credentials))
            except AisleError:
                self._found = None  # the file may be another one next time
                self._early_s = self._now_s() + _FAILED_S
                raise
        now_s = self._now_s()
        self._found, self._headers, self._end_s = found, headers, end_s
        self._early_s = end_s - min(EARLY_S, (end_s - now_s) / 4)


def _refreshed(credentials: Any) -> tuple[Mapping[str, str], float]:
    """The header fields that show new credentials, and when they end (Unix seconds)."""
    from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
    from google.auth.transport.requests import Request

    request: Any = Request()

    def limited(*args: Any, timeout: float = _ASKED_S, **named: Any) -> Any:
        return request(*args, timeout=min(timeout or _ASKED_S, _ASKED_S), **named)

    headers: dict[str, str] = {}
    try:
        credentials.refresh(limited)
        credentials.apply(headers)
    except (TransportError, RefreshError) as error:
        text = f"Google gives no access token: {error.args[0] if error.args else error}"
        if TransportError in (type(error), type(error.__cause__)) or error.retryable:
            raise SourceUnreachable(text) from error
        raise SourceDenied(text) from error
    except GoogleAuthError as error:
        raise SourceDenied(f"Google gives no access token: {error}") from error
    expiry = credentials.expiry  # in UTC, and does not say so
    return headers, expiry.replace(tzinfo=UTC).timestamp() if expiry else time() + _LIFE_S


def _told(task: asyncio.Task[None]) -> None:
    """Nobody may be waiting for what went wrong."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.info("%s", error)
