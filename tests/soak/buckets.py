"""Buckets that come and go while processes are killed: none is lost, none comes back, all begin empty."""

import random

from support.content import payload
from support.load import MixedLoad
from support.native import CONNECTION_ERRORS, NativeClient, UnexpectedStatus
from support.oracle import Oracle, Violation

NUMBER = 6
_PREFIX = "churn-"
_OBJECT_BYTES = (100, 30_000)


class Churn:
    """One thread's buckets; a bucket counts as a name of no bytes that is there or is not."""

    def __init__(self, seed: int) -> None:
        self._oracle = Oracle()
        self._dice = random.Random(seed)
        self._client: NativeClient | None = None

    def step(self, load: MixedLoad) -> None:
        """Create one with objects in it, or destroy it."""
        self._client = client = self._client or load.connect()
        bucket = f"{_PREFIX}{self._dice.randrange(NUMBER)}"
        try:
            if self._dice.random() < 0.5:
                self._create(load, client, bucket)
            else:
                self._destroy(load, client, bucket)
        except CONNECTION_ERRORS as error:
            load.failed(client, "churn", error)
            self._client = None
        except UnexpectedStatus as error:
            load.unexpected("bucket", bucket, error.status, str(error))

    def _create(self, load: MixedLoad, client: NativeClient, bucket: str) -> None:
        before = self._oracle.moment(bucket)
        operation = self._oracle.begin(bucket, 0)
        answer = client.create_bucket(bucket)
        if answer.status == 409:
            if all(earlier.size is None for earlier in before.possible):
                raise Violation(f"bucket {bucket} was destroyed and exists: {answer.body!r}")
        elif answer.status != 200:
            load.unexpected("create", bucket, answer.status, answer.body)
            return
        self._oracle.acknowledge(bucket, operation)
        load.counts["buckets"] += 1
        if answer.status == 200 and all(earlier.size is None for earlier in before.possible):
            left = list(client.list_all(bucket))
            if left:
                raise Violation(f"the new bucket {bucket} shows objects: {left[:5]}")
        for size in _OBJECT_BYTES:
            stored = client.put(bucket, f"of {size}", payload("churn", 1, size))
            if stored.status != 200:
                load.unexpected("PUT into", bucket, stored.status, stored.body)

    def _destroy(self, load: MixedLoad, client: NativeClient, bucket: str) -> None:
        before = self._oracle.moment(bucket)
        operation = self._oracle.begin(bucket, None)
        answer = client.destroy_bucket(bucket)
        if answer.status == 404:
            if all(earlier.size is not None for earlier in before.possible):
                raise Violation(f"bucket {bucket} was created and is not there: {answer.body!r}")
        elif answer.status != 200:
            load.unexpected("destroy", bucket, answer.status, answer.body)
            return
        self._oracle.acknowledge(bucket, operation)

    def verify(self, client: NativeClient) -> int:
        """With the load paused: exactly the buckets that must be there, and they work."""
        found = {name for name in client.buckets() if name.startswith(_PREFIX)}
        for bucket in sorted(found | set(self._oracle.names())):
            self._oracle.settle(bucket, b"" if bucket in found else None)
        for bucket in found:
            for size in _OBJECT_BYTES:
                answer = client.put(bucket, f"of {size}", payload("churn", 1, size))
                if answer.status != 200:
                    raise Violation(f"PUT into {bucket}: {answer.status} {answer.body[:300]!r}")
                if client.get(bucket, f"of {size}").body != payload("churn", 1, size):
                    raise Violation(f"{bucket}: an object does not read back")
            if len(list(client.list_all(bucket))) != len(_OBJECT_BYTES):
                raise Violation(f"{bucket} lists {list(client.list_all(bucket))}")
        return len(found)
