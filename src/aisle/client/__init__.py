"""A small synchronous client of a node's native API, used by the `ais` command.

It is built for a command line: it starts fast, streams what it moves, and turns every failure into
one of `aisle.errors`. `node` has the verbs; `connections` carries one request; `answers` reads what
came back.
"""

from aisle.client.node import DEFAULT_ENDPOINT, Client

__all__ = ["DEFAULT_ENDPOINT", "Client"]
