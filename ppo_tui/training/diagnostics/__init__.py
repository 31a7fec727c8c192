"""Diagnostics: alarms while training, each with an edit to try."""
