"""The head of a request: bytes in, checked values out, or a refusal.

We frame requests ourselves and strictly (RFC 9112): two programs that disagree about where a
request ends can be played off against each other, so whatever is doubtful is refused with 400 and
the connection closed. Everything here is pure: no socket, no clock.

A client that keeps its connection mostly repeats its header section byte for byte; the connection
compares it with the one before and then only parses the request line.
"""

import re
from typing import Final


class Refusal(Exception):
    """A request that the server itself answers, with this status, before it closes the connection."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Fields:
    """A checked header section, and what it says about framing."""

    __slots__ = ("expects_continue", "headers", "keep_alive", "length")

    def __init__(
        self, headers: dict[str, str], length: int | None, *, keep_alive: bool, expects_continue: bool
    ) -> None:
        self.headers = headers
        self.length = length
        """The body's length in bytes; 0 without a body, None for a chunked one."""
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue


RequestLine = tuple[str, bytes, bytes, int, bytes | None]
"""A checked request line: method, path, query, the version's last digit, and the authority of an
absolute target, which replaces the Host header (RFC 9112 §3.2.2). A plain tuple: made per request."""


# Deleting what is allowed leaves what is not: a C loop, far faster than a pattern.
_CONTROLS: Final = bytes(range(0x20)) + b"\x7f"
_FIELD_BYTES: Final = bytes(byte for byte in range(256) if byte not in _CONTROLS) + b"\t"
# RFC 3986 knows no fragment in a request, and no raw byte above 0x7F; clients send the latter.
_LINE_BYTES: Final = bytes(byte for byte in range(256) if byte not in _CONTROLS + b"#")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]+)(?::[0-9]{0,5})?")
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?]*)(/[^?]*)?(?:\?(.*))?")
_LENGTH: Final = re.compile(r"[0-9]{1,19}")
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
_STRAY: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]|(?<!\r)\n")
_METHOD_CHARS_MAX: Final = 32

ABSOLUTE: Final = ":scheme"
"""Stands among the header fields of a request whose target is a whole URL, with its scheme; no client can
send a field of this name."""

METHODS: Final = {
    name.encode(): name for name in ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")
}
"""The usual methods, as they stand on the wire and as requests have them."""
match_usual_line: Final = re.compile(
    rb"(%b) (/[^\x00-\x20\x7f#?]*)(?:\?([^\x00-\x20\x7f#]*))?" % b"|".join(METHODS)
).fullmatch
"""A request line without its version, if it is of the usual kind: method, path, query. What does not
match may still be a valid one, which `parse_request_line` decides."""
# Names as clients spell them, with the colon -> lower case. Checked once; the hot path looks them up.
_names: dict[str, str] = {}
_NAMES_MAX: Final = 1024
_NAME_CHARS_MAX: Final = 64
_hosts: set[str] = set()
_HOSTS_MAX: Final = 64
_SINGLE: Final = frozenset({"host", "content-length", "transfer-encoding"})


def parse_request_line(line: bytes) -> RequestLine:
    """The request line, without its CRLF. Raises Refusal."""
    if line.translate(None, _LINE_BYTES):
        raise Refusal(400, "invalid character in the request line")
    parts = line.split(b" ")
    if len(parts) != 3:
        raise Refusal(400, "malformed request line")
    method_bytes, target, version = parts
    minor = 1 if version == b"HTTP/1.1" else _parse_minor(version)
    method = METHODS.get(method_bytes) or _parse_method(method_bytes)
    if target[:1] == b"/":
        path, _, query = target.partition(b"?")
        return method, path, query, minor, None
    return _parse_other_target(method, target, minor)


def addressed(headers: dict[str, str], authority: bytes, line: bytes) -> dict[str, str]:
    """The fields of a request whose target is a whole URL, of that authority; `line` is its request line."""
    scheme = "https" if line.split(b" ", 2)[1][:6].lower() == b"https:" else "http"
    return {**headers, "host": authority.decode("latin-1"), ABSOLUTE: scheme}


def _parse_minor(version: bytes) -> int:
    if version == b"HTTP/1.0":
        return 0
    if _VERSION.fullmatch(version):
        raise Refusal(505, "this protocol version is not spoken here")
    raise Refusal(400, "malformed protocol version")


def _parse_method(raw: bytes) -> str:
    method = raw.decode("latin-1")
    if not _TOKEN.fullmatch(method) or len(method) > _METHOD_CHARS_MAX:
        raise Refusal(400, "malformed method")
    return method


def _parse_other_target(method: str, target: bytes, minor: int) -> RequestLine:
    """A target that is no path: `http://host/path`, `*` of OPTIONS, `host:port` of CONNECT."""
    if method == "CONNECT":
        # Whatever follows is meant for a tunnel, never for us: the connection must end.
        raise Refusal(405, "this is no proxy")
    if target == b"*" and method == "OPTIONS":
        return method, target, b"", minor, None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Refusal(400, "malformed request target")
    authority, path, query = absolute.groups()
    if not _HOST.fullmatch(authority.decode("latin-1")):
        raise Refusal(400, "malformed host in the request target")
    return method, path or b"/", query or b"", minor, authority


