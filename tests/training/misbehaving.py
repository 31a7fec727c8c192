"""Registers an environment that raises in its tenth step."""

import gymnasium

gymnasium.register("Raising-v0", entry_point="tests.workers.envs:Misbehaving", kwargs={"what": "raise", "at": 10})
