"""The HTTP/1.1 server that moves object bytes."""
