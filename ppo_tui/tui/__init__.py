"""The screen in the terminal. It knows the engine only as a session that yields events and takes commands."""