def parse_fields(section: bytes, *, minor: int, count_max: int) -> Fields:
    """The header section: every line with its CRLF, without the empty one. Raises Refusal."""
    lines = section.decode("latin-1").split("\r\n")
    lines.pop()
    # Exactly the line ends must remain: anything else is a bare CR or LF, or a control character.
    if section.translate(None, _FIELD_BYTES) != b"\r\n" * len(lines):
        raise Refusal(400, "invalid character in the header section")
    if len(lines) > count_max:
        raise Refusal(431, f"more than {count_max} header fields")
    headers = _split_plain(lines)
    if headers is None:
        headers = _split(lines)
    return _judge(headers, minor)


def _split_plain(lines: list[str]) -> dict[str, str] | None:
    """The usual case, fast: known names, a space behind each, none repeated."""
    headers: dict[str, str] = {}
    try:
        for line in lines:
            name, _, value = line.partition(" ")
            headers[_names[name]] = value.strip(" \t")
    except KeyError:
        return None
    return headers if len(headers) == len(lines) else None


def _split(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        raw_name, colon, value = line.partition(":")
        name = _names.get(raw_name + colon) or _learn_name(raw_name, colon)
        value = value.strip(" \t")
        if name in headers:
            if name in _SINGLE:
                raise Refusal(400, f"repeated {name} header")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _learn_name(raw: str, colon: str) -> str:
    if not colon:
        raise Refusal(400, "header line without a colon")
    # A folded line begins with white space, and "Name :" ends with it: both are no token.
    if not _TOKEN.fullmatch(raw):
        raise Refusal(400, "malformed header name")
    name = raw.lower()
    if len(_names) < _NAMES_MAX and len(raw) <= _NAME_CHARS_MAX:
        _names[raw + colon] = name
    return name


def _judge(headers: dict[str, str], minor: int) -> Fields:
    """What the header section says about framing. Raises Refusal where it is ambiguous."""
    host = headers.get("host")
    if host is None:
        if minor:
            raise Refusal(400, "missing Host header")
    elif host not in _hosts:
        if not _HOST.fullmatch(host):
            raise Refusal(400, "malformed Host header")
        if len(_hosts) < _HOSTS_MAX:
            _hosts.add(host)
    length = _body_length(headers, minor)
    options = headers.get("connection", "").lower()
    if not options:
        keep_alive = bool(minor)
    else:
        tokens = {token.strip() for token in options.split(",")}
        keep_alive = "close" not in tokens and (bool(minor) or "keep-alive" in tokens)
    expect = headers.get("expect")
    # HTTP/1.0 knows no interim answers: the field is ignored there (RFC 9110 §10.1.1).
    if expect is not None and minor and expect.lower() != "100-continue":
        raise Refusal(417, "only Expect: 100-continue can be met")
    waits = expect is not None and bool(minor)
    return Fields(headers, length, keep_alive=keep_alive, expects_continue=waits)


def _body_length(headers: dict[str, str], minor: int) -> int | None:
    announced = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if announced is not None:
            raise Refusal(400, "both Content-Length and Transfer-Encoding")
        if not minor:
            raise Refusal(400, "Transfer-Encoding in HTTP/1.0")
        if coding.lower() != "chunked":
            raise Refusal(400, "the only transfer coding known here is chunked")
        return None
    if announced is None:
        return 0
    if not _LENGTH.fullmatch(announced):
        raise Refusal(400, "malformed Content-Length")
    return int(announced)


def check_lengths(line: int, section: int, *, line_max: int, section_max: int) -> None:
    """Raises Refusal if the request line or the header section is longer than it may, in bytes."""
    if line > line_max:
        raise Refusal(414, f"request line longer than {line_max} bytes")
    if section > section_max:
        raise Refusal(431, f"header section larger than {section_max} bytes")


def check_partial(data: bytes | bytearray, checked: int, *, line_max: int, section_max: int) -> None:
    """Refuse early what no further bytes can mend; the first `checked` bytes were looked at before.

    Raises Refusal: 414, 431, or 400 for bytes that no head can have.
    """
    line_end = data.find(b"\r\n")
    if line_end < 0:
        line_end = len(data) - 1  # a CR may be the last byte
    check_lengths(line_end, len(data) - line_end - 4, line_max=line_max, section_max=section_max)
    if _STRAY.search(data, max(checked - 1, 0)):
        raise Refusal(400, "invalid character in the head")
    # What begins a TLS handshake or another protocol will never become a request line.
    if not checked and data and data[0] != 0x0D and not _TOKEN.match(data[:1].decode("latin-1")):
        raise Refusal(400, "this is no HTTP request")
