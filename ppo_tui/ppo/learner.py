"""The learner: epochs of minibatch steps on the clipped objective, from one rollout."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..config import Config, PPOConfig
from ..distributed.ranks import ALONE, Ranks
from . import losses
from .buffer import Minibatch, Minibatches, RolloutBuffer
from .distributions import Distribution
from .normalizers import RewardNormalizer
from .optimizers import compiled, make_optimizer
from .policy import ActorCritic
from .schedules import Adaptive, adapted_kl_coef, adapted_learning_rate
from .units import DeadUnits

MEANS = ("policy_gradient_loss", "value_loss", "entropy_loss", "loss", "approx_kl", "clip_fraction")
"""Names of `Evaluation.means`."""


class Coefficients(NamedTuple):
    """The numbers in the loss that may differ from one update to the next: Python's, or scalar tensors.

    Attributes:
        clip_range: ε.
        value: of the value loss.
        entropy: of the entropy loss.
        kl: β of the KL penalty.
    """

    clip_range: float | Tensor
    value: float | Tensor
    entropy: float | Tensor
    kl: float | Tensor


class Evaluation(NamedTuple):
    """Of one minibatch.

    Attributes:
        loss: what is to be minimised.
        means: over the minibatch's steps, without gradient, in the order of `MEANS`.
        ratio_error: the largest |rₜ − 1|, without gradient.
    """

    loss: Tensor
    means: Tensor
    ratio_error: Tensor


class Objective:
    """Judges `policy`, whose weights may change from one call to the next, by the loss that `ppo` describes."""

    def __init__(self, policy: ActorCritic, ppo: PPOConfig) -> None:
        self._policy, self._ppo = policy, ppo

    def evaluate(self, batch: Minibatch, coefficients: Coefficients) -> Evaluation:
        distribution, values = self._policy(batch.observations, batch.masks, batch.context)
        log_probs = distribution.log_prob(batch.actions)
        ratio = losses.probability_ratio(log_probs, batch.log_probs)
        policy_loss = self._policy_loss(ratio, distribution, batch, coefficients)
        value_loss = self._value_loss(values, batch, coefficients.clip_range)
        entropy_loss = losses.entropy_loss(distribution.entropy())
        loss = policy_loss + coefficients.value * value_loss + coefficients.entropy * entropy_loss
        with torch.no_grad():
            approx_kl = losses.approximate_kl(log_probs, batch.log_probs)
            clip_fraction = losses.clip_fraction(ratio, coefficients.clip_range)
            means = torch.stack((policy_loss, value_loss, entropy_loss, loss, approx_kl, clip_fraction))
            return Evaluation(loss, means, (ratio - 1.0).abs().max())

    def _policy_loss(
        self, ratio: Tensor, distribution: Distribution, batch: Minibatch, coefficients: Coefficients
    ) -> Tensor:
        """The negative of the surrogate that the configuration names, the KL penalty included."""
        advantages = batch.advantages
        if self._ppo.normalize_advantage:
            advantages = losses.normalize(advantages, over=batch.whole_advantages)
        if self._ppo.surrogate == "clip":
            return losses.clipped_surrogate_loss(ratio, advantages, coefficients.clip_range, self._ppo.dual_clip)
        loss = losses.surrogate_loss(ratio, advantages)
        if self._ppo.surrogate == "none":
            return loss
        return loss + losses.kl_penalty(distribution.kl_from(batch.old_distributions), coefficients.kl)

    def _value_loss(self, values: Tensor, batch: Minibatch, clip_range: float | Tensor) -> Tensor:
        delta = self._ppo.huber_delta
        if self._ppo.clip_value_loss:
            return losses.clipped_value_loss(values, batch.values, batch.returns, clip_range, delta)
        return losses.value_loss(values, batch.returns, delta)


KL_TOLERANCE = 1.5
"""An update ends early once its approximate KL passes this many times the target, as in Spinning Up and SB3."""

DEAD_UNITS_EVERY = 10
"""Passes over a rollout from one count of dead units to the next: one costs a fraction of a minibatch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What holds during one update, with every schedule and live edit applied. Names are those of the settings."""

    learning_rate: float
    clip_range: float
    value_coef: float
    entropy_coef: float
    epochs: int
    max_grad_norm: float
    target_kl: float | None
    gamma: float
    gae_lambda: float

    @classmethod
    def from_config(cls, config: Config) -> Hyperparameters:
        """The values that a run of `config` starts from."""
        ppo, optim = config.ppo, config.optim
        return cls(
            learning_rate=optim.learning_rate,
            clip_range=ppo.clip_range,
            value_coef=ppo.value_coef,
            entropy_coef=ppo.entropy_coef,
            epochs=ppo.epochs,
            max_grad_norm=optim.max_grad_norm,
            target_kl=ppo.target_kl,
            gamma=ppo.gamma,
            gae_lambda=ppo.gae_lambda,
        )


class _Totals:
    """Sums over the minibatches of an update. They stay on the device: reading one waits for all the work queued.

    A minibatch whose loss or gradient is not finite counts in `nonfinite` and in nothing else.
    """

    NAMES = (*MEANS, "grad_norm")
    _KL = NAMES.index("approx_kl")

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(len(self.NAMES), device=device)
        self._kl_sum_before_epoch = torch.zeros((), device=device)
        self._finite = torch.zeros((), device=device)
        self._finite_before_epoch = torch.zeros((), device=device)
        self._minibatches = 0

    def add(self, statistics: Tensor, finite: Tensor) -> None:
        """Count one minibatch with `statistics` `[len(NAMES)]`; `finite` is a bool scalar."""
        self._sums += torch.where(finite, statistics, 0.0)
        self._finite += finite
        self._minibatches += 1

    def epoch_kl(self) -> float:
        """The mean approximate KL since the last call; waits for the device."""
        kl = (self._sums[self._KL] - self._kl_sum_before_epoch) / (self._finite - self._finite_before_epoch)
        self._kl_sum_before_epoch = self._sums[self._KL].clone()
        self._finite_before_epoch = self._finite.clone()
        return kl.item()

    def read(self) -> dict[str, float]:
        """The means by metric key, NaN where no minibatch was finite; waits for the device."""
        *means, finite = torch.cat([self._sums / self._finite, self._finite.unsqueeze(0)]).tolist()
        metrics = {f"train/{name}": mean for name, mean in zip(self.NAMES, means, strict=True)}
        return metrics | {"train/nonfinite": self._minibatches - finite}


class Learner:
    """Fits a policy to rollouts by Proximal Policy Optimization (Schulman et al., 2017, arXiv:1707.06347).

    The learner owns the optimiser, the shuffling and their state; what may change between updates comes with each
    `update` as `Hyperparameters`.

    Args:
        policy: moved to `device`, in the channels-last memory format where it is convolutional.
        config: read for the settings that stay fixed over a run, and for the seed of the shuffling.
        device: where the policy lives and learns.
        ranks: those who learn together, each from its own part of the rollout: every one of them has to make the same
            calls, and all of them end each update with the same weights, those that one process would have learnt from
            the whole rollout, but for the order in which sums are taken.

    Attributes:
        epochs_done: passes over a rollout since the start of the run.
    """

    def __init__(self, policy: ActorCritic, config: Config, device: torch.device, ranks: Ranks = ALONE) -> None:
        convolutional = any(isinstance(module, nn.Conv2d) for module in policy.modules())
        self.policy = policy.to(device, memory_format=torch.channels_last) if convolutional else policy.to(device)
        self.device = device
        self.epochs_done = 0
        self._ranks = ranks
        self._parameters = list(policy.parameters())
        self._ppo = config.ppo
        self._optimizer_name = config.optim.name
        self._optimizer = make_optimizer(policy.parameters(), config.optim)
        self._rewards = RewardNormalizer(config.rollout.num_envs, ranks) if config.ppo.normalize_rewards else None
        self._kl_coef = config.ppo.kl_coef
        self._adaptive: dict[str, Adaptive] = {}
        if config.ppo.surrogate == "kl-adaptive":
            self._adaptive["kl_coef"] = Adaptive(adapted_kl_coef, config.ppo.desired_kl)
        if config.optim.learning_rate_schedule == "kl-adaptive":
            self._adaptive["learning_rate"] = Adaptive(adapted_learning_rate, config.ppo.desired_kl)
        self._generator = torch.Generator().manual_seed(config.run.seed)
        self._compiled = config.run.compile
        self._evaluate = self._evaluate_often = Objective(self.policy, config.ppo).evaluate
        if self._compiled:
            self._evaluate_often = compiled(self._evaluate)

    def update(
        self,
        rollout: RolloutBuffer,
        hyper: Hyperparameters,
        *,
        on_minibatch: Callable[[int, int], None] | None = None,
    ) -> dict[str, float]:
        """Learn from a full rollout whose `last_values` and `final_values` are set.

        Every epoch visits every step once, in freshly shuffled minibatches; those of a recurrent policy are of whole
        environments, whose steps stay together. With a `target_kl` the update ends after
        the epoch whose mean approximate KL passes `KL_TOLERANCE` times the target. A minibatch whose loss or gradient
        is not finite leaves weights and optimiser as they were, and is counted.

        Args:
            on_minibatch: called with epoch and minibatch, both counted from 1, after each minibatch. It may raise to
                abandon the update, whose steps until then stand.

        Returns:
            The metrics by key. Losses, ``train/approx_kl``, ``train/clip_fraction`` and ``train/grad_norm`` (before
            clipping) are means over all finite minibatches; ``train/nonfinite`` counts the others;
            ``train/explained_variance`` judges the critic before the update; ``train/ratio_error_first`` is the
            largest |rₜ − 1| of the first minibatch, which is 0 up to rounding unless the rollout is another policy's;
            ``train/dead_units`` is the share of dead units (see `DeadUnits`) in the first minibatch of a pass, where
            this update had one in which they were counted; ``train/std`` the mean standard deviation of continuous
            actions.
        """
        hyper = self._adapted(hyper)
        rollout.compute_advantages(
            gamma=hyper.gamma, gae_lambda=hyper.gae_lambda, rewards=self._normalized_rewards(rollout, hyper.gamma)
        )
        values, returns, advantages = (
            self._ranks.concatenate(own, dim=1) for own in (rollout.values, rollout.returns, rollout.advantages)
        )
        explained_variance = losses.explained_variance(values, returns)
        self._set_learning_rate(hyper.learning_rate)
        experience = rollout.to(self.device)
        minibatches = Minibatches(
            experience,
            count=self._ppo.minibatches,
            whole_envs=self.policy.state_size > 0,
            advantages=advantages.to(self.device) if self._ranks.size > 1 else None,
            ranks=self._ranks,
        )
        totals = _Totals(self.device)
        coefficients = self._coefficients(hyper)
        ratio_error_first, dead_units = None, DeadUnits(self.policy)
        for epoch in range(1, hyper.epochs + 1):
            for number, batch in enumerate(minibatches.shuffled(self._generator), start=1):
                counting = number == 1 and self.epochs_done % DEAD_UNITS_EVERY == 0
                evaluate = self._evaluate if counting else self._evaluate_often  # compiled units cannot be seen
                with dead_units.counted(counting):
                    ratio_error = self._learn(
                        batch, functools.partial(evaluate, coefficients=coefficients), hyper.max_grad_norm, totals
                    )
                if ratio_error_first is None:
                    ratio_error_first = ratio_error
                if on_minibatch is not None:
                    on_minibatch(epoch, number)
            self.epochs_done += 1
            if hyper.target_kl is not None and totals.epoch_kl() > KL_TOLERANCE * hyper.target_kl:
                break
        adaptation = self._follow_divergence(minibatches, values.numel())
        if self.policy.normalizer is not None:
            self.policy.normalizer.merge(experience.step_frames(), self._ranks)
        return totals.read() | {
            "train/ratio_error_first": self._ranks.largest(ratio_error_first).item(),
            "train/explained_variance": explained_variance.item(),
            "train/n_updates": self.epochs_done,
            "train/learning_rate": hyper.learning_rate,
            "train/clip_range": hyper.clip_range,
            **({} if self.policy.log_std is None else {"train/std": self.policy.log_std.exp().mean().item()}),
            **({} if (dead := dead_units.share) is None else {"train/dead_units": dead}),
            **adaptation,
        }

    def _adapted(self, hyper: Hyperparameters) -> Hyperparameters:
        """`hyper` with what follows the divergence at its present value; β is kept here, because it is never edited."""
        if coefficient := self._adaptive.get("kl_coef"):
            self._kl_coef = coefficient.start(self._ppo.kl_coef)
        if learning_rate := self._adaptive.get("learning_rate"):
            hyper = dataclasses.replace(hyper, learning_rate=learning_rate.start(hyper.learning_rate))
        return hyper

    def _normalized_rewards(self, rollout: RolloutBuffer, gamma: float) -> Tensor | None:
        if self._rewards is None:
            return None
        return self._rewards(rollout.rewards, rollout.terminations | rollout.truncations, gamma)

    @torch.no_grad()
    def _follow_divergence(self, minibatches: Minibatches, steps: int) -> dict[str, float]:
        """Measure KL[π_θold, π_θ] over the rollout of so many steps, where anything follows it; its metrics, by key."""
        if not self._adaptive:
            return {}
        used = {f"train/{name}": number.value for name, number in self._adaptive.items()}
        total = torch.zeros((), device=self.device)
        for batch in minibatches.in_order():
            if batch.share:
                distribution, _ = self.policy(batch.observations, batch.masks, batch.context)
                total += distribution.kl_from(batch.old_distributions).sum()
        kl = (self._ranks.add_up(total) / steps).item()
        for number in self._adaptive.values():
            number.follow(kl)
        return used | {"train/kl": kl}

    def _coefficients(self, hyper: Hyperparameters) -> Coefficients:
        numbers = Coefficients(hyper.clip_range, hyper.value_coef, hyper.entropy_coef, self._kl_coef)
        # What is compiled would be compiled anew for each other number.
        return Coefficients(*torch.tensor(numbers, device=self.device)) if self._compiled else numbers

    def _learn(
        self, batch: Minibatch, evaluate: Callable[[Minibatch], Evaluation], max_grad_norm: float, totals: _Totals
    ) -> Tensor:
        """One optimiser step; the largest |rₜ − 1| before it."""
        if batch.share:
            loss, means, ratio_error = evaluate(batch)
        else:
            loss, means = None, torch.zeros(len(MEANS), device=self.device)
            ratio_error = torch.zeros((), device=self.device)
        self._optimizer.zero_grad(set_to_none=True)
        means = self._ranks.backward(loss, means, batch.share, self._parameters)
        grad_norm, finite = self._descend(means[MEANS.index("loss")], max_grad_norm)
        totals.add(torch.cat([means, grad_norm.unsqueeze(0)]), finite)
        return ratio_error

    def _descend(self, loss: Tensor, max_grad_norm: float) -> tuple[Tensor, Tensor]:
        """Step down the gradient of `loss`, clipped; its norm before clipping, and whether all was finite.

        The fused optimiser skips a step for which `found_inf` is 1, on the device and without anybody waiting for
        the answer. It is the interface through which `torch.amp.GradScaler` skips its steps.
        """
        grad_norm = nn.utils.clip_grad_norm_(self._parameters, max_grad_norm)
        finite = torch.isfinite(loss) & torch.isfinite(grad_norm)
        self._optimizer.found_inf = (~finite).float()
        self._optimizer.step()
        return grad_norm, finite

    def _set_learning_rate(self, learning_rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate

    # ── State ───────────────────────────────────────────────────────────────────────────────────────────────

    def state_dict(self) -> dict[str, Any]:
        """Everything but the weights that the next update depends on: contiguous tensors on the CPU, and a counter.

        Keys are ``<optimiser>/<parameter>/<slot>``, such as ``adam/value_head.bias/exp_avg``, ``generator`` (uint8)
        and ``epochs_done`` (int); ``rewards/…`` where rewards are normalised; ``adaptive/<name>/…`` (numbers) where
        something follows the divergence.
        """
        state: dict[str, Any] = {"epochs_done": self.epochs_done, "generator": self._generator.get_state()}
        for name, parameter in self.policy.named_parameters():
            for slot, tensor in self._optimizer.state[parameter].items():
                key = f"{self._optimizer_name}/{name}/{slot}"
                state[key] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        if self._rewards is not None:
            state |= {f"rewards/{name}": tensor for name, tensor in self._rewards.state_dict().items()}
        for name, number in self._adaptive.items():
            state |= {f"adaptive/{name}/{part}": value for part, value in number.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where `state_dict` was taken. The policy's weights are loaded into the policy, before or after.

        Raises:
            ValueError: the state belongs to another network or to another optimiser.
        """
        self._optimizer.state.clear()
        self._optimizer.state.update(self._slots(state))
        self._generator.set_state(state["generator"])
        self.epochs_done = int(state["epochs_done"])
        if self._rewards is not None:
            self._rewards.load_state_dict(_below("rewards", state))
        for name, number in self._adaptive.items():
            number.load_state_dict(_below(f"adaptive/{name}", state))

    def _slots(self, state: dict[str, Any]) -> dict[nn.Parameter, dict[str, Tensor]]:
        """The optimiser's own state of each parameter.

        Raises:
            ValueError: it is that of another network or of another optimiser.
        """
        for other in {"adam", "rmsprop", "rmsprop-tf"} - {self._optimizer_name}:
            if _below(other, state):
                raise ValueError(f"optimiser state of {other}; the optimiser is {self._optimizer_name}")
        parameters = dict(self.policy.named_parameters())
        slots: dict[nn.Parameter, dict[str, Tensor]] = {}
        for key, saved in _below(self._optimizer_name, state).items():
            name, slot = key.split("/")
            if name not in parameters:
                raise ValueError(f"optimiser state for {name}, which the network does not have")
            slots.setdefault(parameters[name], {})[slot] = _slot_for(parameters[name], slot, saved)
        return slots


def _below(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    """What `state` holds under ``prefix/…``, by the rest of its key."""
    return {key.removeprefix(f"{prefix}/"): value for key, value in state.items() if key.startswith(f"{prefix}/")}


def _slot_for(parameter: nn.Parameter, slot: str, saved: Tensor) -> Tensor:
    """A saved slot as the optimiser's kernel needs it: on the parameter's device and in its memory format."""
    if slot == "step":
        return saved.to(parameter.device, copy=True)
    if saved.shape != parameter.shape:
        raise ValueError(f"optimiser state of shape {tuple(saved.shape)} for weights of {tuple(parameter.shape)}")
    return torch.empty_like(parameter, requires_grad=False).copy_(saved)
