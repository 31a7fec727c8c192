"""Benchmarks of ppo-tui, its peers and the machine's limit: ``make bench``.

Every measurement runs in a process of its own (`benchmarks.case`); the driver (`benchmarks.__main__`) takes them in
turns and compares what belongs to the same turn. Nothing heavy is imported by importing the package.
"""
