"""Inspection of updates: the learner's samples, measured while somebody looks."""
