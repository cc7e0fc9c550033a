"""What callers are told of a bucket's properties."""

import msgspec

from aisle.api.gate import Action, Principal, permits
from aisle.model.bucket import BucketProperties, BucketShape, Extra


def told_properties(caller: Principal, properties: BucketProperties) -> BucketProperties:
    """The properties as far as the caller may know them.

    `extra` tells administrators alone where the node goes and with which of its credentials; others see its
    defaults. Strangers are not told which bucket stands behind one either.
    """
    if permits(caller, Action.ADMIN):
        return properties
    backend = properties.backend_bck if caller.is_known else BucketShape()
    return msgspec.structs.replace(properties, extra=Extra(), backend_bck=backend)
