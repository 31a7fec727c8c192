"""The learner: gradient steps over minibatches, and adaptive settings."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Config, PPOConfig
from ..distributed.ranks import ALONE, Ranks
from . import losses
from .buffer import RolloutBuffer
from .devices import image_format
from .minibatches import Minibatch, Minibatches
from .normalizers import RewardNormalizer
from .objective import Coefficients, Evaluation, Objective, kl_from_old
from .observer import MEANS, NOBODY, Learned, Observer
from .optimizers import PolicyOptimizer, compiled
from .policy import ActorCritic
from .revaluation import revalued
from .schedules import Adaptive, adapted_kl_coef, adapted_learning_rate
from .units import DeadUnits

KL_TOLERANCE = 1.5
"""Limit of the approximate KL in an update, as a multiple of the target, as in Spinning Up and SB3."""

DEAD_UNITS_EVERY = 10
"""Interval of the counts of dead units, in passes over a rollout; a count costs a fraction of a minibatch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Settings of one update, with all schedules and live edits applied."""

    learning_rate: float
    clip_range: float
    clip_range_upper: float | None
    value_coef: float
    entropy_coef: float
    epochs: int
    max_grad_norm: float
    target_kl: float | None
    gamma: float
    gae_lambda: float

    @classmethod
    def from_config(cls, config: Config) -> Hyperparameters:
        """The values at the start of a run."""
        ppo, optim = config.ppo, config.optim
        return cls(
            learning_rate=optim.learning_rate,
            clip_range=ppo.clip_range,
            clip_range_upper=ppo.clip_range_upper,
            value_coef=ppo.value_coef,
            entropy_coef=ppo.entropy_coef,
            epochs=ppo.epochs,
            max_grad_norm=optim.max_grad_norm,
            target_kl=ppo.target_kl,
            gamma=ppo.gamma,
            gae_lambda=ppo.gae_lambda,
        )

    def scheduled_coefficients(self, config: PPOConfig) -> dict[str, float]:
        """The coefficients with a schedule, by metric key."""
        found = {}
        if config.value_coef_schedule != "constant":
            found["train/value_coef"] = self.value_coef
        if config.entropy_coef_schedule != "constant":
            found["train/entropy_coef"] = self.entropy_coef
        return found


class _Totals:
    """Sums over the minibatches of an update.

    They stay on the device, because to read one is to wait for all queued work. A minibatch whose loss or gradient is
    not finite counts in `nonfinite` alone.
    """

    NAMES = (*MEANS, "grad_norm")
    _KL = NAMES.index("approx_kl")

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(len(self.NAMES), device=device)
        self._kl_sum_before_epoch = torch.zeros((), device=device)
        self._finite = torch.zeros((), device=device)
        self._finite_before_epoch = torch.zeros((), device=device)
        self._newest_kl = torch.zeros((), device=device)
        self._minibatches = 0

    def add(self, statistics: Tensor, finite: Tensor) -> None:
        """Add the `statistics` `[len(NAMES)]` of a minibatch; `finite` is a bool scalar."""
        self._sums += torch.where(finite, statistics, 0.0)
        self._newest_kl = statistics[self._KL]
        self._finite += finite
        self._minibatches += 1

    def newest_kl(self) -> float:
        """The newest minibatch's approximate KL; waits for the device."""
        return self._newest_kl.item()

    def epoch_kl(self) -> float:
        """The mean approximate KL since the last call; waits for the device."""
        kl = (self._sums[self._KL] - self._kl_sum_before_epoch) / (self._finite - self._finite_before_epoch)
        self._kl_sum_before_epoch = self._sums[self._KL].clone()
        self._finite_before_epoch = self._finite.clone()
        return kl.item()

    def read(self) -> dict[str, float]:
        """The means by metric key; waits for the device.

        NaN where no minibatch was finite.
        """
        *means, finite = torch.cat([self._sums / self._finite, self._finite.unsqueeze(0)]).tolist()
        metrics = {f"train/{name}": mean for name, mean in zip(self.NAMES, means, strict=True)}
        return metrics | {"train/nonfinite": self._minibatches - finite}


