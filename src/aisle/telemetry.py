"""Counters and latency histograms of every process, in shared memory."""
