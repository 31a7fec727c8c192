"""Policies on their way out to other programs, and in from Stable-Baselines3."""
