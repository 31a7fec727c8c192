"""One file a command of `ppo-tui`. Heavy imports happen inside the functions."""
