"""Proximal Policy Optimization as mathematics and tensors: no processes, no screen, no environments.

`advantages` and `losses` are the formulas; `networks` and `policy` what is trained; `rollout` what it learns from;
`learner` how. The names load on first use, because `observations` is wanted where PyTorch is not loaded yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_exports

_EXPORTS = {
    "MLP": ".networks",
    "ActorCritic": ".policy",
    "Categorical": ".distributions",
    "Decision": ".policy",
    "DiagonalGaussian": ".distributions",
    "Distribution": ".distributions",
    "Hyperparameters": ".learner",
    "Learner": ".learner",
    "Minibatch": ".rollout",
    "NatureCNN": ".networks",
    "RolloutBuffer": ".rollout",
    "Schedule": ".schedules",
    "build_policy": ".policy",
    "gae": ".advantages",
    "image_layout": ".observations",
}

__all__ = [
    "MLP",
    "ActorCritic",
    "Categorical",
    "Decision",
    "DiagonalGaussian",
    "Distribution",
    "Hyperparameters",
    "Learner",
    "Minibatch",
    "NatureCNN",
    "RolloutBuffer",
    "Schedule",
    "build_policy",
    "gae",
    "image_layout",
]

if TYPE_CHECKING:
    from .advantages import gae
    from .distributions import Categorical, DiagonalGaussian, Distribution
    from .learner import Hyperparameters, Learner
    from .networks import MLP, NatureCNN
    from .observations import image_layout
    from .policy import ActorCritic, Decision, build_policy
    from .rollout import Minibatch, RolloutBuffer
    from .schedules import Schedule

__getattr__ = lazy_exports(__name__, _EXPORTS)
