"""Stop rules: end a good, an unimproving or a long run.

The rules are a fold over the updates and evaluations of a run; checkpoints keep where they stand. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from ..config import LIVE_FIELDS, Config, StopConfig, get_value, is_rule, replace_value
from ..config.stopping import EVALUATED, OF_EPISODES, SOLVED
from ..errors import ConfigError, UsageError, did_you_mean
from ..expectations import MEAN_RETURN
from ..explanations import METRICS
from ..plotting import formats
from ..protocol import Alarm, Level, StopDistance

if TYPE_CHECKING:
    from ..envs import EnvInfo
    from .hub import RunContext
    from .live_settings import LiveSettings
    from .metrics import EpisodeWindow

MEAN_LENGTH = "rollout/ep_len_mean"

_OWN_METRICS = ("rollout/", "train/", "time/", EVALUATED)
"""Beginnings of the metrics that are all known before a run; an environment's own are not."""

_NAMES = {MEAN_RETURN: "return", "eval/ep_rew_mean": "return in evaluation"}


class StopState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The position of a run under its stop rules, in a checkpoint.

    Attributes:
        measured: the metric of the values below, with all that gives them their meaning.
        value: the newest one; None before the first that counts.
        step: of the newest check.
        goal: of which `held` counts the checks in a row.
        best: the best value, by at least the gain better than the one before; None without a rule for it.
        best_step: its step.
    """

    measured: str = ""
    value: float | None = None
    step: int = 0
    goal: float | None = None
    held: int = 0
    best: float | None = None
    best_step: int = 0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The rules in force: those of the configuration, with live edits."""

    rules: StopConfig
    goal: float | None = None
    plateau: int | None = None
    after: float | None = None

    @property
    def active(self) -> bool:
        return (self.goal, self.plateau, self.after) != (None, None, None)

    @property
    def measured(self) -> str:
        return f"{self.rules.metric}, {self.rules.better}, {self.rules.window} episodes"

    @property
    def name(self) -> str:
        """The metric in words."""
        return _NAMES.get(self.rules.metric, self.rules.metric)

    def current(self, state: StopState) -> StopState:
        """The part of `state` with a meaning under these limits."""
        if state.measured != self.measured:
            state = StopState(measured=self.measured, step=state.step)
        if state.goal != self.goal:
            state = msgspec.structs.replace(state, goal=self.goal, held=0)
        return state if self.plateau is not None else msgspec.structs.replace(state, best=None, best_step=0)

    def checked(self, state: StopState, step: int, value: float | None) -> StopState:
        """The state after a check at `step`.

        A value that is no finite number reaches nothing and improves nothing.
        """
        state = self.current(state)
        if value is None or not math.isfinite(value):
            return msgspec.structs.replace(state, step=step, value=None, held=0)
        state = msgspec.structs.replace(state, step=step, value=value)
        if self.goal is not None:
            held = state.held + 1 if self._towards(value) >= self._towards(self.goal) else 0
            state = msgspec.structs.replace(state, held=held)
        if self.plateau is not None and (state.best is None or self._better(value, state.best)):
            state = msgspec.structs.replace(state, best=value, best_step=step)
        return state

    def _towards(self, value: float) -> float:
        """`value`, with its sign changed if lower is better."""
        return value if self.rules.better == "higher" else -value

    def _better(self, value: float, best: float) -> bool:
        value, best = self._towards(value), self._towards(best)
        return value >= best + self.rules.gain if self.rules.gain else value > best

    def plateau_left(self, state: StopState) -> int | None:
        """Steps until a plateau ends the run; None without any so far."""
        if self.plateau is None or (state := self.current(state)).best is None:
            return None
        return max(0, state.best_step + self.plateau - state.step)

    def reason(self, state: StopState, seconds: float) -> str:
        """The rule to end the run by, in words, or nothing.

        Args:
            seconds: of training so far.
        """
        state, rules = self.current(state), self.rules
        if self.goal is not None and state.held >= rules.held:
            how = "reached" if rules.held == 1 else f"held for {rules.held} checks"
            of = f" over {rules.window} episodes" if rules.metric in (MEAN_RETURN, MEAN_LENGTH) else ""
            return f"{self.name} {self.goal:.10g} {how} ({formats.exact(state.value or 0.0)}{of})"
        if self.plateau_left(state) == 0:
            by = f" by {rules.gain:.10g}" if rules.gain else ""
            return f"{self.name} no better than {formats.exact(state.best or 0.0)}{by} in {self.plateau:,} steps"
        if self.after is not None and seconds >= self.after:
            return f"{formats.span(self.after)} of training"
        return ""


