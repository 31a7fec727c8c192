"""A run, or several beside one another, as one page of HTML that needs nothing else."""
