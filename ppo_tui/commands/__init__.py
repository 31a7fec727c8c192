"""The commands of `ppo-tui`, one file each.

Heavy imports happen inside the functions.
"""
