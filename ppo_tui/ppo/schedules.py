"""Hyper-parameters that anneal over a run, and stay editable while they do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """A value over the run's progress p, from 0 at the first step to 1 at the last.

    Attributes:
        value: what holds at progress `since`.
        kind: ``constant`` keeps it; ``linear`` anneals it to 0 at p = 1.
        since: progress at which `value` was set: 0, or the moment of the last live edit.
    """

    value: float
    kind: Literal["constant", "linear"] = "constant"
    since: float = 0.0

    def at(self, progress: float) -> float:
        """The value at `progress`; outside `since`..1 the nearer of both ends holds."""
        if self.kind == "constant" or progress <= self.since:
            return self.value
        remaining = max(1.0 - progress, 0.0) / (1.0 - self.since) if self.since < 1.0 else 0.0
        return self.value * remaining

    def edited(self, value: float, progress: float) -> Schedule:
        """The schedule after a live edit: exactly `value` at `progress`, annealing on from there."""
        return dataclasses.replace(self, value=value, since=progress)


MIN_KL_COEF, MAX_KL_COEF = 1e-6, 1e6
"""β stays within: the paper's rule has no bounds, and a β that has halved for a hundred updates takes as many back."""

MIN_LEARNING_RATE, MAX_LEARNING_RATE = 1e-6, 1e-2
"""The bounds of rl_games."""


def adapted_kl_coef(kl_coef: float, kl: float, target: float) -> float:
    """β for the next update: halved where d < d_targ / 1.5, doubled where d > 1.5 d_targ (PPO, section 4).

    Args:
        kl_coef: β of this update.
        kl: d = mean KL[π_θold, π_θ] after it, in nats.
        target: d_targ.
    """
    if kl < target / 1.5:
        kl_coef /= 2
    elif kl > target * 1.5:
        kl_coef *= 2
    return min(max(kl_coef, MIN_KL_COEF), MAX_KL_COEF)


def adapted_learning_rate(learning_rate: float, kl: float, target: float) -> float:
    """The step size for the next update: 1.5 times as large where KL < ½ target, 1.5 times smaller where KL > 2 target.

    The rule of rl_games (``common/schedulers.py``, ``AdaptiveScheduler``) and RSL-RL (Rudin et al., 2022,
    arXiv:2109.11978), which apply it within an update too; here it follows the exact divergence after each.
    """
    if kl > 2 * target:
        return max(learning_rate / 1.5, MIN_LEARNING_RATE)
    if kl < target / 2:
        return min(learning_rate * 1.5, MAX_LEARNING_RATE)
    return learning_rate


class Adaptive:
    """A number that starts at its setting and follows the divergence; editing the setting starts it anew.

    Args:
        rule: (number, KL, target) → the next number.
        target: the KL to aim at, in nats.
    """

    def __init__(self, rule: Callable[[float, float, float], float], target: float) -> None:
        self._rule, self._target = rule, target
        self._setting: float | None = None
        self.value = 0.0

    def start(self, setting: float) -> float:
        """The number for an update that begins while the setting is this."""
        if setting != self._setting:
            self._setting = self.value = setting
        return self.value

    def follow(self, kl: float) -> None:
        """Take notice of the divergence after the update."""
        self.value = self._rule(self.value, kl, self._target)

    def state_dict(self) -> dict[str, float]:
        """Numbers by name; none before the first update."""
        return {} if self._setting is None else {"value": self.value, "setting": self._setting}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.value, self._setting = state.get("value", 0.0), state.get("setting")
