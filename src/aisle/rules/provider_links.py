"""Links to objects of remote buckets, which are fetched through their provider with its credentials.

    s3://BUCKET/NAME      gs:// az:// oc:// ht:// (and aws:// gcp:// azure:// oci://) likewise
    s3://#SPACE/BUCKET/NAME, ais://@CLUSTER/BUCKET/NAME

As in any link, names are percent-encoded; characters that need no encoding, `?` and `#` among them, may
stand as they are, and mean themselves.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from aisle.errors import BadRequest, InvalidName, Unsupported
from aisle.model.names import Bucket, parse_bucket, parse_object_key, parse_provider
from aisle.rules.download_names import LINK_CHARS_MAX, normal_link

_WEB: Final = {"gcp": "https://storage.googleapis.com/", "aws": "https://s3.amazonaws.com/"}
"""Where public objects of a cloud are on the web (ais-downloader-backends-s3.md §1.7)."""
_ALIASES: Final = frozenset({"s3", "aws", "gs", "gcp", "az", "azure", "oc", "oci", "ht"})
SOURCES_MAX: Final = 100
"""Remote buckets that one request may lead to: for each of them its caller's rights are looked at."""
_REMEMBERED_MAX: Final = 1_000
UNRESERVED: Final = "/-._~!$&'()*+,;=:"
"""What names keep in links as it is, beside letters and digits."""

Reaches = Callable[[Bucket], None]
"""Raises Unsupported where a node cannot ask the provider of a bucket, saying what is missing."""


class Remembering:
    """The same answers as another, asked once for each bucket: lists have many links to few of them."""

    def __init__(self, reaches: Reaches) -> None:
        self._reaches = reaches
        self._known: dict[Bucket, Unsupported | None] = {}

    def __call__(self, bucket: Bucket) -> None:
        """Raise Unsupported where the provider of a bucket cannot be asked."""
        if bucket not in self._known:
            if len(self._known) >= _REMEMBERED_MAX:
                self._known.clear()
            try:
                self._reaches(bucket)
                self._known[bucket] = None
            except Unsupported as error:
                self._known[bucket] = error
        if (refused := self._known[bucket]) is not None:
            raise refused


def anywhere(_bucket: Bucket) -> None:
    """A node that can ask all providers."""


def is_provider_link(link: str) -> bool:
    """Whether a link leads to an object of a remote bucket instead of to a web server."""
    scheme, separator, rest = link.partition("://")
    scheme = scheme.lower()
    return bool(separator) and (scheme in _ALIASES or (scheme == "ais" and rest[:1] == "@"))


def provider_link(bucket: Bucket, key: bytes) -> str:
    """The link to an object of a remote bucket, the same for each way to write it."""
    return provider_base(bucket) + quote(key, safe=UNRESERVED)


def provider_base(bucket: Bucket) -> str:
    """What the links to all objects of a remote bucket begin with."""
    return f"{bucket.cname}/"


def parse_provider_link(link: str) -> tuple[Bucket, bytes]:
    """The bucket and the name that a link leads to. Raises BadRequest where it names no object."""
    scheme, _, rest = link.partition("://")
    namespace = ""
    if rest[:1] in ("@", "#"):
        namespace, _, rest = rest.partition("/")
    name, _, path = rest.partition("/")
    if len(link) > LINK_CHARS_MAX:
        raise BadRequest(f"link has {len(link)} characters, at most {LINK_CHARS_MAX} are allowed")
    try:
        bucket = parse_bucket(name, parse_provider(scheme.lower()), namespace)
        return bucket, parse_object_key(unquote_to_bytes(path))
    except InvalidName as error:
        raise BadRequest(f'link "{link[:200]}" names no object of a bucket: {error}') from error


def provider_prefix(link: str) -> str:
    """What a link begins with, its bucket included, in lower case as far as that does not matter."""
    scheme, _, rest = link.partition("://")
    parts = rest.split("/", 2 if rest[:1] in ("@", "#") else 1)
    return f"{scheme.lower()}://{'/'.join(parts[:-1])}/"


def normal_source(link: str) -> str:
    """The link as it will be asked for, be it one to a provider or to a web server. Raises BadRequest."""
    return provider_link(*parse_provider_link(link)) if is_provider_link(link) else normal_link(link)


def reached(link: str, reaches: Reaches) -> str:
    """The link as this node can ask for it: public objects of some clouds are on the web, too.

    Links to web servers stay as they are. Raises BadRequest, and Unsupported where nothing leads there.
    """
    if not is_provider_link(link):
        return link
    bucket, key = parse_provider_link(link)
    if not _is_reached(bucket, reaches):
        return _WEB[bucket.provider] + f"{bucket.name}/{quote(key, safe=UNRESERVED)}"
    return provider_link(bucket, key)


def reached_template(text: str, first: str, reaches: Reaches) -> str:
    """The same for a template, whose first link is `first`."""
    if not is_provider_link(first):
        return text
    bucket, _ = parse_provider_link(first)
    return text if _is_reached(bucket, reaches) else _WEB[bucket.provider] + text.partition("://")[2]


def _is_reached(bucket: Bucket, reaches: Reaches) -> bool:
    """Whether the provider is asked, and not the web. Raises what `reaches` raises where neither can be."""
    try:
        reaches(bucket)
    except Unsupported:
        if bucket.namespace or bucket.provider not in _WEB:
            raise
        return False
    return True
