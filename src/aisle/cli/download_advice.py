"""What to do about files that could not be downloaded.

A node tells of each in a sentence; what kind of failure it is, and so what helps, is read off that.
"""

import re
from collections.abc import Iterable

from aisle.client.downloads import Failure

_ADVICE: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), text)
    for pattern, text in (
        # A refusal by the egress guard says itself which setting opens it.
        (
            r"egress to .* is refused",
            "The node's administrator decides that: docs/configuration.md, [egress].",
        ),
        (r"status 40[17]\b", "The server wants to know who asks: -H 'Authorization: Bearer TOKEN'."),
        (
            r"status 403\b",
            "The server refuses: check the link, or show who asks: -H 'Authorization: Bearer TOKEN'.",
        ),
        (
            r"ErrNotFound: \S*(\{|%7B)",
            "The braces in the link are no template: one counts numbers, as {0000..0146} or {0..1000..10}.",
        ),
        (r"ErrNotFound|status 4(04|10)\b", "The server has nothing of that name: check the link."),
        (r"status (429|503)\b", "The server is asked too much: try again later, with fewer --max-conns."),
        (r"status 5\d\d\b", "The server is in trouble: try again later."),
        (r"resolve", "The host's name is not known: check the link, and the node's DNS."),
        (r"wrong version number", "The server does not speak TLS there: write http:// in front of the link."),
        (r"cannot connect", "Nothing answers there: check host and port, and that the server runs."),
        (
            r"certificate",
            "Check the link's host name; the node trusts the authorities that its system trusts.",
        ),
        (
            r"BAD DATA CHECKSUM",
            "What came is not what was promised, and was not kept: correct the checksum, or ask the source.",
        ),
        (
            r"were announced|ended before|broke|no bytes for|timed out",
            "The connection broke, again and again: try later.",
        ),
        (r"too many redirects", "The link leads round in a circle: check it in a web browser."),
        (r"\bfull\b|no space", "Make room on the node's disks, or add one: aisnode --data."),
    )
)


def advice(failures: Iterable[Failure]) -> list[str]:
    """Sentences that help with these failures, each once, in the order of the failures."""
    found: dict[str, None] = {}
    for failure in failures:
        text = next((text for pattern, text in _ADVICE if pattern.search(failure.error)), "")
        if text:
            found[text] = None
    return list(found)
