"""The node as a forward proxy for datasets on web servers: `GET http://a/b/c/x.tar` sent to the node.

Only what lies in a folder that is an `ht://` bucket is answered, as an object of that bucket and by this
node itself: nothing is redirected, and no other address can be reached this way. Once credentials exist
they are shown in `Proxy-Authorization`, which goes nowhere; `Authorization` is for the web server, and is
not looked at.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

import msgspec

from aisle.api.gate import Action, Gate, authorize
from aisle.api.s3.call import S3Call
from aisle.api.s3.errors import CODES, S3Error, code_of
from aisle.errors import AisleError, BadRequest, Denied, ObjectNotFound, Unauthenticated
from aisle.gateway.buckets import Buckets
from aisle.httpd.head import ABSOLUTE
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, Response
from aisle.model.bucket import BucketInfo, HttpProperties
from aisle.model.names import display, parse_object_key
from aisle.rules.http_datasets import dataset_url
from aisle.rules.s3_places import plain_authority

_ACTIONS: Final = {"GET": Action.GET, "HEAD": Action.HEAD_OBJECT}
_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")
_CHALLENGE: Final = ("Proxy-Authenticate", 'Basic realm="aisle", Bearer realm="aisle"')


class _Dataset(NamedTuple):
    path: bytes
    """The decoded path of its folder, with a slash at its end."""
    info: BucketInfo


class ForwardProxy:
    """Answers requests whose target is a whole URL; one per process."""

    def __init__(self, buckets: Buckets, gate: Gate, read: Callable[[S3Call], Answer]) -> None:
        """`read` answers a GET or HEAD of an object of a remote bucket."""
        self._gate = gate
        self._read = read
        self._snapshot: Callable[[], Mapping[str, BucketInfo | None]] = buckets.snapshot
        self._seen: Mapping[str, BucketInfo | None] = {}
        self._datasets: dict[tuple[str, str], list[_Dataset]] = {}

    def is_meant(self, request: Request) -> bool:
        """Whether a request is for another host than the node: one with a dataset, or of no own name."""
        if self._snapshot() is not self._seen:
            self._learn()
        return _place(request) in self._datasets or not self._gate.is_own_host(
            request.headers.get("host", "")
        )

    async def answer(self, request: Request) -> Response:
        """The answer to a request that is meant for another host."""
        try:
            answer = self._answered(request)
            return answer if isinstance(answer, Response) else await answer
        except Unauthenticated as error:
            return Response(407, [_TEXT, _CHALLENGE], f"{error}\n".encode(), close=True)
        except AisleError as error:
            further = error.headers if isinstance(error, S3Error) else []
            return Response(CODES[code_of(error)][0], [_TEXT, *further], f"{error}\n".encode())

    def _answered(self, request: Request) -> Answer:
        caller = self._gate.admit_proxied(request)
        action = _ACTIONS.get(request.method)
        if action is None:
            allowed = ("Allow", ", ".join(_ACTIONS))
            return Response(405, [_TEXT, allowed], b"datasets on web servers are only read\n", close=True)
        info, key = self._find(request)
        authorize(caller, action, info)
        headers = {name: value for name, value in request.headers.items() if name != "proxy-authorization"}
        asked = msgspec.structs.replace(request, caller=caller, headers=headers)
        return self._read(S3Call(asked, info.bucket.name, key, {}, authorize, info))

    def _find(self, request: Request) -> tuple[BucketInfo, bytes]:
        """The bucket and the name in it that a URL means. Raises Denied for all others."""
        scheme, authority = place = _place(request)
        path = unquote_to_bytes(request.path)
        for dataset in self._datasets.get(place, ()):
            if path.startswith(dataset.path) and not request.query:
                key = path[len(dataset.path) :]
                if not key:
                    raise ObjectNotFound(f"{display(dataset.info.bucket, key)}: folders are not shown here")
                return dataset.info, parse_object_key(key)
        raise Denied(
            f"{scheme}://{authority[:80]}: only files of datasets are answered here: "
            "make the folder a bucket with  ais create --url URL"
        )

    def _learn(self) -> None:
        self._seen = self._snapshot()
        self._datasets.clear()
        for info in self._seen.values():
            http = info.properties.extra.http if info is not None else None
            if info is None or info.bucket.provider != "ht" or not isinstance(http, HttpProperties):
                continue
            try:
                parts = urlsplit(dataset_url(http.original_url))
            except BadRequest:
                continue
            place = (parts.scheme, plain_authority(parts.netloc, parts.scheme))
            self._datasets.setdefault(place, []).append(_Dataset(unquote_to_bytes(parts.path), info))
        for found in self._datasets.values():
            # The innermost folder around a file is meant.
            found.sort(key=lambda dataset: len(dataset.path), reverse=True)


def _place(request: Request) -> tuple[str, str]:
    """Scheme and authority of a request's target."""
    scheme = request.headers[ABSOLUTE]
    return scheme, plain_authority(request.headers.get("host", ""), scheme)
