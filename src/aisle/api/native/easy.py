"""Easy URLs: `/ais/BUCKET/OBJECT` for what `/v1/objects/BUCKET/OBJECT?provider=ais` means.

AIStore has them for reading, writing and listing, with the provider as the first element. `/s3` is not
among them: there S3's own dialect is spoken.
"""

from collections.abc import Callable
from typing import Final

from aisle.api.gate import Action
from aisle.api.messages import ActionMessage
from aisle.api.native.buckets import BucketVerbs
from aisle.api.native.objects import ObjectVerbs
from aisle.api.router import ELEMENTS_MAX, Elements, Route
from aisle.httpd.request import Request
from aisle.httpd.response import Answer

SCHEMES: Final = ("ais", "gs", "az", "oc")
"""First elements of easy URLs; they are the providers' short names too."""

EASY_BUCKET_PLACE: Final = 2
"""Where the bucket stands among the elements of an easy URL's path."""

_Handler = Callable[[Request, Elements], Answer]
_NOTHING_MORE: Final = ActionMessage()


class EasyUrls:
    """Handlers that translate paths and leave the work to the verbs themselves."""

    def __init__(self, objects: ObjectVerbs, buckets: BucketVerbs) -> None:
        self._objects = objects
        self._buckets = buckets

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        on_objects: tuple[tuple[str, Action, _Handler], ...] = (
            ("GET", Action.GET, self._objects.get),
            ("HEAD", Action.HEAD_OBJECT, self._objects.head),
            ("PUT", Action.PUT, self._objects.put),
            ("DELETE", Action.DELETE_OBJECT, self.delete),
        )
        rows = []
        for scheme in SCHEMES:
            every, one = f"/{scheme}", f"/{scheme}/{{bucket}}"
            rows += [
                Route("GET", every, Action.LIST_BUCKETS, _translated("buckets", self.select)),
                Route("GET", one, Action.LIST_OBJECTS, _translated("buckets", self.list)),
                Route("HEAD", one, Action.HEAD_BUCKET, _translated("buckets", self._buckets.head)),
            ]
            for path in (f"{one}/{{object}}", f"{one}/{{object}}/{{rest}}"):
                rows += [
                    Route(method, path, action, _translated("objects", handler))
                    for method, action, handler in on_objects
                ]
        return rows

    def delete(self, request: Request, elements: Elements) -> Answer:
        """Remove an object; the body says nothing."""
        return self._objects.delete(request, elements, _NOTHING_MORE)

    def list(self, request: Request, elements: Elements) -> Answer:
        """A bucket's first page; the body says nothing."""
        return self._buckets.list_objects(request, elements, _NOTHING_MORE)

    def select(self, request: Request, elements: Elements) -> Answer:
        """The provider's buckets; the body says nothing."""
        return self._buckets.select(request, elements, _NOTHING_MORE)


def easy_query(provider: bytes, query: bytes) -> bytes:
    """The query that an easy URL stands for: the provider of its path comes before any other."""
    return b"provider=" + provider + (b"&" + query if query else b"")


def _translated(kind: str, handler: _Handler) -> _Handler:
    """The handler, called with the path that an easy one stands for."""
    start = b"/v1/" + kind.encode()

    def translated(request: Request, elements: Elements) -> Answer:
        provider, *rest = elements[1:]
        request.path = b"/".join((start, *rest)) if b"".join(rest) else start
        request.query = easy_query(provider, request.query)
        return handler(request, request.path.split(b"/", ELEMENTS_MAX))

    return translated
