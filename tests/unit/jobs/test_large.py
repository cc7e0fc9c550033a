"""Pieces of a large object that come in any order, by any number of connections."""

import asyncio
import os
import random
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import pytest
import xxhash

from aisle.cluster.memory import MemoryStore
from aisle.errors import AisleError, ChecksumMismatch, SourceFailed, Unavailable
from aisle.gateway.buckets import Buckets
from aisle.jobs.destination import Destination
from aisle.jobs.inflow import ByteBudget
from aisle.jobs.large import LargeObject, SavedParts, Source, saved_parts
from aisle.jobs.piece import Piece
from aisle.jobs.provider_parts import Told
from aisle.model.digests import GIT_BLOB
from aisle.model.names import ObjectName, parse_bucket
from aisle.model.record import Attributes, Record
from aisle.rules.download_reply import Reply
from aisle.storage.memory import MemoryEngine

PART_BYTES = 64 * 1024
BODY = os.urandom(1_000_000)
LINK = "http://h/o"
KEY = b"o"


class Rig:
    def __init__(self) -> None:
        self.engine = MemoryEngine(time.time_ns)
        self.buckets = Buckets(MemoryStore(), self.engine)
        self.errors: list[Exception] = []
        self.budget = ByteBudget(2**30)

    async def begin(self) -> "Rig":
        bucket = await self.buckets.create(parse_bucket("b"))
        self.destination = Destination(self.engine, bucket)
        return self

    def large(self) -> LargeObject:
        return LargeObject(
            self.destination,
            Source(KEY, LINK, "dnl-1"),
            self.budget,
            part_bytes=PART_BYTES,
            broken=self.errors.append,
        )

    def attributes(self, computed: Mapping[str, str], size: int) -> Attributes:
        return self.destination.attributes(LINK, reply(), computed, size=size)

    def content(self) -> bytes | None:
        stored = self.engine.open(ObjectName(self.destination.bucket.number, KEY))
        return stored.inline if stored else None


def reply(body: bytes = BODY, **fields: str) -> Reply:
    return Reply(200, {"Content-Length": str(len(body)), "ETag": '"v1"', **fields})


def offer(piece: Piece, count: int) -> None:
    """The next bytes, as a connection would bring them."""
    offered = piece.offer(BODY[piece.position : piece.position + count], lambda: None)
    assert offered


async def finish(rig: Rig, large: LargeObject) -> Record:
    assert large.is_whole
    return await large.complete(rig.attributes)


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await test

    asyncio.run(limited())


@pytest.mark.parametrize("seed", range(12))
def test_pieces_in_any_order_become_the_object(seed: int) -> None:
    async def test() -> None:
        chance = random.Random(seed)
        rig = await Rig().begin()
        large = rig.large()
        large.started(reply(), len(BODY))
        running: list[Piece] = []
        while not large.is_whole:
            action = chance.random()
            if action < 0.2 or not running:
                if not large.share(chance.randrange(1, 200_000)) and running:
                    continue
                piece = large.next_piece(chance.randrange(1, 300_000))
                if piece is not None:
                    piece.begin()
                    running.append(piece)
                continue
            piece = chance.choice(running)
            if action < 0.25:
                running.remove(piece)
                large.park(piece)
                continue
            offer(piece, chance.randrange(1, 50_000))
            if piece.is_full:
                running.remove(piece)
                large.finish(piece)
            if action > 0.7:
                await asyncio.sleep(0)
        assert large.received == len(BODY)
        record = await finish(rig, large)
        assert rig.content() == BODY
        assert record.attributes.checksum_value == xxhash.xxh64(BODY).hexdigest()
        assert rig.errors == []
        assert rig.budget.used_bytes == 0
        assert rig.engine.uploads(rig.destination.bucket.number) == []

    run(test())


