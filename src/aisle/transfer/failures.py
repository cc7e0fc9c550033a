"""What libcurl's error codes mean to us: a sentence, and whether to try again."""

from collections.abc import Sequence
from typing import NamedTuple

import pycurl

from aisle.errors import AisleError, SourceFailed


class Failure(NamedTuple):
    """Why a fetch ended without its whole answer, and whether a later one may succeed."""

    error: AisleError
    transient: bool


# Codes that a later attempt will meet again; all others are the network's moods.
_PERMANENT = frozenset(
    (
        pycurl.E_UNSUPPORTED_PROTOCOL,
        pycurl.E_URL_MALFORMAT,
        pycurl.E_NOT_BUILT_IN,
        pycurl.E_BAD_CONTENT_ENCODING,
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_CIPHER,
        pycurl.E_FILESIZE_EXCEEDED,
        pycurl.E_BAD_FUNCTION_ARGUMENT,
    )
)
_SENTENCES = {
    pycurl.E_COULDNT_RESOLVE_HOST: "the host's name cannot be resolved",
    pycurl.E_COULDNT_RESOLVE_PROXY: "the proxy's name cannot be resolved",
    pycurl.E_COULDNT_CONNECT: "cannot connect",
    pycurl.E_PARTIAL_FILE: "the connection ended before the whole body had come",
    pycurl.E_GOT_NOTHING: "the connection ended without an answer",
    pycurl.E_OPERATION_TIMEDOUT: "timed out",
    pycurl.E_PEER_FAILED_VERIFICATION: "the server's certificate is not valid",
    pycurl.E_BAD_CONTENT_ENCODING: "the body is encoded in a way that cannot be read",
}


def failure(link: str, code: int, message: str) -> Failure:
    """The failure that a libcurl code and message stand for; `link` is only named."""
    sentence = _SENTENCES.get(code, "the transfer failed")
    detail = f"{sentence} ({message})" if message else sentence
    return Failure(SourceFailed(f"failed to download {link}: {detail}"), code not in _PERMANENT)


def whole_head(lines: Sequence[bytes]) -> Sequence[bytes]:
    """Of the lines that libcurl told of an answer without a body, those of its heads; none if they break off.

    To libcurl a connection that ends in the middle of a head has given a whole answer. And it tells trailers,
    which come behind the head, as if they were lines of it.
    """
    last = next((at for at in reversed(range(len(lines))) if lines[at].startswith(b"HTTP/")), len(lines))
    end = next((at for at in range(last, len(lines)) if not lines[at].strip()), -1)
    return lines[: end + 1]
