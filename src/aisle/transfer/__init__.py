"""Outgoing HTTP: libcurl multi behind the egress guard."""
