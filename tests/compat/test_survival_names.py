"""Names are byte-exact on the wire and in storage, before and after the node was killed."""

import string

from support.content import payload
from support.native import Answer, NativeClient
from support.node import running_node

BUCKET = "names"
NAMES = [
    "a",
    "a/b",
    "a//b",
    "a/b/",
    "dir/",
    "dir//",
    "/leading",
    "//leading",
    "/",
    "//",
    " ",
    " space at both ends ",
    "100%",
    "%41",  # not "A"
    "%2F",  # not "/"
    "%",
    "plus+plus",
    "question?mark",
    "hash#mark",
    "semi;colon&and=equals",
    "back\\slash",
    "quote'quote\"",
    "tab\tnew\nline\r",
    "nul\0byte",
    "\x7f",
    "é",  # one code point
    "e\u0301",  # two: another name
    "😀/😀",
    "\uffff",
    "\U0010ffff",
    "..",
    "../up",
    ".",
    "a/../b",
    "a/./b",
    "~",
    string.punctuation,
    "x" * 1024,
    "x" * 1023 + "y",
    "long/" + "é" * 509,  # 5 + 1018 = 1,023 bytes
    "😀" * 256,
    "k" * 479,
    "k" * 480,
    "k" * 481,
    "k" * 511,
    "k" * 512,
    "k" * 959,
    "k" * 960,
    "k" * 961,
]
SIZES = (0, 3, 5000, 20_000)


def size_of(name: str) -> int:
    return SIZES[NAMES.index(name) % len(SIZES)]


def check(client: NativeClient, names: list[str]) -> None:
    """These names and no others: each readable, listed once, in byte order."""
    for name in names:
        answer = client.get(BUCKET, name)
        assert answer.status == 200, (name, answer)
        assert answer.body == payload(name, 1, size_of(name)), name
    expected = [(name, size_of(name)) for name in sorted(names, key=str.encode)]
    for page_entries in (1000, 3):
        listed = [(entry.name, entry.size) for entry in client.list_all(BUCKET, page_entries=page_entries)]
        assert listed == expected


def error_text(answer: Answer) -> str:
    return f"{answer.status} {answer.body[:200]!r}"


def test_names_are_exact_and_survive_a_kill() -> None:
    assert len(set(NAMES)) == len(NAMES)
    with running_node(workers=2) as node:
        client = NativeClient(node.host, node.port)
        assert client.create_bucket(BUCKET).status == 200
        for name in NAMES:
            answer = client.put(BUCKET, name, payload(name, 1, size_of(name)))
            assert answer.status == 200, (name, error_text(answer))
        check(client, NAMES)

        node.kill("all")
        node.restart()
        client = NativeClient(node.host, node.port)
        check(client, NAMES)

        # Deleting one of two names that look alike leaves the other.
        deleted = NAMES[::2]
        for name in deleted:
            answer = client.delete(BUCKET, name)
            assert answer.status == 200, (name, error_text(answer))
        check(client, NAMES[1::2])
        node.restart()
        client = NativeClient(node.host, node.port)
        check(client, NAMES[1::2])
        for name in deleted:
            assert client.get(BUCKET, name).status == 404


def test_a_name_that_cannot_be_is_refused_and_nothing_else_changes() -> None:
    with running_node() as node:
        client = NativeClient(node.host, node.port)
        assert client.create_bucket(BUCKET).status == 200
        for target in (
            f"/v1/objects/{BUCKET}/{'x' * 1025}",
            f"/v1/objects/{BUCKET}/{'%C3%A9' * 513}",  # 1,026 bytes
            f"/v1/objects/{BUCKET}/%FF",  # not UTF-8
            f"/v1/objects/{BUCKET}/%C3",
            f"/v1/objects/{BUCKET}/",
        ):
            for method in ("PUT", "GET", "DELETE"):
                answer = client.request(method, target, body=b"x" if method == "PUT" else None)
                assert 400 <= answer.status < 500, (method, target[:60], error_text(answer))
        assert list(client.list_all(BUCKET)) == []
        assert node.is_running()
