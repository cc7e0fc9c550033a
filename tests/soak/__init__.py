"""Survival: what is left after kills, power cuts, full disks and damage, at the counts of `make soak`.

The scenarios are functions with counts; `tests/compat/test_survival*.py` run the same in short.
"""
