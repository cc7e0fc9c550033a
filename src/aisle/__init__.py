"""Aisle: object storage for AI data."""

__version__ = "0.1.0"
