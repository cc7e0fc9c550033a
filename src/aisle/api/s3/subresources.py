"""Amazon's closed list of sub-resources: query names that choose an operation.

One of them is looked for before the plain verb, so that `DELETE /bucket?policy` never removes the
bucket (ais-downloader-backends-s3.md §6, W26 to W28). Any other query name, such as the `x-id` that
SDKs send, says nothing about what is to be done.
"""

from collections.abc import Mapping
from typing import Final

from aisle.api.s3.call import Level, S3Query
from aisle.api.s3.errors import S3Error

_ON_BUCKETS: Final[Mapping[str, str]] = {
    "abac": "GET PUT",
    "accelerate": "GET PUT",
    "acl": "GET PUT",
    "analytics": "GET PUT DELETE",
    "cors": "GET PUT DELETE",
    "delete": "POST",
    "encryption": "GET PUT DELETE",
    "intelligent-tiering": "GET PUT DELETE",
    "inventory": "GET PUT DELETE",
    "lifecycle": "GET PUT DELETE",
    "location": "GET",
    "logging": "GET PUT",
    "metadataConfiguration": "GET POST DELETE",
    "metadataInventoryTable": "PUT",
    "metadataJournalTable": "PUT",
    "metadataTable": "GET POST DELETE",
    "metrics": "GET PUT DELETE",
    "notification": "GET PUT",
    "object-lock": "GET PUT",
    "ownershipControls": "GET PUT DELETE",
    "policy": "GET PUT DELETE",
    "policyStatus": "GET",
    "publicAccessBlock": "GET PUT DELETE",
    "replication": "GET PUT DELETE",
    "requestPayment": "GET PUT",
    "session": "GET",
    "tagging": "GET PUT DELETE",
    "uploads": "GET",
    "versioning": "GET PUT",
    "versions": "GET",
    "website": "GET PUT DELETE",
}
_ON_OBJECTS: Final[Mapping[str, str]] = {
    "acl": "GET PUT",
    "attributes": "GET",
    "encryption": "PUT",
    "legal-hold": "GET PUT",
    "partNumber": "GET HEAD",
    "renameObject": "PUT",
    "restore": "POST",
    "retention": "GET PUT",
    "select": "POST",
    "tagging": "GET PUT DELETE",
    "torrent": "GET",
    "uploadId": "GET PUT POST DELETE",
    "uploads": "POST",
}
METHODS: Final[Mapping[Level, Mapping[str, frozenset[str]]]] = {
    Level.SERVICE: {},
    Level.BUCKET: {name: frozenset(methods.split()) for name, methods in _ON_BUCKETS.items()},
    Level.OBJECT: {name: frozenset(methods.split()) for name, methods in _ON_OBJECTS.items()},
}
"""The methods that Amazon has for each sub-resource of a level."""

_NAMES: Final = frozenset(_ON_BUCKETS) | frozenset(_ON_OBJECTS)


def subresource_of(query: S3Query, level: Level) -> str:
    """The sub-resource that a query names; empty for the bucket, object or service itself.

    One that exists on another level only counts too: it asks for something that is not the plain
    verb. Raises S3Error where several contradict each other.
    """
    if level is Level.SERVICE or _NAMES.isdisjoint(query):
        return ""
    found = sorted(_NAMES & query.keys())
    if "uploadId" in found and "partNumber" in found:
        found.remove("partNumber")
    if len(found) > 1:
        raise S3Error("InvalidArgument", f"Conflicting query string parameters: {', '.join(found)}")
    return found[0]
