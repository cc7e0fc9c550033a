"""Decisions as pure functions: values and a time in, values out."""
