"""The first access to a dataset on a web server that names its address: `?provider=ht&original_url=URL`."""

from typing import Final

from aisle.api.gate import Action, authorize
from aisle.api.router import ELEMENTS_MAX, split
from aisle.api.urls import Query, decode_path
from aisle.errors import BadRequest, Denied
from aisle.httpd.request import Request
from aisle.model.names import Bucket
from aisle.model.trees import Tree
from aisle.rules.http_datasets import folder_of

ADDRESS: Final = "original_url"
"""The parameter that names it (ais-downloader-backends-s3.md §3): the folder's, or that of the object."""

_OF_BROWSERS: Final = "sec-fetch-"
"""Begins the fields by which browsers say what a request is for; nobody else sends them."""


def dataset_named(request: Request, bucket: Bucket, query: Query) -> Tree | None:
    """The properties of a bucket that is not known yet, if the request names its address.

    Raises BadRequest for what is no such address, Denied for whoever may not say where the node goes.
    """
    url = query.get(ADDRESS, "")
    if bucket.provider != "ht" or not url:
        return None
    authorize(request.caller, Action.ADMIN)
    if any(name.startswith(_OF_BROWSERS) for name in request.headers):
        raise Denied(
            f"{bucket.cname}: browsers may not say where its bytes are, as any page could make them: "
            "make the bucket with  ais create --url URL"
        )
    elements = split(request.path)
    raw = (
        elements[ELEMENTS_MAX]
        if elements[1:3] == [b"v1", b"objects"] and len(elements) > ELEMENTS_MAX
        else b""
    )
    try:
        key = decode_path(raw).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"{bucket.cname}: the object's name is not valid UTF-8") from error
    return {"extra": {"http": {"original_url": folder_of(url, key)}}}
