"""The screen in the terminal.

It knows the engine only as a session: it polls events and sends commands.
"""

import os

# How often Textual paints what has changed, at most: a key waits for half of the time between two paintings.
os.environ.setdefault("TEXTUAL_FPS", "250")
