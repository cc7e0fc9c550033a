"""The native (AIStore) dialect."""
