"""Hyper-parameters on a schedule, or adapted to the divergence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """A value over the progress of a run.

    Progress p is 0 at the first step of the run and 1 at its last.

    Attributes:
        value: at progress `since`.
        kind: ``constant`` keeps it; ``linear`` anneals it to 0 at p = 1.
        since: progress at which `value` was set: 0, or the moment of the last live edit.
    """

    value: float | None
    kind: Literal["constant", "linear"] = "constant"
    since: float = 0.0

    def at(self, progress: float) -> float | None:
        """The value at `progress`, constant outside `since`..1."""
        if self.value is None or self.kind == "constant" or progress <= self.since:
            return self.value
        remaining = max(1.0 - progress, 0.0) / (1.0 - self.since) if self.since < 1.0 else 0.0
        return self.value * remaining

    def edited(self, value: float | None, progress: float) -> Schedule:
        """The schedule after a live edit to `value` at `progress`.

        It anneals from there on.
        """
        return dataclasses.replace(self, value=value, since=progress)


MIN_KL_COEF, MAX_KL_COEF = 1e-6, 1e6
"""Bounds of β. The paper's rule has none, and a β halved for a hundred updates would need as many to come back."""


def adapted_kl_coef(kl_coef: float, kl: float, target: float) -> float:
    """The next β: halved or doubled towards the target KL.

    β / 2 if d < d_targ / 1.5; 2 β if d > 1.5 d_targ.

    PPO (Schulman et al., 2017, arXiv:1707.06347), section 4.

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


def adapted_learning_rate(learning_rate: float, kl: float, target: float, *, low: float, high: float) -> float:
    """The next learning rate, lowered or raised towards the target KL.

    Times 1.5 if KL < ½ target; divided by 1.5 if KL > 2 target; not beyond the bounds. A KL of NaN changes nothing.

    The rule of rl_games (``common/schedulers.py``, ``AdaptiveScheduler``) and RSL-RL (Rudin et al., 2022,
    arXiv:2109.11978), which apply it after every minibatch.
    """
    if kl > 2 * target:
        return max(learning_rate / 1.5, low)
    if kl < target / 2:
        return min(learning_rate * 1.5, high)
    return learning_rate


class Adaptive:
    """A number adapted to the divergence from its setting on.

    An edit of the setting restarts it.

    Args:
        rule: the next number as a function of number, KL and target.
        target: desired KL, in nats.
        every: adapt it after every update, to its exact divergence, or after every minibatch, to an estimate.
    """

    def __init__(
        self,
        rule: Callable[[float, float, float], float],
        target: float,
        *,
        every: Literal["update", "minibatch"] = "update",
    ) -> None:
        self.every = every
        self._rule, self._target = rule, target
        self._setting: float | None = None
        self.value = 0.0

    def start(self, setting: float) -> float:
        """The number for the coming update, restarted if `setting` has changed."""
        if setting != self._setting:
            self._setting = self.value = setting
        return self.value

    def adapt(self, kl: float) -> None:
        """Adapt the number to the divergence since the update began, in nats."""
        self.value = self._rule(self.value, kl, self._target)

    def state_dict(self) -> dict[str, float]:
        """The number and its setting; empty before the first update."""
        return {} if self._setting is None else {"value": self.value, "setting": self._setting}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.value, self._setting = state.get("value", 0.0), state.get("setting")
