"""What the learner asks of a device: no float64, and steps that are skipped."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ppo_tui.ppo import Hyperparameters, Learner
from ppo_tui.ppo import optimizers as module
from ppo_tui.ppo.devices import image_format, moved
from ppo_tui.ppo.observer import Observer
from tests.ppo.test_learner import CPU, SCREEN, VECTOR, make_config, make_policy, make_rollout

MPS = torch.device("mps")


class NoFloat64(TorchDispatchMode):
    """Computations as on Apple's GPUs, which refuse every float64."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64:
                raise TypeError(f"{func} makes a float64")
        return found


class Refusing(Observer):
    """The forward pass and the step of each minibatch without float64."""

    def looking(self) -> contextlib.AbstractContextManager[None]:
        return NoFloat64()  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("space", [SCREEN, VECTOR], ids=["images", "numbers"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "radam", "rmsprop"])
def test_acting_and_learning_need_no_float64(space, optimizer):
    config = make_config(epochs=2, minibatches=2, optim={"name": optimizer})
    policy = make_policy(config, space)
    rollout = make_rollout(policy, config, space)
    with NoFloat64():
        policy.decide(rollout.observation(0), noise=policy.draw_noise(4, torch.Generator()))
        policy.value(rollout.observation(0))
    learner = Learner(policy, config, CPU)
    metrics = learner.update(rollout, Hyperparameters.from_config(config), observer=Refusing())
    assert metrics["train/nonfinite"] == 0


def test_statistics_of_observations_are_what_needs_it():
    config = make_config(policy={"normalize_observations": True})
    policy = make_policy(config)
    with NoFloat64(), pytest.raises(TypeError):
        policy.decide(torch.zeros(4, 3), noise=None)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "radam", "rmsprop", "rmsprop-tf"])
def test_where_no_step_can_be_skipped_the_same_one_is_left_out(optimizer, monkeypatch):
    """As on Apple's GPUs: the CPU waits for the answer, and takes the step or not."""

    def learned() -> tuple[torch.Tensor, dict[str, float]]:
        config = make_config(epochs=2, minibatches=2, optim={"name": optimizer})
        policy = make_policy(config)
        rollout = make_rollout(policy, config)
        rollout.log_probs[3, 2] = float("nan")
        metrics = Learner(policy, config, CPU).update(rollout, Hyperparameters.from_config(config))
        return torch.cat([weight.detach().flatten() for weight in policy.parameters()]), metrics

    weights, metrics = learned()
    monkeypatch.setattr(module, "skips_steps", lambda device: False)
    again, same = learned()
    assert metrics["train/nonfinite"] == same["train/nonfinite"] == 2
    torch.testing.assert_close(weights, again, rtol=1e-4, atol=1e-6)


def test_tensors_move_as_the_device_can_hold_them(monkeypatch):
    """A rollout's rewards are float64; here the device itself is out of reach."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *where, **how: asked.append((tensor.dtype, *where, how)))
    moved(torch.zeros(2, dtype=torch.float64), MPS)
    moved(torch.zeros(2, dtype=torch.uint8), MPS)
    moved(torch.zeros(2, dtype=torch.float64), CPU)
    assert asked == [(torch.float32, MPS, {}), (torch.uint8, MPS, {}), (torch.float64, CPU, {})]
    assert (image_format(MPS), image_format(CPU)) == (torch.contiguous_format, torch.channels_last)
