"""How often the soak repeats things; AISLE_SOAK_<NAME> in the environment says otherwise."""

import os


def count(name: str, default: int) -> int:
    """The number of repetitions called `name`, such as `rounds` (AISLE_SOAK_ROUNDS)."""
    return int(os.environ.get(f"AISLE_SOAK_{name.upper()}", default))
