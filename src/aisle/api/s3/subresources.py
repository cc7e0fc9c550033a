"""Amazon's closed list of sub-resources: query names that choose an operation.

One of them is looked for before the plain verb, so that `DELETE /bucket?policy` never removes the
bucket (ais-downloader-backends-s3.md §6, W26 to W28). Any other query name, such as the `x-id` that
SDKs send, says nothing about what is to be done.
"""

from typing import Final

from aisle.api.s3.call import Level, S3Query
from aisle.api.s3.errors import S3Error

NAMES: Final = frozenset(
    [
        "abac",
        "accelerate",
        "acl",
        "analytics",
        "attributes",
        "cors",
        "delete",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "legal-hold",
        "lifecycle",
        "location",
        "logging",
        "metadataConfiguration",
        "metadataInventoryTable",
        "metadataJournalTable",
        "metadataTable",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "partNumber",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "renameObject",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "session",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versioning",
        "versions",
        "website",
    ]
)
"""All of them, those of buckets and those of objects."""


def subresource_of(query: S3Query, level: Level) -> str:
    """The sub-resource that a query names; empty for the bucket, object or service itself.

    One that exists on another level only counts too: whoever sends it does not mean the plain verb.
    Raises S3Error where several contradict each other.
    """
    if level is Level.SERVICE or NAMES.isdisjoint(query):
        return ""
    found = sorted(NAMES & query.keys())
    if "uploadId" in found and "partNumber" in found:
        found.remove("partNumber")
    if len(found) > 1:
        raise S3Error("InvalidArgument", f"Conflicting query string parameters: {', '.join(found)}")
    return found[0]