@pytest.mark.parametrize("kind", ["md5", "sha-256"])
def test_slow_digests_take_the_bytes_in_order_too(kind: str) -> None:
    import base64
    import hashlib

    digest = hashlib.new(kind.replace("-", ""), BODY).digest()

    async def test(announced: bytes) -> None:
        rig = await Rig().begin()
        large = rig.large()
        large.started(reply(Digest=f"{kind}={base64.b64encode(announced).decode()}"), len(BODY))
        pieces = []
        while (piece := large.next_piece(150_000)) is not None:
            piece.begin()
            pieces.append(piece)
        for piece in reversed(pieces):
            while not piece.is_full:
                offer(piece, 40_000)
                await asyncio.sleep(0)
            large.finish(piece)
        await finish(rig, large)
        assert rig.content() == BODY

    run(test(digest))
    with pytest.raises(ChecksumMismatch):
        run(test(bytes(len(digest))))


def test_what_earlier_processes_left_in_any_order_is_not_fetched_again() -> None:
    async def test() -> None:
        rig = await Rig().begin()
        large = rig.large()
        large.started(reply(), len(BODY))
        pieces = [large.next_piece(200_000) for _ in range(5)]
        for number in (3, 1):
            piece = pieces[number]
            assert piece is not None
            piece.begin()
            while not piece.is_full:
                offer(piece, 50_000)
            large.finish(piece)
            await piece.stored()
        await large.abandon(keep_parts=True)

        saved = saved_parts(rig.destination, "dnl-1")[KEY]
        assert saved.size == 400_000
        large = rig.large()
        large.adopt(saved)
        assert large.received == 400_000
        large.started(Reply(206, {"ETag": '"v1"'}), len(BODY))
        spans = []
        while (piece := large.next_piece(len(BODY))) is not None:
            assert piece.claim is not None
            spans.append((piece.claim.start, piece.claim.end))
            piece.begin()
            while not piece.is_full:
                offer(piece, 50_000)
                await asyncio.sleep(0)
            large.finish(piece)
        assert spans == [(0, 200_000), (400_000, 600_000), (800_000, 1_000_000)]
        await finish(rig, large)
        assert rig.content() == BODY

    run(test())


def test_parts_that_overlap_are_not_both_used() -> None:
    async def test() -> None:
        rig = await Rig().begin()
        large = rig.large()
        large.started(reply(), len(BODY))
        piece = large.next_piece(130_000)
        assert piece is not None
        piece.begin()
        while not piece.is_full:
            offer(piece, 50_000)
        large.finish(piece)
        await piece.stored()
        # As if a process that was thought dead had stored a bit more.
        late = large.new_draft(100)
        late.write(BODY[130_000 - 50 : 130_050])
        await large.commit_part(130_000 - 50, late)
        await large.abandon(keep_parts=True)
        saved = saved_parts(rig.destination, "dnl-1")[KEY]
        assert sorted(saved.parts) == [0, PART_BYTES]
        assert isinstance(saved, SavedParts)

    run(test())


def test_a_stopped_object_is_not_shown() -> None:
    async def test() -> None:
        rig = await Rig().begin()
        large = rig.large()
        large.started(reply(), len(BODY))
        piece = large.next_piece(len(BODY))
        assert piece is not None
        piece.begin()
        while not piece.is_full:
            offer(piece, 100_000)
        large.finish(piece)
        completing = asyncio.ensure_future(large.complete(rig.attributes))
        await asyncio.sleep(0)
        await large.abandon()
        with pytest.raises((Unavailable, AisleError)):
            await completing
        assert rig.content() is None

    run(test())


def test_a_digest_that_needs_a_size_which_nobody_tells_cannot_be_checked() -> None:
    async def test() -> None:
        rig = await Rig().begin()
        large = rig.large()
        large.started(Told("", {GIT_BLOB: "0" * 40}), None)
        piece = large.next_piece(1)
        assert piece is not None
        piece.begin()
        offer(piece, 1000)
        large.finish(piece)
        with pytest.raises(SourceFailed, match="cannot be checked, its source tells no size"):
            await finish(rig, large)
        await large.abandon()

    run(test())
