"""What a Hugging Face hub tells about its repositories, asked through the library `huggingface_hub`.

The library is heavy and not everybody's, so it is an extra (`hf`) and imported when it is needed. Here
its objects end, and so do its errors: each becomes one of ours with words that say what to do.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from aisle.errors import AisleError, BadRequest, HubDenied, NotFound, SourceFailed, Unsupported
from aisle.model.extras import how_to_install
from aisle.rules.backoff import parse_retry_after, wished_wait
from aisle.rules.huggingface import (
    ENDPOINT,
    MAIN,
    PARQUET_REVISION,
    Repository,
    RepositoryFile,
    repository,
)

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import HfApi

T = TypeVar("T")

ENDPOINT_VARIABLE = "HF_ENDPOINT"
TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105
_REQUEST_TIMEOUT_S = 30.0
_ATTEMPTS_MAX = 8
_WAIT_MAX_S = 60.0
"""Longest wait before the hub is asked again, whatever it says."""
_PASSING = frozenset({408, 429, 500, 502, 503, 504})

Listing = Mapping[str, Mapping[str, Sequence[str]]]
"""A Parquet conversion: by config and split the links to its files, in order."""


class Revision(NamedTuple):
    """A repository at one commit."""

    repository: Repository
    """As the hub calls it now, which may differ from what it was asked for."""
    commit: str
    is_private: bool
    is_gated: bool
    """Whether its terms must be accepted before the files are given."""

    @property
    def is_restricted(self) -> bool:
        """Whether the files are given to some only."""
        return self.is_private or self.is_gated


class Hub:
    """A hub, asked with a token or without. A hub that asks to wait is asked again later."""

    def __init__(
        self,
        *,
        endpoint: str = ENDPOINT,
        token: str = "",
        tell: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`tell` hears of waits. Raises Unsupported if the library is not installed."""
        self.endpoint = endpoint.rstrip("/")
        self._token = token
        self._tell = tell
        self._sleep = sleep
        self._api = _api(self.endpoint, token)

    def resolve(self, wanted: Repository, revision: str) -> Revision:
        """The commit that a revision is now. Raises NotFound, HubDenied, SourceFailed."""

        def ask() -> Revision:
            info = self._api.repo_info(
                wanted.id, repo_type=wanted.kind, revision=revision, timeout=_REQUEST_TIMEOUT_S
            )
            if not info.sha:
                raise SourceFailed(f"{self.endpoint} tells no commit of {wanted.kind} '{wanted.id}'")
            found = repository(wanted.kind, info.id)
            return Revision(found, info.sha, bool(info.private), bool(getattr(info, "gated", False)))

        return self._patiently(wanted, revision, ask)

    def check_access(self, wanted: Repository) -> None:
        """Raises HubDenied unless the files may be read with this token: listings are less strict."""
        self._patiently(wanted, MAIN, lambda: self._api.auth_check(wanted.id, repo_type=wanted.kind))

    def files(self, wanted: Repository, commit: str, folder: str = "") -> list[RepositoryFile]:
        """All files at a commit, or in a folder and below it. Raises NotFound, HubDenied, SourceFailed."""
        from huggingface_hub.hf_api import RepoFile

        def ask() -> list[RepositoryFile]:
            entries = self._api.list_repo_tree(
                wanted.id, folder or None, recursive=True, revision=commit, repo_type=wanted.kind
            )
            return [_file(entry) for entry in entries if isinstance(entry, RepoFile)]

        return self._patiently(wanted, commit, ask)

    def file(self, wanted: Repository, commit: str, path: str) -> RepositoryFile:
        """One file at a commit. Raises NotFound also for a folder, Denied, SourceFailed."""
        from huggingface_hub.hf_api import RepoFile

        def ask() -> Sequence[object]:
            return self._api.get_paths_info(wanted.id, [path], revision=commit, repo_type=wanted.kind)

        for entry in self._patiently(wanted, commit, ask):
            if isinstance(entry, RepoFile):
                return _file(entry)
            raise NotFound(f"\"{path}\" in {wanted.kind} '{wanted.id}' is a folder, not a file")
        raise NotFound(f"{wanted.kind} '{wanted.id}' has no file \"{path}\" at {commit[:12]}")

    def parquet(self, wanted: Repository) -> tuple[Listing, Revision] | None:
        """The Parquet conversion of a dataset, and the commit where it lies now; None if there is none."""
        # Documented there, and not marked as exported.
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            get_session,
            hf_raise_for_status,
        )

        def ask() -> Listing:
            answer = get_session().get(
                f"{self.endpoint}/api/datasets/{wanted.id}/parquet",
                headers=build_hf_headers(token=self._token or False),
                timeout=_REQUEST_TIMEOUT_S,
            )
            hf_raise_for_status(answer)
            return _listing(answer.json())

        try:
            listing = self._patiently(wanted, MAIN, ask)
            if not any(links for splits in listing.values() for links in splits.values()):
                return None
            return listing, self.resolve(wanted, PARQUET_REVISION)
        except NotFound:
            return None

    def _patiently(self, wanted: Repository, revision: str, ask: Callable[[], T]) -> T:
        """What `ask` answers. What may pass is asked again, later each time or when the hub says."""
        pause_s = 1.0
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            try:
                with _translated(self, wanted, revision):
                    return ask()
            except SourceFailed as error:
                if error.status not in _PASSING or attempt == _ATTEMPTS_MAX:
                    raise
                wait_s = min(error.retry_after_s if error.retry_after_s is not None else pause_s, _WAIT_MAX_S)
                self._tell(f"{error}; asking again in {wait_s:.0f} s")
                self._sleep(wait_s)
                pause_s *= 2
        raise AssertionError("the last attempt raises")

    @property
    def has_token(self) -> bool:
        """Whether it is asked with a token."""
        return bool(self._token)


