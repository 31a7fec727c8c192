"""An update under inspection: its samples, as the learner has them anyway."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from ...config import Config
from ...ppo import ActorCritic, Hyperparameters, RolloutBuffer, losses
from ...ppo.objective import advantages_of
from ...ppo.observer import MEANS, Learned, Observer
from ...ppo.units import DeadUnits
from ...protocol import ClipCounts, Histogram, LayerReading, MinibatchColumns, UpdateInspected
from . import measures

RATIO_BINS, BINS = 60, 48
"""Bins of the histogram of ratios and of the others."""

POINTS, MINIBATCHES, LAYERS, CHOICES = 300, 512, 48, 16
"""Limits of an event: points of the scatter, minibatches, layers, and choices or dimensions of an action."""

RATIO_SPAN = 3.0
"""Reach of the histogram of ratios to either side of 1, in ε."""

_COLUMNS = {
    "approx_kl": "approx_kl",
    "clip_fraction": "clip_fraction",
    "policy_loss": "policy_gradient_loss",
    "value_loss": "value_loss",
    "entropy": "entropy_loss",
}
"""Columns of an event, and the means that they show."""


class Inspection(Observer):
    """Measurements of one update, minibatch by minibatch.

    It reads and computes; no weight, gradient or random number depends on it.

    Args:
        rollout: to be learnt from; its advantages are there once the first minibatch is.
        update: its number.
        action_names: of the discrete actions; may be empty.
    """

    def __init__(
        self,
        policy: ActorCritic,
        config: Config,
        hyper: Hyperparameters,
        rollout: RolloutBuffer,
        *,
        update: int,
        action_names: Sequence[str] = (),
    ) -> None:
        self._policy, self._config, self._hyper, self._rollout = policy, config, hyper, rollout
        self._update, self._action_names = update, tuple(action_names)
        self._dead_units = DeadUnits(policy)
        self._every = max(1, math.ceil(hyper.epochs * config.ppo.minibatches / MINIBATCHES))
        self._epochs: list[int] = []
        self._columns: dict[str, list[float]] = {name: [] for name in (*_COLUMNS, "grad_norm")}
        self._of_rollout: dict[str, object] = {}
        self._newest: Learned | None = None
        self._epoch = _Epoch(*self._ratio_range())

    @property
    def measured(self) -> bool:
        """Whether any minibatch was seen."""
        return self._newest is not None

    def looking(self) -> contextlib.AbstractContextManager[None]:
        # Compiled layers call no hooks, and others in their place would change the last bits.
        return self._dead_units.counted(not self._config.run.compile)

    @torch.no_grad()
    def learned(self, result: Learned) -> None:
        if self._newest is None:
            self._of_rollout = self._read_rollout()
        elif result.epoch != self._newest.epoch:
            self._epoch = _Epoch(*self._ratio_range())
        self._newest = result
        self._read_ratios(result)
        self._read_gradient(float(result.grad_norm))
        place = (result.epoch - 1) * self._config.ppo.minibatches + result.minibatch - 1
        if place % self._every == 0:
            self._read_means(result)

    def event(self, *, done: bool) -> UpdateInspected:
        """Everything measured so far; `measured` must hold.

        Args:
            done: the update has ended.
        """
        assert self._newest is not None, "an event has a minibatch"
        columns = {name: measures.short(column) for name, column in self._columns.items()}
        bounds = (1.0 - self._hyper.clip_range, 1.0 + self._upper) if self._clips else (None, None)
        return UpdateInspected(
            update=self._update,
            epoch=self._newest.epoch,
            epochs=self._hyper.epochs,
            minibatch=self._newest.minibatch,
            minibatches=self._config.ppo.minibatches,
            done=done,
            surrogate=self._config.ppo.surrogate,
            clip_low=bounds[0],
            clip_high=bounds[1],
            ratio_up=self._epoch.up,
            ratio_down=self._epoch.down,
            clip=self._epoch.clip,
            layers=self._layers(),
            columns=MinibatchColumns(epoch=tuple(self._epochs), **columns),
            every=self._every,
            **self._of_rollout,  # pyright: ignore[reportArgumentType]: fields of several types
        )

    # ── Of each minibatch ───────────────────────────────────────────────────────────────────────────────────

    @property
    def _clips(self) -> bool:
        return self._config.ppo.surrogate in ("clip", "spo")

    @property
    def _upper(self) -> float:
        upper = self._hyper.clip_range_upper
        return self._hyper.clip_range if upper is None else upper

    def _ratio_range(self) -> tuple[float, float]:
        return max(0.0, 1.0 - RATIO_SPAN * self._hyper.clip_range), 1.0 + RATIO_SPAN * self._upper

    def _read_ratios(self, result: Learned) -> None:
        if result.log_probs is None:
            return
        ratios = losses.probability_ratio(result.log_probs, result.batch.log_probs).cpu().numpy()
        advantages = advantages_of(result.batch, self._config.ppo).cpu().numpy()
        self._epoch.add_ratios(ratios, advantages)
        if self._clips:
            self._epoch.clip = measures.sum_of_counts(
                self._epoch.clip,
                measures.clip_counts(
                    ratios, advantages, self._hyper.clip_range, self._upper, self._config.ppo.dual_clip
                ),
            )
        else:
            self._epoch.clip = measures.sum_of_counts(self._epoch.clip, ClipCounts(steps=len(ratios)))

    def _read_gradient(self, total: float) -> None:
        norms = [
            float(nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None]))
            for parameters in _parameters_by_layer(self._policy).values()
        ]
        norms = [measures.before_clipping(norm, total, self._hyper.max_grad_norm) for norm in norms]
        self._epoch.grad_norms.append(norms)

    def _read_means(self, result: Learned) -> None:
        means: dict[str, float] = dict(zip(MEANS, result.means.tolist(), strict=True))
        for column, name in _COLUMNS.items():
            self._columns[column].append(-means[name] if column == "entropy" else means[name])
        self._columns["grad_norm"].append(float(result.grad_norm))
        self._epochs.append(result.epoch)

    def _layers(self) -> tuple[LayerReading, ...]:
        layers = list(_parameters_by_layer(self._policy))
        dead: dict[str, tuple[int, int]] = {}
        for name, units in self._dead_units.by_layer.items():
            owner = _layer_before(self._policy, name)
            count, size = dead.get(owner, (0, 0))
            dead[owner] = count + int(units.sum()), size + len(units)
        norms = np.array(self._epoch.grad_norms).reshape(-1, len(layers)).mean(axis=0)
        readings = [
            LayerReading(name=name, grad_norm=norm, dead=dead[name][0], units=dead[name][1])
            if name in dead
            else LayerReading(name=name, grad_norm=norm)
            for name, norm in zip(layers, norms.tolist(), strict=True)
        ]
        return tuple(readings[:LAYERS])

    # ── Of the rollout ──────────────────────────────────────────────────────────────────────────────────────

    def _read_rollout(self) -> dict[str, object]:
        """The fields of an event about the whole rollout."""
        rollout = self._rollout
        advantages, log_probs, values, returns = (
            tensor.flatten().numpy()
            for tensor in (rollout.advantages, rollout.log_probs, rollout.values, rollout.returns)
        )
        mean, std = measures.mean_and_std(advantages)
        points = measures.spread(len(values), POINTS)
        return {
            "advantages": measures.histogram(advantages, *measures.range_of(advantages), BINS),
            "advantage_mean": mean,
            "advantage_std": std,
            "better": None if mean is None else float((advantages > 0).mean()),
            "log_probs": measures.histogram(log_probs, *measures.range_of(log_probs), BINS),
            "log_prob_mean": measures.mean_and_std(log_probs)[0],
            "values": measures.short(values[points].tolist()),
            "returns": measures.short(returns[points].tolist()),
            "explained_variance": float(losses.explained_variance(rollout.values, rollout.returns)),
            **self._actions(),
        }

    def _actions(self) -> dict[str, object]:
        space, actions = self._policy.action_space, self._rollout.actions.flatten(0, 1).numpy()
        if isinstance(space, spaces.Box):
            pairs = [measures.mean_and_std(column) for column in actions.T[:CHOICES]]
            return {"means": tuple(mean for mean, _ in pairs), "stds": tuple(std for _, std in pairs)}
        if isinstance(space, spaces.Discrete):
            shares, others = measures.action_shares(actions, int(space.n))
            return {"choices": (shares,), "other_actions": others, "action_names": self._action_names[: len(shares)]}
        sizes = [int(n) for n in space.nvec.flat] if isinstance(space, spaces.MultiDiscrete) else [2] * actions.shape[1]
        columns = actions.astype(np.int64).T[:CHOICES]
        return {
            "choices": tuple(measures.action_shares(column, n)[0] for column, n in zip(columns, sizes, strict=False))
        }


class _Epoch:
    """Sums over the minibatches of an epoch.

    Args:
        low, high: ends of the histograms of ratios.
    """

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high
        empty = Histogram(low=low, high=high, counts=(0,) * RATIO_BINS)
        self.up, self.down = empty, empty
        self.clip = ClipCounts()
        self.grad_norms: list[list[float]] = []

    def add_ratios(self, ratios: measures.Numbers, advantages: measures.Numbers) -> None:
        """Add the ratios of steps, both `[B]`."""
        ends = self._low, self._high, RATIO_BINS
        self.up = measures.added(self.up, measures.histogram(ratios[advantages >= 0], *ends))
        self.down = measures.added(self.down, measures.histogram(ratios[advantages < 0], *ends))


def _parameters_by_layer(policy: ActorCritic) -> dict[str, list[nn.Parameter]]:
    """The parameters of each module with its own, in order."""
    layers: dict[str, list[nn.Parameter]] = {}
    for name, parameter in policy.named_parameters():
        layers.setdefault(name.rpartition(".")[0] or name, []).append(parameter)
    return layers


def _layer_before(policy: ActorCritic, name: str) -> str:
    """The layer with weights before the nonlinearity `name`."""
    before = ""
    for other, module in policy.named_modules():
        if other == name:
            break
        if any(parameter.ndim >= 2 for parameter in module.parameters(recurse=False)):
            before = other
    return before
