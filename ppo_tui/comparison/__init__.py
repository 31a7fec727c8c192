"""Several runs beside one another: which belong together, what they have in common, and how it is shown."""
