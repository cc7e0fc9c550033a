"""A process with a local engine that executes plans: `python -m support.storage_worker SETTINGS`.

Each line of standard input is a plan: operations of several tasks, run at the same time. Each line of
standard output is the history: what was asked, when it began and ended, and what came out.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from aisle.config import StorageConfig
from aisle.errors import ConditionFailed, Unavailable
from aisle.model.names import ObjectName
from aisle.model.record import ABSENT, ANY, PRESENT, Attributes, Condition
from aisle.storage.engine import Draft
from aisle.storage.local import LocalEngine, open_local_engine

PADDING = {"small": 0, "pieces": 9_000, "file": 20_000}
CONDITIONS = {"any": ANY, "absent": ABSENT, "present": PRESENT}


def payload(value: str, size: str) -> bytes:
    """The content that stands for a value."""
    return value.encode() + b"." * PADDING[size]


async def draft_of(engine: LocalEngine, name: ObjectName, content: bytes) -> Draft:
    """A finished draft."""
    draft = engine.draft(name, size=len(content))
    for step in (draft.write(content), draft.finish()):
        if step is not None:
            await step
    return draft


class Task:
    """One line of work; `seen` is what it last read, by key, for conditions."""

    def __init__(self, engine: LocalEngine, bucket: int) -> None:
        self._engine = engine
        self._bucket = bucket
        self._seen: dict[str, tuple[str, bytes]] = {}

    async def run(self, operations: list[dict[str, str]]) -> list[dict[str, Any]]:
        """Execute operations one after the other."""
        history = []
        for operation in operations:
            name = ObjectName(self._bucket, operation["key"].encode())
            condition, told = self._condition(operation)
            began = time.monotonic_ns()
            outcome = await self._execute(operation, name, condition)
            ended = time.monotonic_ns()
            history.append({**operation, "when": told, "began": began, "ended": ended, "outcome": outcome})
        return history

    def _condition(self, operation: dict[str, str]) -> tuple[Condition, str]:
        when = operation.get("when", "any")
        if when != "seen":
            return CONDITIONS[when], when
        seen = self._seen.get(operation["key"])
        return (Condition(generation=seen[1]), f"is {seen[0]}") if seen else (ABSENT, "absent")

    async def _execute(self, operation: dict[str, str], name: ObjectName, condition: Condition) -> str:
        engine = self._engine
        try:
            match operation["act"]:
                case "read":
                    return self._read(name)
                case "put":
                    draft = await draft_of(engine, name, payload(operation["value"], operation["size"]))
                    await engine.commit(name, draft, Attributes(), condition=condition)
                    return "done"
                case "parts":
                    await self._put_in_parts(name, operation["value"], condition)
                    return "done"
                case "remove":
                    return "done" if await engine.remove(name, condition=condition) else "nothing"
                case "amend":
                    attributes = Attributes(content_type=operation["value"])
                    await engine.amend(name, attributes, condition=condition)
                    return "done"
        except ConditionFailed:
            return "refused"
        except Unavailable:
            return "unknown"
        raise AssertionError(operation)

    async def _put_in_parts(self, name: ObjectName, value: str, condition: Condition) -> None:
        upload = await self._engine.begin_upload(name, Attributes())
        for number, content in ((1, value.encode()), (2, b"." * 17_000)):
            draft = await draft_of(self._engine, name, content)
            await self._engine.commit_part(upload, number, draft, Attributes())
        try:
            await self._engine.complete_upload(upload, [1, 2], Attributes(), condition=condition)
        except ConditionFailed:
            await self._engine.abandon_upload(upload.id)
            raise

    def _read(self, name: ObjectName) -> str:
        stored = self._engine.open(name)
        if stored is None:
            return "nothing"
        content = stored.inline
        if content is None:
            content = b""
            for segment in stored.segments:
                with open(segment.fd, "rb", closefd=False) as file:
                    file.seek(segment.offset)
                    content += file.read(segment.length)
        stored.close()
        assert len(content) == stored.record.size
        value = content.rstrip(b".").decode()
        self._seen[name.key.decode()] = (value, stored.record.generation)
        return f"{value} {stored.record.attributes.content_type}".strip()


async def main() -> None:
    """Execute plans until there are no more."""
    settings = json.loads(sys.argv[1])
    engine = open_local_engine(
        [Path(path) for path in settings["paths"]],
        committer_path=settings["address"],
        incarnation=bytes.fromhex(settings["incarnation"]),
        config=StorageConfig(**settings["config"]),
    )
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        plan = json.loads(line)
        await engine.open_bucket(plan["bucket"])
        tasks = [Task(engine, plan["bucket"]).run(operations) for operations in plan["tasks"]]
        history = [step for steps in await asyncio.gather(*tasks) for step in steps]
        print(json.dumps(history), flush=True)
    await engine.close()


if __name__ == "__main__":
    asyncio.run(main())
