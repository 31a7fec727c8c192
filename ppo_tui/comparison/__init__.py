"""Comparison of runs: groups, curves with intervals, CSV and figures."""
