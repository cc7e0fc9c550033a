"""Clouds whose buckets are made with the cloud's own tools."""

from typing import ClassVar

from aisle.errors import Unsupported


class MadeElsewhere:
    """The part of a BackendProvider that makes and removes buckets, for those that never do."""

    scheme: ClassVar[str]
    """How its buckets are written, without `://`."""

    async def create_bucket(self, bucket: str) -> None:
        """Always raises Unsupported: buckets of clouds are made with the cloud's own tools."""
        raise Unsupported(f"{self.scheme}://{bucket}: buckets are created with the cloud's own tools")

    async def delete_bucket(self, bucket: str) -> None:
        """Always raises Unsupported, see `create_bucket`."""
        raise Unsupported(
            f"{self.scheme}://{bucket}: buckets are removed with the cloud's own tools; evict it here"
        )
