"""A small synchronous client of a node's native API, used by the 'ais' command."""
