"""Links and the object names made from them.

A link is normalised once, when a job is accepted: a scheme is added, characters that no request
line can carry are percent-encoded, everything else stays as it was written. Object names follow
AIStore's rule: query and fragment are cut off and percent-escapes decoded, so that the last element
of a link gives a sensible name.
"""

import re
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

from aisle.errors import BadRequest, InvalidName
from aisle.model.names import parse_object_key

LINK_CHARS_MAX = 8192

_SCHEMES = ("http", "https")
# Everything that RFC 3986 allows somewhere in a URL, and `%`: encoding is the writer's business.
_URL_CHARACTERS = ":/?#[]@!$&'()*+,;=-._~%"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PACKED_SUFFIXES = (".gz", ".tgz", ".svgz", ".br", ".zst", ".bz2", ".xz")
_SECRET_PARAMETER = re.compile(
    r"(?i)([?&;](?:x-amz-(?:signature|security-token|credential)|x-goog-(?:signature|credential)|awsaccesskeyid"
    r"|signature|sig|token|access_token|api_?key|key|password|secret)=)[^&;#]*"
)


def normal_link(link: str) -> str:
    """The link as it will be requested: with a scheme (`http` if none), and encoded.

    Raises BadRequest if it is not an http or https URL with a host.
    """
    if "://" not in link:
        link = f"http://{link}"
    if _CONTROL.search(link):
        raise BadRequest(f"link {link[:200]!r} holds control characters")
    encoded = quote(link, safe=_URL_CHARACTERS)
    if len(encoded) > LINK_CHARS_MAX:
        raise BadRequest(f"link has {len(encoded)} characters, at most {LINK_CHARS_MAX} are allowed")
    parts = _split(encoded)
    if parts.scheme.lower() not in _SCHEMES:
        raise BadRequest(
            f'link "{public_link(link)}": scheme "{parts.scheme}" is not supported (use http or https)'
        )
    if not parts.hostname:
        raise BadRequest(f'link "{public_link(link)}" names no host')
    return encoded


def check_link(text: str) -> None:
    """Raise BadRequest for a text that is no link: it would be taken for the name of a host."""
    if "/" not in text:
        raise BadRequest(f'"{text[:200]}" is no link: expected https://HOST/PATH')


def public_link(link: str) -> str:
    """The link fit to be shown and stored: without user, password, fragment and values of secrets."""
    if "?" not in link and "#" not in link and "@" not in link and ";" not in link:
        return link
    if not link[:4].lower().startswith("http") and link.partition("://")[2][:1] in ("@", "#"):
        return link  # what is there names a cluster or an account, and no user
    link = link.partition("#")[0]
    scheme, separator, rest = link.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        link = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return _SECRET_PARAMETER.sub(r"\1...", link)


def host_of(link: str) -> str:
    """`host:port` that a normalised link leads to; requests to it share limits and patience."""
    parts = _split(link)
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    return f"{(parts.hostname or '').lower()}:{port}"


def have_one_server(link: str, other: str) -> bool:
    """Whether what is meant for the server of one normalised link may be told to that of the other.

    The same host and port with and without TLS are two servers: the one cannot be known by the other.
    """
    return _split(link).scheme.lower() == _split(other).scheme.lower() and host_of(link) == host_of(other)


def authority_of(link: str) -> str:
    """What a normalised link has between scheme and path: cheap, and the same for one server."""
    start = link.find("://") + 3
    end = link.find("/", start)
    return link[start:end] if end >= 0 else link[start:]


def public_server(authority: str) -> str:
    """What stands between scheme and path of a web link, fit to be shown: without user and password."""
    return authority if "://" in authority else authority.rpartition("@")[2]


def is_packed(link: str) -> bool:
    """Whether the file is packed by its name: some servers label such files as if that were an encoding."""
    if "?" in link:
        link = link.partition("?")[0]
    return link.lower().endswith(_PACKED_SUFFIXES)


def object_key(name: str) -> bytes:
    """The key for an object name as a download request gives it.

    Raises InvalidName if nothing is left of it, if it ends in `/`, begins with `~/`, or if one of
    its elements is `.` or `..`.
    """
    path = name.partition("#")[0].partition("?")[0]
    key = parse_object_key(unquote_to_bytes(path))
    if key.endswith(b"/") or key.startswith(b"~/") or {b".", b".."} & set(key.split(b"/")):
        raise InvalidName(f'cannot derive a valid object name from "{name}"')
    return key


def without_query(link: str) -> str:
    """The link, or a part of one, up to its query or fragment."""
    scheme, namespace, rest = link.partition("://#")  # that belongs to a remote bucket, and is no fragment
    if namespace:
        return f"{scheme}{namespace}{without_query(rest)}"
    return link.partition("#")[0].partition("?")[0]


def base_name(link: str) -> str:
    """The last element of a link's path, still encoded.

    Raises InvalidName if the link has no path or ends in `/`.
    """
    last = without_query(link).partition("://")[2].rpartition("/")
    if not last[1] or last[2] in ("", ".", ".."):
        raise InvalidName(f'cannot derive a valid object name from "{public_link(link)}"')
    return last[2]


def _split(link: str) -> SplitResult:
    try:
        parts = urlsplit(link)
        _ = parts.port  # raises for a port that is no number
    except ValueError as error:
        raise BadRequest(f'link "{public_link(link)}": {error}') from error
    return parts
