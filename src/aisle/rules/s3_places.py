"""Where S3 requests about a bucket are sent: Amazon's hosts or an endpoint, in both styles of addressing.

A signature covers the host and the path of a request, so whoever sends a signed one on must know what it
was signed for. All places follow from what the bucket is configured with, never from a request.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

PATH_STYLE: Final = "path"
VIRTUAL_STYLE: Final = "virtual-hosted"
"""The words of AIStore's header `Ais-S3-Signed-Request-Style` (ais-downloader-backends-s3.md §4.6)."""
STYLES: Final = (PATH_STYLE, VIRTUAL_STYLE)

_FIRST_REGION: Final = "us-east-1"
_LABELS: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_ADDRESS: Final = re.compile(r"[0-9.]+(?::[0-9]+)?|\[.*")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Place(NamedTuple):
    """A bucket, in one style of addressing."""

    base: str
    """Scheme and authority."""
    root: bytes
    """The path of the bucket itself, without a slash at its end; empty where the host names it."""
    style: str
    is_usual: bool = True
    """Whether it is worth a try where nothing says which place a request was signed for."""

    @property
    def authority(self) -> str:
        """Host and port, as clients write them."""
        return self.base.partition("://")[2]

    def rest_of(self, path: bytes) -> bytes | None:
        """What stands behind the bucket in a path that was sent to this place; None if it is another's."""
        if not path.startswith(self.root):
            return None
        rest = path[len(self.root) :]
        return rest if not rest or rest.startswith(b"/") else None


def places_of(bucket: str, *, endpoint: str, region: str, has_hosts: bool = False) -> list[Place]:
    """All places of a bucket, the likely one first; without an endpoint they are Amazon's.

    `has_hosts` says that the endpoint knows buckets by their hosts. One that does not would take the first
    element of the path for the bucket, and so another bucket's object for one of this.
    """
    name = bucket.encode()
    has_label = _LABELS.fullmatch(bucket) is not None
    if endpoint:
        parts = urlsplit(endpoint)
        scheme, authority = parts.scheme.lower(), plain_authority(parts.netloc, parts.scheme)
        prefix = parts.path.rstrip("/").encode()
        found = [Place(f"{scheme}://{authority}", b"%b/%b" % (prefix, name), PATH_STYLE)]
        if has_hosts and has_label and not _ADDRESS.fullmatch(authority):
            found.append(Place(f"{scheme}://{bucket}.{authority}", prefix, VIRTUAL_STYLE))
        return found
    found = []
    for host, is_usual in (
        (f"s3.{region}.amazonaws.com", True),
        ("s3.amazonaws.com", region == _FIRST_REGION),
        (f"s3.dualstack.{region}.amazonaws.com", False),
    ):
        # A certificate stands for one label only.
        if has_label and "." not in bucket:
            found.append(Place(f"https://{bucket}.{host}", b"", VIRTUAL_STYLE, is_usual))
        found.append(Place(f"https://{host}", b"/" + name, PATH_STYLE, is_usual))
    return found


def plain_authority(authority: str, scheme: str) -> str:
    """Host and port in lower case, without a port that follows from the scheme."""
    return authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme.lower(), ":"))
