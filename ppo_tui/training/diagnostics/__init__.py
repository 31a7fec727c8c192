"""WatchEngine a run for what goes wrong, and naming an edit to try."""
