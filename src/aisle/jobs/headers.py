"""A job's private headers, between the request that brought them and those that carry them.

They are kept wrapped by the cluster's master key and bound to their job, so that neither a copied
disk nor a record that was moved to another job tells them.
"""

import msgspec

from aisle.gateway.sealing import Sealer
from aisle.model.job import Headers, JobRecord, Sealed


def seal_headers(sealer: Sealer, job_id: str, headers: Headers) -> Sealed | None:
    """The headers of a job as they may be kept; None if there are none.

    May block for a disk. Raises Unsupported where there is no master key.
    """
    return sealer.seal(msgspec.json.encode(headers), context=_context(job_id)) if headers else None


def open_headers(sealer: Sealer, record: JobRecord) -> Headers:
    """The headers of a job. Raises Unavailable when they cannot be unwrapped any more."""
    if record.headers is None:
        return ()
    return msgspec.json.decode(sealer.open(record.headers, context=_context(record.id)), type=Headers)


def _context(job_id: str) -> str:
    return f"headers of {job_id}"
