"""Other clusters that are attached: under which alias, where, and what was last seen of them.

A document of each lies in the metadata store, so every process knows them at once. Alias and UUID of a
cluster mean the same; what is kept here of its buckets stands under the UUID as soon as that is known.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from aisle.cluster.store import Document, MetadataStore
from aisle.cluster.view import View
from aisle.errors import BadRequest, NotFound, SourceFailed, StaleVersion, TooBusy
from aisle.gateway.sealing import Sealer
from aisle.model.attachment import CLUSTER_ID, Attachment, Json, decode_attachment, encode_attachment
from aisle.model.names import Bucket

AREA: Final = "remote"
"""The first path element of attachments."""

_ALIAS: Final = re.compile(r"[A-Za-z0-9_-]{2,64}")
_RESERVED: Final = "what"
_ATTEMPTS_MAX: Final = 100
_URLS_MAX: Final = 16

Change = Callable[[Attachment | None], Attachment | None]


class RemoteClusters:
    """What is attached, as one process sees it."""

    def __init__(self, store: MetadataStore, sealer: Sealer, *, cluster_id: str) -> None:
        """`cluster_id` is our own UUID, which cannot be attached."""
        self._store = store
        self._sealer = sealer
        self._cluster_id = cluster_id
        self._view = View(store, AREA, decoded_attachment)

    def all(self) -> list[Attachment]:
        """All attachments, in order of their aliases."""
        return list(self._view.all().values())

    def revision(self) -> int:
        """A number that grows with each change."""
        return self._store.revision(AREA)

    def find(self, name: str) -> Attachment | None:
        """The attachment of this alias or UUID."""
        attachments = self._view.all()
        found = attachments.get(name)
        return found or next((each for each in attachments.values() if name and each.uuid == name), None)

    def canonical(self, bucket: Bucket) -> Bucket:
        """The name under which a bucket is kept: its cluster's UUID instead of an alias."""
        if not bucket.namespace.startswith("@"):
            return bucket
        cluster, hash_, space = bucket.namespace[1:].partition("#")
        found = self.find(cluster)
        if found is None or not found.uuid:
            return bucket
        return bucket._replace(namespace=f"@{found.uuid}{hash_ if space else ''}{space}")

    def token(self, attachment: Attachment) -> str:
        """See Attachments.token."""
        if attachment.token is None:
            return ""
        return self._sealer.open(attachment.token, context=_context(attachment.alias)).decode()

    async def attach(
        self, alias: str, urls: Sequence[str], *, token: str = "", ca_file: str = ""
    ) -> Attachment:
        """Attach a cluster, or add addresses to one; it need not be there yet.

        Raises BadRequest for an alias or address that cannot be, Unsupported for a token that cannot be
        kept secret.
        """
        _check_alias(alias)
        wanted = [_checked_url(url) for url in urls]
        if not wanted:
            raise BadRequest(f"{alias}: no URL is given")
        if taken := next((each for each in self.all() if each.uuid == alias and each.alias != alias), None):
            raise BadRequest(f'"{alias}" is the UUID of the cluster that is attached as "{taken.alias}"')
        context = _context(alias)
        sealed = (
            await asyncio.to_thread(self._sealer.seal, token.encode(), context=context) if token else None
        )

        def decide(before: Attachment | None) -> Attachment:
            if before is None:
                return Attachment(alias, wanted, token=sealed, ca_file=ca_file)
            known = list(dict.fromkeys([*before.urls, *wanted]))
            if before.token is not None and sealed is None and len(known) > len(before.urls):
                # Whoever may attach need not know the token: it is not shown to whom he names.
                raise BadRequest(f"{alias}: name its token again, as it would be shown to further addresses")
            if len(known) > _URLS_MAX:
                raise BadRequest(f"{alias}: at most {_URLS_MAX} URLs can be attached")
            return msgspec.structs.replace(
                before, urls=known, token=sealed or before.token, ca_file=ca_file or before.ca_file
            )

        attached = await self._change(alias, decide)
        assert attached is not None
        return attached

    async def detach(self, name: str) -> None:
        """Forget a cluster, by its alias or UUID. Raises NotFound."""
        found = self.find(name)
        if found is None:
            raise NotFound(f'remote cluster "{name[:80]}" is not attached')
        await self._change(found.alias, lambda _: None)

    async def restore(self, alias: str, before: Attachment | None) -> None:
        """Take an attachment back that turned out to be wrong."""
        await self._change(alias, lambda _: before)

    async def learn(self, alias: str, document: Json) -> None:
        """See Attachments.learn; harmless where the cluster was detached meanwhile."""
        uuid = str(document.get("uuid", ""))
        if not CLUSTER_ID.fullmatch(uuid):
            raise SourceFailed(f'what answers for "{alias}" calls itself {uuid[:80]!r}, which is no id')
        if uuid == self._cluster_id:
            raise SourceFailed(f'the URLs of "{alias}" lead to this cluster itself ({uuid})')
        others = [each for each in self.all() if each.alias != alias]
        if taken := next((each for each in others if uuid in (each.uuid, each.alias)), None):
            raise SourceFailed(f'cluster {uuid} is attached as "{taken.alias}" already')

        def decide(before: Attachment | None) -> Attachment | None:
            if before is None:
                return None
            if before.uuid not in ("", uuid):
                raise SourceFailed(f'"{alias}" is cluster {before.uuid}, and one of its URLs leads to {uuid}')
            after = msgspec.structs.replace(before, uuid=uuid, map=document)
            return before if after.version < before.version else after

        await self._change(alias, decide)

    async def _change(self, alias: str, decide: Change) -> Attachment | None:
        key = f"{AREA}/{alias}"
        for _ in range(_ATTEMPTS_MAX):
            present = self._store.load(key)
            before = decoded_attachment(present) if present else None
            after = decide(before)
            if after == before:
                return after
            value = encode_attachment(after) if after else None
            version = present.version if present else 0
            try:
                await asyncio.to_thread(self._store.swap, key, value, expected_version=version)
            except StaleVersion:
                continue
            return after
        raise TooBusy("attachments are being changed by others: try again")


def decoded_attachment(document: Document) -> Attachment:
    """The attachment that a document holds."""
    return decode_attachment(document.value)


def _context(alias: str) -> str:
    return f"token of remote cluster {alias}"


def _check_alias(alias: str) -> None:
    if not _ALIAS.fullmatch(alias) or alias == _RESERVED:
        raise BadRequest(
            f'invalid alias "{alias[:80]}": expected 2 to 64 letters, digits, dashes (-) and underscores (_)'
            f', and not "{_RESERVED}"'
        )


def _checked_url(url: str) -> str:
    text = url.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    extra = parts.path.rstrip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or extra or not text.isascii():
        raise BadRequest(f'invalid URL "{url[:200]}" of a remote cluster: expected http(s)://HOST[:PORT]')
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}"
