"""Benchmarks: a node beside the programs people use today, on this machine, in one run.

`python -m bench` measures every row of the table and writes `bench/RESULTS.md`; names select rows
(`python -m bench get-small`), `--quick` is the short form, `--profile` says where the time goes.

Servers run on one core and load on another, a node and its peers alike. A row runs both sides in
turn, pair by pair, because a shared machine's speed drifts more between minutes than between
seconds: trust the ratios, and the processor time per request beside them.
"""
