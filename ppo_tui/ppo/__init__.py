"""Proximal Policy Optimization: mathematics on tensors, without processes, screen or environments.

Formulas: `losses`, `gae`, `distributions`, `schedules`. The policy: `policy`, `networks`, `recurrent`, `observations`,
`normalizers`, `cpu_inference`, and its `interface` to NumPy. Learning: `buffer`, `minibatches`, `learner`,
`optimizers`, `units`. The names load on first use, because `observations` is needed where PyTorch is not loaded yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_exports

_EXPORTS = {
    "MLP": ".networks",
    "ActorCritic": ".policy",
    "Bernoulli": ".distributions",
    "Categorical": ".distributions",
    "Decision": ".policy",
    "DiagonalGaussian": ".distributions",
    "Distribution": ".distributions",
    "Hyperparameters": ".learner",
    "ImpalaCNN": ".networks",
    "Interface": ".interface",
    "Learner": ".learner",
    "Minibatch": ".minibatches",
    "MultiCategorical": ".distributions",
    "NatureCNN": ".networks",
    "RolloutBuffer": ".buffer",
    "Schedule": ".schedules",
    "SquashedGaussian": ".distributions",
    "build_policy": ".policy",
    "check_spaces_of_policy": ".observations",
    "image_layout": ".observations",
    "image_layouts": ".observations",
}

__all__ = [
    "MLP",
    "ActorCritic",
    "Bernoulli",
    "Categorical",
    "Decision",
    "DiagonalGaussian",
    "Distribution",
    "Hyperparameters",
    "ImpalaCNN",
    "Interface",
    "Learner",
    "Minibatch",
    "MultiCategorical",
    "NatureCNN",
    "RolloutBuffer",
    "Schedule",
    "SquashedGaussian",
    "build_policy",
    "check_spaces_of_policy",
    "image_layout",
    "image_layouts",
]

if TYPE_CHECKING:
    from .buffer import RolloutBuffer
    from .distributions import (
        Bernoulli,
        Categorical,
        DiagonalGaussian,
        Distribution,
        MultiCategorical,
        SquashedGaussian,
    )
    from .interface import Interface
    from .learner import Hyperparameters, Learner
    from .minibatches import Minibatch
    from .networks import MLP, ImpalaCNN, NatureCNN
    from .observations import check_spaces_of_policy, image_layout, image_layouts
    from .policy import ActorCritic, Decision, build_policy
    from .schedules import Schedule

__getattr__ = lazy_exports(__name__, _EXPORTS)
