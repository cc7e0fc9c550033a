"""Which bucket an S3 client means by a name.

S3 knows names only. The first provider of a configured order that has a bucket of a name is meant, by
default this cluster itself; else the name must be unique over providers. Buckets of namespaces are meant
only where no bucket of a global namespace is: else whoever may create some could make names ambiguous.
`NAME--PROVIDER` always means that provider's bucket: no bucket can be created with such a name (W39).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aisle.api.s3.errors import S3Error
from aisle.api.urls import decode_path
from aisle.errors import BadRequest
from aisle.gateway.buckets import Buckets
from aisle.model.bucket import BucketInfo
from aisle.model.names import Bucket, parse_bucket, parse_provider

_REMEMBERED_MAX: Final = 1024
OWN_FIRST: Final = ("ais",)
"""The usual order: this cluster's own buckets before all others, which have none among each other."""

Named = tuple[str, BucketInfo | None]
"""A bucket's name, decoded, and the bucket if there is one."""


class AmbiguousName(S3Error):
    """Several buckets have a name; it says which, and so is not for everybody."""


def alias_of(info: BucketInfo) -> str:
    """A name that always means this bucket, if it is in its provider's global namespace."""
    return f"{info.bucket.name}--{info.bucket.provider}"


class S3Names:
    """Finds buckets by what stands in paths; what was found is remembered until any bucket changes."""

    def __init__(self, buckets: Buckets, *, order: Sequence[str] = OWN_FIRST) -> None:
        """`order` are providers, those first whose buckets a name means if others have it too."""
        self._buckets = buckets
        self.order = tuple(order)
        """Providers, as they take precedence."""
        self._snapshot: Callable[[], Mapping[str, BucketInfo | None]] = buckets.snapshot
        self._seen: Mapping[str, BucketInfo | None] = {}
        self._known: dict[bytes, Named] = {}

    def find(self, raw: bytes) -> Named:
        """The bucket of a path element, still percent-encoded; None if there is no such bucket.

        Raises S3Error InvalidBucketName, AmbiguousName.
        """
        seen = self._snapshot()
        if seen is not self._seen:
            self._known.clear()
            self._seen = seen
        named = self._known.get(raw)
        if named is None:
            named = self._learn(raw)
            if named[1] is not None:
                if len(self._known) >= _REMEMBERED_MAX:
                    self._known.clear()
                self._known[raw] = named
        return named

    def called(self, name: str) -> BucketInfo | None:
        """The bucket of a name that is decoded already, such as that of a copy's source.

        Raises S3Error InvalidBucketName, AmbiguousName.
        """
        try:
            bucket = parse_bucket(name)
        except BadRequest as error:
            raise S3Error("InvalidBucketName", BucketName=name[:80]) from error
        everything = self._snapshot()
        for provider in self.order:
            first = everything.get(bucket._replace(provider=provider).uname)
            if first is not None:
                return first
        others = _competing([info for info in everything.values() if info and info.bucket.name == name])
        if len(others) > 1:
            listed = ", ".join(sorted(info.bucket.cname for info in others))
            raise AmbiguousName(
                "AmbiguousBucketName", f"{name} may be any of {listed}: use the native API", BucketName=name
            )
        return others[0] if others else self._of_provider(name)

    def _of_provider(self, name: str) -> BucketInfo | None:
        stem, separator, suffix = name.rpartition("--")
        if not separator or not stem:
            return None
        try:
            bucket = Bucket(stem, parse_provider(suffix))
        except BadRequest:
            return None
        return self._snapshot().get(bucket.uname)

    def leads_to(self, info: BucketInfo, others: Sequence[BucketInfo]) -> str:
        """The name that leads to a bucket; empty if none does. `others` are all buckets of its name."""
        competing = _competing(others)
        if info in competing and len(competing) == 1:
            return info.bucket.name
        if info.bucket.namespace:
            return ""
        places = [self._place(other) for other in others]
        first = min(places)
        is_first = self._place(info) == first and first < len(self.order) and places.count(first) == 1
        return info.bucket.name if is_first else alias_of(info)

    def _place(self, info: BucketInfo) -> int:
        """Where a bucket stands in the order; behind its end if it is not in it."""
        if info.bucket.namespace or info.bucket.provider not in self.order:
            return len(self.order)
        return self.order.index(info.bucket.provider)

    def _learn(self, raw: bytes) -> Named:
        try:
            name = decode_path(raw).decode("utf-8")
        except (BadRequest, UnicodeDecodeError) as error:
            raise S3Error("InvalidBucketName") from error
        return name, self.called(name)


def _competing(namesakes: Sequence[BucketInfo]) -> list[BucketInfo]:
    """Those that a name alone may mean: in global namespaces if there are any."""
    return [info for info in namesakes if not info.bucket.namespace] or list(namesakes)