class StopRules:
    """The stop rules of a running training. Belongs to its thread.

    Args:
        settings: the live settings, with the goal, the plateau and the time.
        episodes: the newest ones of the run.
        threshold: mean return at which the environment counts as solved, if any.
    """

    def __init__(
        self, context: RunContext, settings: LiveSettings, episodes: EpisodeWindow, threshold: float | None
    ) -> None:
        self._context, self._settings, self._episodes, self._threshold = context, settings, episodes, threshold
        self._rules = context.config.stop
        self._state = StopState()
        self._missing = False

    def save(self) -> StopState:
        return self._state

    def restore(self, state: StopState) -> None:
        self._state = state

    def goal(self, value: object) -> object:
        """A live value of ``stop.at``, as a number.

        Raises:
            ConfigError: the environment has no threshold.
        """
        return _threshold(self._context.config, self._threshold) if value == SOLVED else value

    def changes(self, step: int) -> dict[str, float | int | None]:
        """The configured live rules with other values in force."""
        keys = [key for key in LIVE_FIELDS if is_rule(key)]
        wanted = {key: get_value(self._context.config, key) for key in keys}
        return {key: value for key, value in wanted.items() if value != self._settings.current(key, step)}

    def update_finished(self, step: int, metrics: Mapping[str, float | None]) -> StopDistance | None:
        """Check the metrics of an update; return the distance under rules."""
        limits = self._limits(step)
        if not limits.active:
            return None
        if not self._rules.metric.startswith(EVALUATED):
            if self._rules.metric not in metrics:
                self._say_missing(limits, metrics)
            elif not self._too_few:
                self._state = limits.checked(self._state, step, self._value(metrics))
        return self._distance(limits)

    def evaluated(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Check the score of the policy at `step`."""
        if self._rules.metric.startswith(EVALUATED) and (limits := self._limits(step)).active:
            self._state = limits.checked(self._state, step, metrics.get(self._rules.metric))

    def reason(self, step: int) -> str:
        """The rule to end the run by now, in words, or nothing.

        Of several ranks the first one decides: they differ in their clocks.
        """
        limits = self._limits(step)
        if not limits.active:
            return ""
        return self._context.ranks.agree(lambda: limits.reason(self._state, self._context.clock.seconds), str)

    def _limits(self, step: int) -> Limits:
        goal, plateau, after = (self._settings.current(f"stop.{name}", step) for name in ("at", "plateau", "after"))
        return Limits(rules=self._rules, goal=goal, plateau=plateau, after=after)

    @property
    def _too_few(self) -> bool:
        """Whether too few episodes have ended for the metric."""
        return self._rules.metric.startswith(OF_EPISODES) and len(self._episodes.returns) < self._rules.window

    def _value(self, metrics: Mapping[str, float | None]) -> float | None:
        """The metric, as a mean over the rules' number of episodes."""
        of_episodes = {MEAN_RETURN: self._episodes.returns, MEAN_LENGTH: self._episodes.lengths}
        if (window := of_episodes.get(self._rules.metric)) is None:
            return metrics[self._rules.metric]
        newest = list(window)[-self._rules.window :]
        return sum(newest) / len(newest)

    def _distance(self, limits: Limits) -> StopDistance:
        state, rules = limits.current(self._state), self._rules
        seconds = None if limits.after is None else max(0.0, limits.after - self._context.clock.seconds)
        return StopDistance(
            metric=rules.metric,
            value=state.value,
            goal=limits.goal,
            better=rules.better,
            held=state.held,
            checks=rules.held,
            episodes=len(self._episodes.returns) if self._too_few else 0,
            enough=rules.window if self._too_few else 0,
            plateau=limits.plateau_left(state),
            seconds=seconds,
        )

    def _say_missing(self, limits: Limits, metrics: Mapping[str, float | None]) -> None:
        """Warn once of a metric missing although an episode has ended."""
        metric = self._rules.metric
        early = metric.startswith(OF_EPISODES) and not self._episodes.total
        if self._missing or early or (limits.goal, limits.plateau) == (None, None):
            return
        self._missing = True
        near = did_you_mean(metric, list(metrics), otherwise="docs/metrics.md lists the metrics")
        message = f"stop.metric = {metric!r}: this update has no such metric, and no rule holds without it; {near}"
        self._context.publish(Alarm(level=Level.WARNING, message=message))


def settle_stop(config: Config, info: EnvInfo) -> Config:
    """`config` with a number for the goal, its metric checked.

    Raises:
        ConfigError: the goal is the environment's threshold, and it has none; or no run has the metric.
    """
    stop = config.stop
    if stop.at is None and stop.plateau is None:
        return config
    if stop.metric.startswith(_OWN_METRICS) and stop.metric not in METRICS:
        hint = did_you_mean(stop.metric, METRICS, otherwise="docs/metrics.md lists the metrics")
        raise ConfigError(f"stop.metric = {stop.metric!r}: no run has this metric", hint=hint)
    if stop.at != SOLVED:
        return config
    return replace_value(config, "stop.at", _threshold(config, info.reward_threshold))


def _threshold(config: Config, threshold: float | None) -> float:
    """The return of a solved environment.

    Raises:
        ConfigError: it names none, or the goal is one for another metric.
    """
    if threshold is None:
        raise ConfigError(
            f"stop.at = {SOLVED!r}: {config.env.id} has no threshold of its own",
            hint="name the return to reach, such as --until 200",
        )
    if config.stop.metric not in _NAMES:
        raise ConfigError(
            f"stop.at = {SOLVED!r}: the threshold of {config.env.id} is one of the return, and stop.metric is "
            f"{config.stop.metric!r}",
            hint=f"name the value to reach, or set stop.metric = {MEAN_RETURN!r}",
        )
    return threshold


def refuse_reached(limits: Limits, state: StopState, seconds: float) -> None:
    """Refuse to resume a run under stop rules already holding.

    Args:
        seconds: of training so far.

    Raises:
        UsageError: with the rule, and how to continue.
    """
    reason = limits.reason(state, seconds)
    if not reason:
        return
    if limits.after is not None and seconds >= limits.after:
        further = f"longer, for example --until {formats.span(2 * seconds).replace(' ', '')}"
    elif limits.goal is not None and state.held >= limits.rules.held:
        further = "further with another goal, --until VALUE"
    else:
        further = f"longer with --set stop.plateau={2 * (limits.plateau or 1)}"
    raise UsageError(
        f"the run has ended by its stop rule: {reason}", hint=f"train {further}; or without rules, --until off"
    )
