"""The screen in the terminal.

It knows the engine only as a session: it polls events and sends commands.
"""

import os

# Most paintings by Textual per second: a key waits for half of the time between two of them.
os.environ.setdefault("TEXTUAL_FPS", "250")
