"""Hyper-parameters on a schedule, or adapted to the divergence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """A value over the environment steps of a run.

    After the warm-up, with u = (step − warmup_steps) / (steps − warmup_steps) from 0 to 1:

        linear:       final + (value − final) (1 − u)
        cosine:       final + (value − final) (1 + cos π u) / 2     (SGDR: Loshchilov & Hutter, 2017, arXiv:1608.03983,
                                                                     equation 5)
        exponential:  final (value / final)^(1 − u)

    A live edit at step `since` rescales the rest: with r(u) for 1 − u, or half of 1 + cos π u, the share that was still
    ahead at `since` becomes the whole, r(u) / r(u_since).

    Attributes:
        value: at step `since`, or at the end of the warm-up if nothing was edited.
        kind: ``constant`` keeps it; the others bring it to `final`.
        final: at step `steps` and afterwards; above 0 for ``exponential``, as is `value`.
        warmup_steps: over which the value rises from 0 in a straight line; an edit ends the warm-up, and the edited
            value holds until it would have been over.
        steps: the length of the schedule, with its warm-up.
        since: the step of the last live edit, or 0.
    """

    value: float | None
    kind: Literal["constant", "linear", "cosine", "exponential"] = "constant"
    final: float = 0.0
    warmup_steps: int = 0
    steps: int = 1
    since: int = 0

    def at(self, step: int) -> float | None:
        """The value at `step`, constant before `since`."""
        if self.value is None:
            return None
        if self.since == 0 and step < self.warmup_steps:
            return self.value * (step / self.warmup_steps)
        if self.kind == "constant" or step <= self.since or not (whole := self._ahead(self.since)):
            return self.value
        share = self._ahead(step) / whole
        if self.kind == "exponential":
            return self.value**share * self.final ** (1 - share)
        return self.value * share + self.final * (1 - share)

    def edited(self, value: float | None, step: int) -> Schedule:
        """The schedule after a live edit to `value` at `step`.

        It goes to `final` from there on; an edit after its end stays.
        """
        return dataclasses.replace(self, value=value, since=step)

    def _ahead(self, step: int) -> float:
        """The share r (1 to 0) of the way ahead at `step`."""
        done, length = step - self.warmup_steps, self.steps - self.warmup_steps
        if done <= 0:
            return 1.0
        if done >= length:
            return 0.0
        left = 1.0 - done / length
        # sin² is (1 + cos π u) / 2 without the loss of digits towards the end.
        return math.sin(math.pi / 2 * left) ** 2 if self.kind == "cosine" else left


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
