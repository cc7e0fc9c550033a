"""Rights on buckets and the cluster, by the names and bits of AIStore (ais-native-api.md §10.2)."""

from typing import Final

from aisle.errors import BadRequest
from aisle.model.quantities import BITS_MAX

ACCESS_NAMES: Final = (
    *("GET", "HEAD-OBJECT", "PUT", "APPEND", "DELETE-OBJECT", "MOVE-OBJECT", "PROMOTE", "UPDATE-OBJECT"),
    *("HEAD-BUCKET", "LIST-OBJECTS", "PATCH", "SET-BUCKET-ACL", "LIST-BUCKETS", "SHOW-CLUSTER"),
    *("CREATE-BUCKET", "DESTROY-BUCKET", "MOVE-BUCKET", "ADMIN"),
)
"""The rights in the order of their bits."""

_BITS: Final = {name: 1 << bit for bit, name in enumerate(ACCESS_NAMES)}
READ_ONLY_ACCESS: Final = sum(_BITS[name] for name in ("GET", "HEAD-OBJECT", "HEAD-BUCKET", "LIST-OBJECTS"))
READ_WRITE_ACCESS: Final = READ_ONLY_ACCESS | sum(
    _BITS[name] for name in ("PUT", "APPEND", "DELETE-OBJECT", "MOVE-OBJECT")
)
_SETS: Final = {"NONE": 0, "RO": READ_ONLY_ACCESS, "RW": READ_WRITE_ACCESS, "SU": BITS_MAX}


def access_names(bits: int) -> list[str]:
    """The names of the rights that are given."""
    return [name for name, bit in _BITS.items() if bits & bit]


def access_bits(text: str) -> int:
    """The rights that names separated by commas or blanks mean: `ro`, `rw`, `su`, `none`, or single ones.

    A decimal number is taken as it is. Raises BadRequest for a name that there is not.
    """
    bits = 0
    for word in text.replace(",", " ").split():
        name = word.upper()
        if name.isascii() and name.isdecimal():
            bits |= int(name)
        elif name in _SETS or name in _BITS:
            bits |= _SETS.get(name, 0) | _BITS.get(name, 0)
        else:
            raise BadRequest(
                f'there is no access right "{word}" (known: ro, rw, su, {", ".join(ACCESS_NAMES)})'
            )
    return bits