class Learner:
    """Proximal Policy Optimization (Schulman et al., 2017, arXiv:1707.06347) of one policy.

    The learner owns the optimiser, the shuffling and their state. Settings that may change between updates are the
    `Hyperparameters` of each `update`.

    Args:
        policy: moved to `device`, in the `image_format` of that if it has convolutions.
        config: for the settings that stay fixed over a run, and the seed of the shuffling.
        device: of the policy and of learning.
        ranks: processes that learn together, each from its own part of the rollout. All have to make the same calls and
            end each update with the same weights: those of one process with the whole rollout, up to the order of sums.

    Attributes:
        epochs_done: passes over a rollout since the start of the run.
    """

    def __init__(self, policy: ActorCritic, config: Config, device: torch.device, ranks: Ranks = ALONE) -> None:
        convolutional = any(isinstance(module, nn.Conv2d) for module in policy.modules())
        self.policy = policy.to(device)
        if convolutional:
            self.policy.to(memory_format=image_format(device))  # pyright: ignore[reportCallIssue]: missing in the stubs
        self.device = device
        self.epochs_done = 0
        self._ranks = ranks
        self._parameters = list(policy.parameters())
        self._ppo = config.ppo
        self._optimizer = PolicyOptimizer(policy, config.optim)
        self._rewards = RewardNormalizer(config.rollout.num_envs, ranks) if config.ppo.normalize_rewards else None
        self._kl_coef = config.ppo.kl_coef
        self._adaptive: dict[str, Adaptive] = {}
        if config.ppo.surrogate == "kl-adaptive":
            self._adaptive["kl_coef"] = Adaptive(adapted_kl_coef, config.ppo.desired_kl)
        if config.optim.learning_rate_schedule == "kl-adaptive":
            low, high = config.optim.min_learning_rate, config.optim.max_learning_rate
            rule = functools.partial(adapted_learning_rate, low=low, high=high)
            every = config.optim.kl_adaptive_every
            self._adaptive["learning_rate"] = Adaptive(rule, config.ppo.desired_kl, every=every)
        self._generator = torch.Generator().manual_seed(config.run.seed)
        self._compiled = config.run.compile
        objective = Objective(self.policy, config.ppo)
        self._evaluate = objective.evaluate
        self._compiled_evaluate = compiled(objective.evaluate_means) if self._compiled else self._evaluate

    def update(
        self, rollout: RolloutBuffer, hyper: Hyperparameters, *, observer: Observer = NOBODY
    ) -> dict[str, float]:
        """Learn from a full rollout with `last_values` and `final_values` set.

        Every epoch visits every step once, in freshly shuffled minibatches; those of a recurrent policy consist of
        whole environments. With `ppo.recompute_advantages` each epoch but the first begins with new advantages and
        returns, of the critic's present values; old log-probabilities, and the old values to clip by, stay. With a
        `target_kl` the update ends after the epoch whose mean approximate KL exceeds `KL_TOLERANCE` times the
        target. A minibatch whose loss or gradient is not finite is counted and leaves weights and optimiser unchanged.

        Args:
            observer: is handed the results of each minibatch.

        Returns:
            The metrics by key. Losses, ``train/approx_kl``, ``train/clip_fraction`` and ``train/grad_norm`` (before
            clipping) are means over all finite minibatches; ``train/nonfinite`` counts the others;
            ``train/explained_variance`` is of the critic before the update; ``train/ratio_error_first`` is the
            largest |rₜ − 1| of the first minibatch, which is 0 up to rounding unless another policy acted;
            ``train/dead_units``, in updates in which they are counted, is the share of dead units (see `DeadUnits`) in
            the first minibatch of a pass; ``train/std`` is the mean standard deviation of continuous actions;
            ``train/learning_rate`` is the last one, where it adapts after every minibatch.
        """
        hyper = self._adapted(hyper)
        rewards = self._normalized_rewards(rollout, hyper.gamma)
        rollout.compute_advantages(gamma=hyper.gamma, gae_lambda=hyper.gae_lambda, rewards=rewards)
        values, returns = (self._ranks.concatenate(part, dim=1) for part in (rollout.values, rollout.returns))
        explained_variance = losses.explained_variance(values, returns)
        if self.policy.value_normalizer is not None:
            self.policy.value_normalizer.adapt(returns, self.policy.value_head)
        self._optimizer.set_learning_rate(hyper.learning_rate)
        experience = rollout.to(self.device)
        minibatches = self._minibatches(experience)
        totals = _Totals(self.device)
        coefficients = self._coefficients(hyper)
        ratio_error_first, dead_units = None, DeadUnits(self.policy)
        for epoch in range(1, hyper.epochs + 1):
            if self._ppo.recompute_advantages and epoch > 1:
                present = revalued(experience, self.policy, parts=self._ppo.minibatches)
                experience.compute_advantages(
                    gamma=hyper.gamma, gae_lambda=hyper.gae_lambda, rewards=rewards, values=present
                )
                minibatches = self._minibatches(experience)
            for number, batch in enumerate(minibatches.shuffled(self._generator), start=1):
                counting = number == 1 and self.epochs_done % DEAD_UNITS_EVERY == 0
                evaluate = self._evaluate if counting else self._compiled_evaluate  # compiled layers call no hooks
                evaluate = functools.partial(evaluate, coefficients=coefficients)
                with dead_units.counted(counting), observer.looking():
                    learned = self._learn(batch, evaluate, hyper.max_grad_norm, (epoch, number))
                totals.add(torch.cat([learned.means, learned.grad_norm.unsqueeze(0)]), learned.finite)
                if ratio_error_first is None:
                    ratio_error_first = learned.ratio_error
                else:  # the first minibatch sees the policy that acted, and says nothing of the learning rate
                    self._adapt_to_minibatch(totals)
                observer.learned(learned)
            self.epochs_done += 1
            if hyper.target_kl is not None and totals.epoch_kl() > KL_TOLERANCE * hyper.target_kl:
                break
        assert ratio_error_first is not None, "an update has at least one minibatch"
        adaptation = self._adapt_to_divergence(minibatches, values.numel())
        if self.policy.normalizer is not None:
            self.policy.normalizer.merge(experience.step_frames(), self._ranks)
        return totals.read() | {
            "train/ratio_error_first": self._ranks.largest(ratio_error_first).item(),
            "train/explained_variance": explained_variance.item(),
            "train/n_updates": self.epochs_done,
            "train/learning_rate": hyper.learning_rate,
            "train/clip_range": hyper.clip_range,
            **({} if hyper.clip_range_upper is None else {"train/clip_range_upper": hyper.clip_range_upper}),
            **hyper.scheduled_coefficients(self._ppo),
            **({} if self.policy.log_std is None else {"train/std": self.policy.log_std.exp().mean().item()}),
            **({} if (dead := dead_units.share) is None else {"train/dead_units": dead}),
            **adaptation,
        }

    def _minibatches(self, experience: RolloutBuffer) -> Minibatches:
        """The minibatches of a rollout with its present advantages."""
        several = self._ranks.size > 1
        return Minibatches(
            experience,
            count=self._ppo.minibatches,
            whole_envs=self.policy.state_size > 0,
            advantages=self._ranks.concatenate(experience.advantages, dim=1) if several else None,
            ranks=self._ranks,
        )

    def _adapted(self, hyper: Hyperparameters) -> Hyperparameters:
        """`hyper` with its adaptive values.

        β is kept here, because it is never edited.
        """
        if coefficient := self._adaptive.get("kl_coef"):
            self._kl_coef = coefficient.start(self._ppo.kl_coef)
        if learning_rate := self._adaptive.get("learning_rate"):
            hyper = dataclasses.replace(hyper, learning_rate=learning_rate.start(hyper.learning_rate))
        return hyper

    def _normalized_rewards(self, rollout: RolloutBuffer, gamma: float) -> Tensor | None:
        if self._rewards is None:
            return None
        return self._rewards(rollout.rewards, rollout.terminations | rollout.truncations, gamma)

    def _adapt_to_minibatch(self, totals: _Totals) -> None:
        """Adapt the learning rate to the newest minibatch, if so configured.

        The approximate KL was measured before the minibatch's own step. This mode alone waits for the device in every
        minibatch.
        """
        learning_rate = self._adaptive.get("learning_rate")
        if learning_rate is not None and learning_rate.every == "minibatch":
            learning_rate.adapt(totals.newest_kl())
            self._optimizer.set_learning_rate(learning_rate.value)

    @torch.no_grad()
    def _adapt_to_divergence(self, minibatches: Minibatches, steps: int) -> dict[str, float]:
        """Adapt to KL[π_θold, π_θ] over the rollout's `steps`; return metrics.

        Without numbers that adapt after every update nothing is measured.
        """
        used = {f"train/{name}": number.value for name, number in self._adaptive.items()}
        due = [number for number in self._adaptive.values() if number.every == "update"]
        if not due:
            return used
        total = torch.zeros((), device=self.device)
        for batch in minibatches.in_order():
            if batch.share:
                distribution, _ = self.policy(batch.observations, batch.masks, batch.context)
                total += kl_from_old(distribution, batch).sum()
        kl = (self._ranks.add_up(total) / steps).item()
        for number in due:
            number.adapt(kl)
        return used | {"train/kl": kl}

    def _coefficients(self, hyper: Hyperparameters) -> Coefficients:
        upper = hyper.clip_range if hyper.clip_range_upper is None else hyper.clip_range_upper
        numbers = Coefficients(hyper.clip_range, upper, hyper.value_coef, hyper.entropy_coef, self._kl_coef)
        # A compiled function would be compiled again for each new number.
        return Coefficients(*torch.tensor(numbers, device=self.device)) if self._compiled else numbers

    def _learn(
        self,
        batch: Minibatch,
        evaluate: Callable[[Minibatch], Evaluation],
        max_grad_norm: float,
        place: tuple[int, int],
    ) -> Learned:
        """Take one optimiser step; `place` has the numbers of epoch and minibatch."""
        if batch.share:
            loss, means, ratio_error, log_probs, values = evaluate(batch)
        else:
            loss, means = None, torch.zeros(len(MEANS), device=self.device)
            ratio_error = torch.zeros((), device=self.device)
            log_probs, values = batch.log_probs, batch.values
        self._optimizer.zero_grad()
        means = self._ranks.backward(loss, means, batch.share, self._parameters)
        grad_norm, finite = self._descend(means[MEANS.index("loss")], max_grad_norm)
        return Learned(*place, batch, log_probs, values, means, grad_norm, finite, ratio_error)

    def _descend(self, loss: Tensor, max_grad_norm: float) -> tuple[Tensor, Tensor]:
        """Step down the clipped gradient; return its norm, and whether finite.

        `loss` has to be finite, too.

        The norm is that before clipping. The optimiser skips a step that is not finite on the device, so that the CPU
        does not wait for the answer.
        """
        grad_norm = nn.utils.clip_grad_norm_(self._parameters, max_grad_norm)
        finite = torch.isfinite(loss) & torch.isfinite(grad_norm)
        self._optimizer.step(finite)
        return grad_norm, finite

    # ── State ───────────────────────────────────────────────────────────────────────────────────────────────

    def state_dict(self) -> dict[str, Any]:
        """The learner's state without the weights: contiguous CPU tensors and numbers.

        Keys are ``<optimiser>/<parameter>/<slot>``, such as ``adam/value_head.bias/exp_avg``, ``generator`` (uint8)
        and ``epochs_done`` (int); ``rewards/…`` where rewards are normalised; ``adaptive/<name>/…`` (numbers) for each
        adaptive value.
        """
        state: dict[str, Any] = {"epochs_done": self.epochs_done, "generator": self._generator.get_state()}
        state |= self._optimizer.state_dict()
        if self._rewards is not None:
            state |= {f"rewards/{name}": tensor for name, tensor in self._rewards.state_dict().items()}
        for name, number in self._adaptive.items():
            state |= {f"adaptive/{name}/{part}": value for part, value in number.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`; the weights are loaded into the policy separately.

        Raises:
            ValueError: the state is of another network or another optimiser.
        """
        self._optimizer.load_state_dict(state)
        self._generator.set_state(state["generator"])
        self.epochs_done = int(state["epochs_done"])
        if self._rewards is not None:
            self._rewards.load_state_dict(_below("rewards", state))
        for name, number in self._adaptive.items():
            number.load_state_dict(_below(f"adaptive/{name}", state))


def _below(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    """Entries of `state` under ``prefix/…``, by the rest of the key."""
    return {key.removeprefix(f"{prefix}/"): value for key, value in state.items() if key.startswith(f"{prefix}/")}
