"""Settings of buckets that nobody can make here.

Asking for one is answered as Amazon does when it is not set, which is true. Setting or removing one
is not implemented, and says so.

Clients ask for several of them before they do anything else (`s3cmd info`, browsers of buckets).
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from aisle.api.gate import Action
from aisle.api.s3.call import Level, S3Call
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.errors import S3Error
from aisle.api.s3.xml import element, xml_answer
from aisle.httpd.response import Response

_MISSING: Final[Mapping[str, str]] = {
    "cors": "NoSuchCORSConfiguration",
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "lifecycle": "NoSuchLifecycleConfiguration",
    "object-lock": "ObjectLockConfigurationNotFoundError",
    "ownershipControls": "OwnershipControlsNotFoundError",
    "policy": "NoSuchBucketPolicy",
    "policyStatus": "NoSuchBucketPolicy",
    "publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
    "replication": "ReplicationConfigurationNotFoundError",
    "tagging": "NoSuchTagSet",
    "website": "NoSuchWebsiteConfiguration",
}
"""Sub-resource to the code of an answer 404."""

_EMPTY: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "accelerate": ("AccelerateConfiguration", ()),
    "logging": ("BucketLoggingStatus", ()),
    "notification": ("NotificationConfiguration", ()),
    "requestPayment": ("RequestPaymentConfiguration", (element("Payer", "BucketOwner"),)),
}
"""Sub-resource to root element and content of a document that says "not set"."""

_LISTS: Final[Mapping[str, str]] = {
    "analytics": "ListBucketAnalyticsConfigurationResult",
    "intelligent-tiering": "ListBucketIntelligentTieringConfigurationsOutput",
    "inventory": "ListInventoryConfigurationsResult",
    "metrics": "ListMetricsConfigurationsResult",
}
"""Sub-resources of which a bucket may have several, by id, to the root element of their list."""


class UnsetSettings:
    """Handlers of questions about settings that are not set."""

    def operations(self) -> list[Operation]:
        """Their rows of the table."""
        handlers = {
            **{name: partial(_missing, code) for name, code in _MISSING.items()},
            **{name: partial(_empty, *document) for name, document in _EMPTY.items()},
            **{name: partial(_listed, root) for name, root in _LISTS.items()},
        }
        return [
            Operation("GET", Level.BUCKET, name, Action.HEAD_BUCKET, handler)
            for name, handler in handlers.items()
        ]


def _missing(code: str, call: S3Call) -> Response:
    raise S3Error(code, BucketName=call.name)


def _empty(root: str, content: tuple[str, ...], _call: S3Call) -> Response:
    return xml_answer(root, content)


def _listed(root: str, call: S3Call) -> Response:
    if call.query.get("id"):
        raise S3Error("NoSuchConfiguration", BucketName=call.name)
    return xml_answer(root, [element("IsTruncated", "false")])
