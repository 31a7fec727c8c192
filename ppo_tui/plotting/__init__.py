"""Curves, charts and number formats on cells of text. NumPy alone."""
