"""Where the bytes of remote buckets come from."""
