"""What is asked of the service itself: which buckets there are."""

from collections import Counter
from collections.abc import Iterator

from aisle.api.gate import ALL, Action
from aisle.api.s3.acls import ROOT_ID, owner_element
from aisle.api.s3.call import Level, S3Call
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.times import timestamp
from aisle.api.s3.xml import element, group, xml_answer
from aisle.gateway.buckets import Buckets
from aisle.httpd.response import Response
from aisle.model.bucket import BucketInfo


class ServiceOperations:
    """Handlers of the verbs on the service."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def operations(self) -> list[Operation]:
        """Their rows of the table."""
        return [Operation("GET", Level.SERVICE, "", Action.LIST_BUCKETS, self.list_buckets)]

    def list_buckets(self, call: S3Call) -> Response:
        """The caller's buckets, under names by which S3 clients reach them."""
        visible = [info for info in self._buckets.select() if _is_visible(call, info)]
        owner = owner_element(call.principal.id or ROOT_ID)
        children = [owner, group("Buckets", _shown(visible))]
        return xml_answer("ListAllMyBucketsResult", children)


def _is_visible(call: S3Call, info: BucketInfo) -> bool:
    """Whether the caller is the bucket's owner, or may do everything; as Amazon, whatever is public."""
    principal = call.principal
    return principal.allowed == ALL or (bool(principal.id) and info.owner == principal.id)


def _shown(found: list[BucketInfo]) -> Iterator[str]:
    """Each bucket as an element, with its provider as AIStore tells it."""
    counts = Counter(info.bucket.name for info in found)
    own = {info.bucket.name for info in found if _is_own(info)}
    for info in found:
        name, provider = info.bucket.name, info.bucket.provider
        told = f"Provider: {provider}"
        if counts[name] > 1 and not _is_own(info):
            if info.bucket.namespace:
                continue  # no name leads S3 clients there
            first = "ais" if name in own else "another"
            told += (
                f" (WARNING: {{{name}, Provider: {first}}} and {{{name}, Provider: {provider}}}"
                " share the same name)"
            )
            name = f"{name}--{provider}"
        inner = [
            element("Name", name),
            element("CreationDate", timestamp(info.created_ns)),
            element("String", told),
        ]
        yield group("Bucket", inner)


def _is_own(info: BucketInfo) -> bool:
    return info.bucket.provider == "ais" and not info.bucket.namespace
