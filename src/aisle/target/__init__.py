"""Services of the role that holds data."""
