"""Proximal Policy Optimization as mathematics and tensors: no processes, no screen, no environments.

`advantages` and `losses` are the formulas; `networks` and `policy` what is trained; `rollout` what it learns from;
`learner` how.
"""

from .advantages import gae
from .distributions import Categorical, DiagonalGaussian, Distribution
from .learner import Hyperparameters, Learner
from .networks import MLP, NatureCNN
from .policy import ActorCritic, Decision, build_policy
from .rollout import Minibatch, RolloutBuffer
from .schedules import Schedule

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
]
