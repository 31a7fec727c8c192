"""Compiled, the learner learns the same, and is compiled once."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest
import torch
from torch._dynamo.utils import counters

from ppo_tui.config import replace_value
from ppo_tui.ppo import Hyperparameters, Learner
from ppo_tui.ppo.optimizers import compiled
from tests.ppo.test_learner import CONTINUOUS, CPU, DISCRETE, VECTOR, make_config, make_policy, make_rollout, weights_of


def learnt(config, action_space, mask_share: float) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Metrics and weights of three updates with changing coefficients."""
    policy = make_policy(config, VECTOR, action_space)
    rollout = make_rollout(policy, config, mask_share=mask_share)
    learner, hyper = Learner(policy, config, CPU), Hyperparameters.from_config(config)
    metrics = []
    for part in (1.0, 0.9, 0.8):
        changed = {name: part * getattr(hyper, name) for name in ("clip_range", "entropy_coef", "learning_rate")}
        metrics.append(learner.update(rollout, dataclasses.replace(hyper, **changed)))
    return metrics, weights_of(policy)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action_space", "mask_share", "ppo"),
    [
        (DISCRETE, 0.3, {"clip_value_loss": True, "dual_clip": 3.0}),
        (CONTINUOUS, 0.0, {"surrogate": "kl-adaptive", "huber_delta": 1.0}),
    ],
    ids=["clip", "kl-adaptive"],
)
def test_compiled_it_learns_the_same_and_changed_coefficients_compile_nothing(action_space, mask_share, ppo):
    config = make_config(epochs=2, **ppo)
    to_compile = replace_value(config, "run.compile", True)
    expected_metrics, expected_weights = learnt(config, action_space, mask_share)
    counters.clear()
    torch._dynamo.reset()
    metrics, weights = learnt(to_compile, action_space, mask_share)
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected_weights[name], atol=1e-5, rtol=1e-4, msg=name)
    for ours, theirs in zip(metrics, expected_metrics, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5, nan_ok=True)
    assert "train/dead_units" in metrics[0]
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


def test_the_compiler_is_loaded_for_those_alone_who_compile_and_starts_no_processes():
    """In a fresh process: the compiler reads its settings when loaded."""
    lines = (
        "import dataclasses, sys, torch",
        "from ppo_tui.config import OptimConfig",
        "from ppo_tui.config.learning import OPTIMIZERS",
        "from ppo_tui.ppo.optimizers import compiled, make_optimizer, step_if",
        "for name in OPTIMIZERS:",
        "    weight = torch.nn.Parameter(torch.zeros(2, 2))",
        "    weight.grad = torch.ones(2, 2)",
        "    step_if(torch.tensor(True), make_optimizer([weight], OptimConfig(name=name)))",
        "    assert weight.detach().all(), name",
        "assert not {'torch._dynamo', 'torch._inductor'} & sys.modules.keys()",
        "compiled(abs)",
        "from torch._inductor import config",
        "print(config.compile_threads)",
    )
    environment = {key: value for key, value in os.environ.items() if key != "TORCHINDUCTOR_COMPILE_THREADS"}
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1", done.stderr


def test_the_compiler_starts_as_many_processes_as_the_user_says(monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "3")
    compiled(abs)
    assert os.environ["TORCHINDUCTOR_COMPILE_THREADS"] == "3"
