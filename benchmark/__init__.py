"""Harness of the Earth-observation co-learning benchmark: protocol, runs, records, reports."""

__version__ = "0.1.0"
