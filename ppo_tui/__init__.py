"""ppo-tui: train PPO from a terminal, a script or a notebook.

Train and use a policy::

    from ppo_tui import Trainer, load_policy, load_preset

    trainer = Trainer(load_preset("cartpole"))
    result = trainer.run(progress=True)
    trainer.save("my-cartpole")
    policy = load_policy("my-cartpole")
    action, state = policy.predict(observation)

Read a run of ``ppo-tui``, finished or not::

    run = open_run("cartpole-1")
    steps, returns = run.metrics["rollout/ep_rew_mean"]
    policy = run.policy("best")

Names: `load_preset`, `list_presets` and `Config` for configurations; `Trainer` and its `RunResult`; `load_policy`,
`open_run` and its `Run`; `make_env` and `WorkerPool` for environments; `PPOTuiError`, the family of all errors. Events
and commands of a run are in `ppo_tui.protocol`. The page ``docs/library.md`` shows each at work.

The public names are loaded on first use, so that importing the package (as every worker process does) costs
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_exports

__version__ = "0.1.0"

_EXPORTS = {
    "Config": ".config",
    "PPOTuiError": ".errors",
    "Run": ".runs.opened",
    "RunResult": ".training",
    "Trainer": ".training",
    "WorkerPool": ".workers",
    "list_presets": ".config",
    "load_policy": ".training",
    "load_preset": ".config",
    "make_env": ".envs",
    "open_run": ".runs.opened",
}

__all__ = [
    "Config",
    "PPOTuiError",
    "Run",
    "RunResult",
    "Trainer",
    "WorkerPool",
    "__version__",
    "list_presets",
    "load_policy",
    "load_preset",
    "make_env",
    "open_run",
]

if TYPE_CHECKING:
    from .config import Config, list_presets, load_preset
    from .envs import make_env
    from .errors import PPOTuiError
    from .runs.opened import Run, open_run
    from .training import RunResult, Trainer, load_policy
    from .workers import WorkerPool

__getattr__ = lazy_exports(__name__, _EXPORTS)


def __dir__() -> list[str]:
    return sorted(__all__)