def _api(endpoint: str, token: str) -> "HfApi":
    # Its warnings tell to log in with tools that this command does not use.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        needed = "Hugging Face needs the library huggingface_hub"
        raise Unsupported(f"{needed}: {how_to_install('hf')}") from error
    # False: not the token that another tool has stored on this machine either. It was not meant for us.
    return HfApi(endpoint=endpoint, token=token or False)


def _file(entry: object) -> RepositoryFile:
    lfs = getattr(entry, "lfs", None)
    path, size = str(getattr(entry, "path", "")), int(getattr(entry, "size", -1))
    if lfs is not None:
        return RepositoryFile(path, size, f"sha256:{lfs.sha256}")
    blob = str(getattr(entry, "blob_id", "") or "")
    return RepositoryFile(path, size, f"gitblob:{blob}" if blob else "")


def _listing(told: object) -> Listing:
    """The listing of a conversion as the hub sends it, without what is none."""
    if not isinstance(told, dict):
        return {}
    return {
        str(config): {
            str(split): [link for link in links if isinstance(link, str)]
            for split, links in splits.items()
            if isinstance(links, list)
        }
        for config, splits in told.items()
        if isinstance(splits, dict)
    }


@contextmanager
def _translated(hub: Hub, wanted: Repository, revision: str) -> Iterator[None]:
    """Turn the library's errors into ours."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except AisleError:
        raise
    except HfHubHTTPError as error:
        raise refusal(hub, wanted, revision, error.response) from error
    except OfflineModeIsEnabled as error:
        raise SourceFailed("HF_HUB_OFFLINE is set: unset it to reach the hub") from error
    except HFValidationError as error:
        raise BadRequest(str(error)) from error
    except (httpx2.HTTPError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise SourceFailed(f"cannot reach the hub at {hub.endpoint}: {reason}") from error
    except ValueError as error:
        raise SourceFailed(f"{hub.endpoint} does not answer as a hub does: {error}") from error


def refusal(hub: Hub, wanted: Repository, revision: str, answer: "httpx2.Response | None") -> AisleError:
    """What an answer other than a good one means, and what to do about it."""
    status = answer.status_code if answer is not None else 0
    code = answer.headers.get("X-Error-Code", "") if answer is not None else ""
    what = f"{wanted.kind} '{wanted.id}'"
    token = f"a token with --hf-auth or {TOKEN_VARIABLE}"
    if code == "GatedRepo":
        page = wanted.page(hub.endpoint)
        if hub.has_token:
            return HubDenied(
                f"{what} is gated and this token has no access to it: accept its terms at {page} with the "
                "token's account (some are granted by hand, which takes time), or let the token read gated "
                "repositories"
            )
        return HubDenied(f"{what} is gated: accept its terms at {page}, then give {token}")
    if status == 403:
        reason = answer.headers.get("X-Error-Message", "") if answer is not None else ""
        return HubDenied(f"{hub.endpoint} refuses {what}: {reason or 'forbidden'}")
    if code == "RevisionNotFound":
        return NotFound(f"{what} has no revision '{revision}'")
    if code == "EntryNotFound":
        return NotFound(f"{what} has no such file or folder at {revision[:12]}")
    if status == 401:
        if hub.has_token:
            return HubDenied(f"{hub.endpoint} refuses this token for {what}: it is wrong or no longer valid")
        return NotFound(f"{what} does not exist at {hub.endpoint}, or is private: give {token}")
    if status == 404:
        if hub.has_token:
            return NotFound(f"{what} does not exist at {hub.endpoint}, or this token may not see it")
        return NotFound(f"{what} does not exist at {hub.endpoint}; if it is private, give {token}")
    if status == 429:
        return SourceFailed(
            f"{hub.endpoint} asks to slow down (429)"
            + ("" if hub.has_token else "; it is more patient with a token"),
            status=status,
            retry_after_s=_wait_s(answer),
        )
    return SourceFailed(f"{hub.endpoint} failed for {what}: status {status}", status=status)


def _wait_s(answer: "httpx2.Response | None") -> float | None:
    """How long the hub wants to be left alone, if it says so."""
    asked = wished_wait(answer.headers) if answer is not None else ""
    return parse_retry_after(asked, now_s=time.time()) if asked else None
