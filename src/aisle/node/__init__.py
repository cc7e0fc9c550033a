"""Processes and wiring: the only place that names implementations."""
