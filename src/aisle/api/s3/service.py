"""What is asked of the service itself: which buckets there are."""

from collections import defaultdict
from collections.abc import Iterator
from operator import attrgetter
from typing import Final, NamedTuple

from aisle.api.gate import ALL, Action
from aisle.api.s3.acls import ROOT_ID, owner_element
from aisle.api.s3.buckets import REGION
from aisle.api.s3.call import Level, S3Call, S3Query
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.errors import S3Error
from aisle.api.s3.names import S3Names
from aisle.api.s3.times import timestamp
from aisle.api.s3.xml import element, group, xml_answer
from aisle.gateway.buckets import Buckets
from aisle.httpd.response import Response
from aisle.model.bucket import BucketInfo

BUCKETS_MAX: Final = 10_000
"""Buckets in one answer, at most and by default."""
_PARAMETERS: Final = frozenset({"max-buckets", "continuation-token", "prefix", "bucket-region"})


class ServiceOperations:
    """Handlers of the verbs on the service."""

    def __init__(self, buckets: Buckets, names: S3Names) -> None:
        self._buckets = buckets
        self._names = names

    def operations(self) -> list[Operation]:
        """Their rows of the table."""
        return [Operation("GET", Level.SERVICE, "", Action.LIST_BUCKETS, self.list_buckets)]

    def list_buckets(self, call: S3Call) -> Response:
        """The caller's buckets, under names by which S3 clients reach them, in order of these."""
        asked = _asked(call.query)
        everything = self._buckets.select()
        named = [
            each
            for each in _named(everything, self._names)
            if _is_visible(call, each.info) and asked.wants(each.name)
        ]
        named.sort(key=attrgetter("name"))
        page = named[: asked.buckets_max]
        children = [
            owner_element(call.principal.id or ROOT_ID),
            group("Buckets", [_shown(each, tells_region=asked.tells_region) for each in page]),
        ]
        if asked.prefix:
            children.append(element("Prefix", asked.prefix))
        if len(named) > len(page):
            children.append(element("ContinuationToken", _make_token(page[-1].name)))
        return xml_answer("ListAllMyBucketsResult", children)


class _Asked(NamedTuple):
    prefix: str
    after: str
    region: str
    """Empty for any."""
    buckets_max: int
    tells_region: bool
    """As Amazon does where any of these is asked for."""

    def wants(self, name: str) -> bool:
        return self.region in ("", REGION) and name.startswith(self.prefix) and name > self.after


class _Named(NamedTuple):
    """A bucket, and how S3 clients reach it."""

    name: str
    told: str
    """Its provider, as AIStore tells it."""
    info: BucketInfo


def _asked(query: S3Query) -> _Asked:
    """What a query asks for. Raises S3Error InvalidArgument."""
    wanted = query.get("max-buckets", str(BUCKETS_MAX))
    is_number = wanted.isascii() and wanted.isdecimal() and len(wanted) < 10
    if not (is_number and 1 <= int(wanted) <= BUCKETS_MAX):
        raise S3Error("InvalidArgument", ArgumentName="max-buckets", ArgumentValue=wanted[:80])
    token = query.get("continuation-token")
    try:
        after = "" if token is None else bytes.fromhex(token).decode()
    except ValueError as error:
        text = "The continuation token provided is incorrect"
        raise S3Error("InvalidArgument", text, ArgumentName="continuation-token") from error
    return _Asked(
        query.get("prefix", ""),
        after,
        query.get("bucket-region", ""),
        int(wanted),
        tells_region=not _PARAMETERS.isdisjoint(query),
    )


def _make_token(name: str) -> str:
    return name.encode().hex()


def _is_visible(call: S3Call, info: BucketInfo) -> bool:
    """Whether the caller is the bucket's owner, or may do everything; as Amazon, whatever is public."""
    principal = call.principal
    return principal.allowed == ALL or (bool(principal.id) and info.owner == principal.id)


def _named(everything: list[BucketInfo], names: S3Names) -> Iterator[_Named]:
    """Every bucket that a name leads to, with that name."""
    namesakes: defaultdict[str, list[BucketInfo]] = defaultdict(list)
    for info in everything:
        namesakes[info.bucket.name].append(info)
    for name, same in namesakes.items():
        leading = {names.leads_to(info, same): info for info in same}
        first = leading[name].bucket.provider if name in leading else "another"
        for shown, info in leading.items():
            provider = info.bucket.provider
            told = f"Provider: {provider}"
            if shown and shown != name:
                told += (
                    f" (WARNING: {{{name}, Provider: {first}}} and {{{name}, Provider: {provider}}}"
                    " share the same name)"
                )
            if shown:
                yield _Named(shown, told, info)


def _shown(named: _Named, *, tells_region: bool) -> str:
    inner = [element("Name", named.name), element("CreationDate", timestamp(named.info.created_ns))]
    if tells_region:
        inner.append(element("BucketRegion", REGION))
    return group("Bucket", [*inner, element("String", named.told)])
