"""Training one run in several processes: the ranks, and torchrun's environment variables."""
