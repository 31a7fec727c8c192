"""Training one run in several processes: the ranks, and what torchrun says of each."""
