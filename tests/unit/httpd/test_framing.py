"""Properties of framing: however a stream is split, it means the same; and what others say it means."""

import contextlib
import itertools
from dataclasses import dataclass, field

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.httpd.chunked import ChunkedDecoder
from aisle.httpd.head import Refusal, parse_fields, parse_request_line
from unit.httpd.wire import Echo, Seen, Wire, statuses

names = st.sampled_from(["Accept", "X-A", "x-b", "User-Agent", "If-Match", "X_c", "Cookie"])
visible = st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=["Cc"])
values = st.text(visible, max_size=12)
extensions = st.sampled_from([b"", b";a=b", b";a", b';a="b;\\"c"', b";a;b=c"])
plain_paths = (b"/", b"/a", b"/a/b%20c", b"/a//b", b"/-._~!$&'()*+,;=:@")
all_paths = (*plain_paths, b"/\xc3\xa9")
inner = st.sampled_from(["", " ", "\t", "  ", ": ", ", "])
llhttp_methods = {"GET", "PUT", "POST", "DELETE", "PATCH", "M-SEARCH", "HEAD", "OPTIONS"}
chunks = st.lists(st.binary(max_size=40), max_size=4)


@dataclass
class Message:
    """A valid request, and what it means."""

    wire: bytes
    meaning: Seen


@st.composite
def messages(draw: st.DrawFn, paths: tuple[bytes, ...] = all_paths) -> Message:
    method = draw(st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "M-SEARCH"]))
    path = draw(st.sampled_from(paths))
    query = draw(st.sampled_from([None, b"", b"a=b&c", b"?x?"]))
    lines = [b"Host: h:80"]
    for name in draw(st.lists(names, max_size=5)):
        value = f"{draw(values)}{draw(inner)}{draw(values)}".strip(" \t")
        before, behind = draw(st.sampled_from(["", " ", "\t ", "  "])), draw(st.sampled_from(["", " ", "\t"]))
        lines.append(f"{name}:{before}{value}{behind}".encode("latin-1"))
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    pieces = [piece for piece in draw(chunks) if piece and kind != "none"]
    payload = body = b"".join(pieces)
    if kind == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif kind == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        framed = (b"%x%b\r\n%b\r\n" % (len(piece), draw(extensions), piece) for piece in pieces)
        payload = b"".join((*framed, b"0\r\n", draw(st.sampled_from([b"", b"X-T: 1\r\n"])), b"\r\n"))
    target = path if query is None else path + b"?" + query
    first = method.encode() + b" " + target + b" HTTP/1.1"
    head = b"\r\n".join((first, *draw(st.permutations(lines)), b"", b""))
    return Message(head + payload, Seen(method, path, query or b"", _meaning(head), body))


def _meaning(head: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:-2]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(st.lists(messages(), min_size=1, max_size=5), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_of_pipelined_requests_gives_the_same_requests(
    sent: list[Message], cuts: list[int]
) -> None:
    echo = Echo()
    wire = Wire(echo)
    answers = b""
    for piece in split(b"".join(message.wire for message in sent), cuts):
        answers += wire.feed(piece)
    assert echo.seen == [message.meaning for message in sent]
    assert statuses(answers) == [200] * len(sent)
    assert wire.worker.buffered_bytes == 0
    assert wire.transport.reading
    assert not wire.transport.closed
    wire.close()


@dataclass
class Reference:
    """The requests of a stream as llhttp, the parser of Node.js, sees them."""

    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.in_body = False

    def on_url(self, part: bytes) -> None:
        self.url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_body:
            return  # a trailer
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.in_body = True
        self.method = self.parser.get_method().decode()

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        path, _, query = self.url.partition(b"?")
        self.seen.append(Seen(self.method, path, query, self.headers, self.body))


@given(st.lists(messages(paths=plain_paths), min_size=1, max_size=4))
def test_llhttp_understands_valid_requests_as_we_do(sent: list[Message]) -> None:
    reference = Reference()
    reference.parser.feed_data(b"".join(message.wire for message in sent))
    assert reference.seen == [message.meaning for message in sent]


streams = st.lists(messages(paths=plain_paths), min_size=1, max_size=2)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid stream with a few bytes put in, taken out or changed."""
    data = bytearray(b"".join(message.wire for message in draw(streams)))
    interesting = st.sampled_from(
        [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\0", b";", b",", b"0", b"\x0b", b"\x85"]
    )
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        removed = draw(st.integers(0, 2))
        data[place : place + removed] = draw(st.one_of(st.just(b""), interesting))
    return bytes(data)


@settings(max_examples=300)
@given(damaged())
def test_what_we_accept_of_a_damaged_stream_llhttp_understands_alike(data: bytes) -> None:
    """We may refuse more than llhttp does, never read a request differently: that would be smuggling."""
    echo = Echo()
    wire = Wire(echo)
    wire.feed(data)
    ours = [seen for seen in echo.seen if seen.body is not None]
    reference = Reference()
    try:
        reference.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        return
    except httptools.HttpParserError:
        pass
    wire.close()
    if len(ours) > len(reference.seen):
        assert _accepted_on_purpose(ours[len(reference.seen)])
    for mine, other in zip(ours, reference.seen, strict=False):
        assert (mine.method, mine.path, mine.query, mine.body) == (
            other.method,
            other.path,
            other.query,
            other.body,
        )


def _accepted_on_purpose(seen: Seen) -> bool:
    """What llhttp refuses and we take: any token as method, and raw bytes above 0x7F in a target."""
    return seen.method not in llhttp_methods or not (seen.path + seen.query).isascii()


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_arbitrary_bytes_never_break_the_connection_in_an_unforeseen_way(
    data: bytes, cuts: list[int]
) -> None:
    echo = Echo()
    wire = Wire(echo)
    answers = b"".join(wire.feed(piece) for piece in split(data, cuts))
    assert all(status < 500 or status == 505 for status in statuses(answers))
    wire.lose()
    assert not wire.worker.tasks
    wire.close()


@given(chunks, st.lists(st.integers(0, 500), max_size=8), st.binary(max_size=10))
def test_a_chunked_body_is_the_same_however_it_is_split(
    pieces: list[bytes], cuts: list[int], behind: bytes
) -> None:
    encoded = b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"
    decoder, body, rest = ChunkedDecoder(), b"", None
    for part in split(encoded + behind, cuts):
        if rest is not None:
            rest += part
            continue
        got, rest = decoder.feed(part)
        body += b"".join(got)
    assert body == b"".join(pieces)
    assert rest == behind


@given(st.binary(max_size=60))
def test_a_head_is_parsed_or_refused_and_nothing_else(data: bytes) -> None:
    section = data + b"\r\n"
    with contextlib.suppress(Refusal):
        parse_request_line(data)
    with contextlib.suppress(Refusal):
        parse_fields(section, minor=1, count_max=10)
    with contextlib.suppress(Refusal):
        parse_fields(b"Host: a\r\n" + section, minor=1, count_max=10)


@pytest.mark.parametrize("count", [127, 128])
def test_the_number_of_headers_is_limited(count: int) -> None:
    section = b"Host: a\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(count))
    if count < 128:
        assert len(parse_fields(section, minor=1, count_max=128).headers) == 128
    else:
        with pytest.raises(Refusal):
            parse_fields(section, minor=1, count_max=128)
