"""What is installed beside Aisle itself, in words for users."""


def how_to_install(extra: str) -> str:
    """How an extra of `pyproject.toml` is installed.

    From the source and not by name: the public index has another project that is called aisle.
    """
    return f"pip install '.[{extra}]' in the folder of Aisle's source"
