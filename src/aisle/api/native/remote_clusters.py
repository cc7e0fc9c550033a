"""Other clusters on the wire: attached, detached, shown (ais-downloader-backends-s3.md §3.6)."""

import asyncio
from typing import Final

import msgspec

from aisle.api.gate import Action
from aisle.api.native.buckets import JSON_TYPE
from aisle.api.router import Elements, Route
from aisle.backends.remote_gateways import Contact, Gateways
from aisle.errors import AisleError, BadRequest, SourceDenied, SourceFailed, SourceUnreachable
from aisle.gateway.remote_clusters import RemoteClusters
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.model.attachment import Attachment, Json

ALIAS_FIELD: Final = "ais-remote-ais-alias"
URL_FIELD: Final = "ais-remote-ais-url"
"""Several are separated by commas."""
TOKEN_FIELD: Final = "aisle-remote-token"  # noqa: S105 - the name of a header
CA_FIELD: Final = "aisle-remote-ca"
"""The path of a file on the node with certificates to trust."""

_OFFLINE: Final = Contact(False)


class RemoteClusterVerbs:
    """Handlers of what is asked about other clusters."""

    def __init__(self, clusters: RemoteClusters, gateways: Gateways) -> None:
        self._clusters = clusters
        self._gateways = gateways

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        shown = "/v1/cluster", "/v1/daemon", "/v1/reverse/daemon"
        return [
            *(Route("GET", path, Action.SHOW_CLUSTER, self.show, "what=remote") for path in shown),
            Route("PUT", "/v1/cluster/attach", Action.ADMIN, self.attach),
            Route("PUT", "/v1/cluster/detach", Action.ADMIN, self.detach),
        ]

    async def attach(self, request: Request, _elements: Elements) -> Response:
        """Attach a cluster, or look again at one that is attached; it need not be there yet.

        Raises BadRequest for what is no other cluster, or another one than before.
        """
        headers = request.headers
        alias = headers.get(ALIAS_FIELD, "")
        urls = [url for url in headers.get(URL_FIELD, "").split(",") if url.strip()]
        before = next((each for each in self._clusters.all() if each.alias == alias), None)
        await self._clusters.attach(
            alias, urls, token=headers.get(TOKEN_FIELD, ""), ca_file=headers.get(CA_FIELD, "")
        )
        try:
            await self._gateways.refresh(alias, strictly=True)
        except SourceUnreachable:
            pass  # it may come later
        except (SourceFailed, SourceDenied) as error:
            await self._clusters.restore(alias, before)
            raise BadRequest(f"{error}: not attached") from error
        except AisleError:
            await self._clusters.restore(alias, before)
            raise
        return Response(200)

    async def detach(self, request: Request, _elements: Elements) -> Response:
        """Forget a cluster, by its alias or UUID. Raises NotFound."""
        headers = request.headers
        await self._clusters.detach(headers.get(ALIAS_FIELD, "") or headers.get("ais-remote-ais-uuid", ""))
        return Response(200)

    async def show(self, _request: Request, _elements: Elements) -> Response:
        """The clusters that are attached, each looked at again (RemAisVec, §8.1).

        Beside AIStore's members each tells whether it is `online`, and how long it has been up.
        """
        aliases = [each.alias for each in self._clusters.all()]
        contacts = await asyncio.gather(*map(self._contact, aliases))
        after = [self._clusters.find(alias) for alias in aliases]
        told = [_shown(each, contact) for each, contact in zip(after, contacts, strict=True) if each]
        document = {"a": told, "ver": self._clusters.revision()}
        return Response(200, [JSON_TYPE], msgspec.json.encode(document) + b"\n")

    async def _contact(self, alias: str) -> Contact:
        try:
            return await self._gateways.refresh(alias)
        except AisleError:
            return _OFFLINE


def _shown(attachment: Attachment, contact: Contact) -> Json:
    return {
        "smap": attachment.map or None,
        "url": ",".join(attachment.urls),
        "alias": attachment.alias,
        "uuid": attachment.uuid,
        "online": contact.is_online,
        "uptime_ns": contact.uptime_ns,
    }
