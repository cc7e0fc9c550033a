"""Regular expressions of clients: matched in time that is linear in the text, whatever they are.

Python's own engine may take years over a short one, and a process would stand still for it. The syntax is
RE2's, as AIStore's is.
"""

from collections.abc import Callable
from typing import Final

from aisle.errors import BadRequest

CHARS_MAX: Final = 1024
_MEMORY_BYTES_MAX: Final = 4 * 1024 * 1024


def expression(regex: str, *, what: str) -> Callable[[str], bool]:
    """Whether an expression is found in a text.

    Raises BadRequest for one that is too long or cannot be read, calling it by `what` it is.
    """
    if len(regex) > CHARS_MAX:
        raise BadRequest(f"{what} has more than {CHARS_MAX} characters")
    # Loaded when the first one comes: most processes never meet one.
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES_MAX
    try:
        search = re2.compile(regex, options).search
    except (re2.error, UnicodeEncodeError) as error:
        raise BadRequest(f"{what} {regex[:80]!r} is not a regular expression: {_words(error)}") from error

    def is_found(text: str) -> bool:
        try:
            return search(text) is not None
        except UnicodeEncodeError:  # a name of a file may be no text
            return search(text.encode("utf-8", "replace").decode()) is not None

    return is_found


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
