"""Playing a trained policy: scored, watched, in the background of a run."""
