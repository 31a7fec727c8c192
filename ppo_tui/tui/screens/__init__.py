"""Screens: the main one and the others above it, with keys."""
