"""Names of any length in one LMDB table: exact, in order, and gone without a trace."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisle.model.names import ObjectName
from aisle.storage import keys
from aisle.storage.names import walk_names
from aisle.storage.scan import IndexScan
from aisle.storage.tables import IndexTables, open_index

BUCKETS = (1, 2)
# Few different bytes and lengths around the limits: collisions and neighbours are what matters.
stems = st.sampled_from([b"", b"a", b"a" * 479, b"a" * 480, b"a" * 481, b"a" * 959, b"a" * 960, b"a" * 961])
names = st.builds(
    lambda stem, tail: (stem + tail)[:1024],
    stems,
    st.text("a/\x00\x01b\xff", min_size=1, max_size=70).map(str.encode),
)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexTables]:
    path: Path = tmp_path_factory.mktemp("keys")
    (path / "index").mkdir()
    opened = open_index(path, writable=True, map_size_bytes=1 << 30)
    yield opened
    opened.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    held=st.lists(st.tuples(st.sampled_from(BUCKETS), names), unique=True, max_size=40),
    prefix=st.one_of(st.just(b""), names),
    after=st.one_of(st.just(b""), names),
    delimiter=st.sampled_from([b"", b"/", b"b/"]),
    limit=st.integers(1, 12),
)
def test_scans_are_exact_whatever_the_names(
    tables: IndexTables,
    held: list[tuple[int, bytes]],
    prefix: bytes,
    after: bytes,
    delimiter: bytes,
    limit: int,
) -> None:
    chains = count(1)
    packed = [keys.pack(ObjectName(*name)) for name in held]
    with tables.environment.begin(write=True) as transaction:
        for name in packed:
            key = keys.find_or_make(transaction, tables.objects, name, lambda: next(chains))
            assert len(key) <= 511
            transaction.put(key, name, db=tables.objects)
    try:
        with tables.environment.begin() as transaction:
            assert list(walk_names(tables, transaction)) == [(name, name) for name in sorted(packed)]
        for bucket in BUCKETS:
            expected = collapsed(sorted(key for of, key in held if of == bucket), prefix, after, delimiter)
            scan = IndexScan(
                tables, keys.pack_bucket(bucket), prefix=prefix, after=after, delimiter=delimiter
            )
            found: list[bytes] = []
            while taken := scan.take(limit):
                found += [entry.key for entry in taken]
            assert found == expected
    finally:
        with tables.environment.begin(write=True) as transaction:
            for name in packed:
                found_key = keys.find(transaction, tables.objects, name)
                assert found_key is not None
                assert transaction.delete(found_key, db=tables.objects)
                keys.prune(transaction, tables.objects, name)
            assert transaction.stat(tables.objects)["entries"] == 0


def collapsed(ordered: list[bytes], prefix: bytes, after: bytes, delimiter: bytes) -> list[bytes]:
    """What a scan shows of ordered names, said in the plainest way."""
    shown: list[bytes] = []
    for key in ordered:
        if not key.startswith(prefix) or key <= after:
            continue
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        entry = key if end < 0 else key[: end + len(delimiter)]
        if end >= 0 and (entry == after or entry in shown[-1:]):
            continue
        shown.append(entry)
    return shown
