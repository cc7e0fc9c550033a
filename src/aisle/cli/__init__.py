"""The 'ais' command: an ordinary user of the HTTP API."""
