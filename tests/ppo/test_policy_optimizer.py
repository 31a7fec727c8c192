"""The optimisers: against plain references, their weights, rates and skipped steps."""

import dataclasses

import numpy as np
import pytest
import torch
from gymnasium import spaces

from ppo_tui.config import Config, OptimConfig, build_config
from ppo_tui.errors import ConfigError
from ppo_tui.ppo import ActorCritic, Hyperparameters, Learner
from ppo_tui.ppo.optimizers import PolicyOptimizer, make_optimizer, step_and_undo, step_if
from tests.ppo.reference import adam_step, updated_weights
from tests.ppo.test_learner import CPU, VECTOR, assert_equal_weights, make_config, make_policy, make_rollout, weights_of

FINITE, NOT_FINITE = torch.tensor(True), torch.tensor(False)
STEPS = 12
SETTINGS = {
    "adam": {"adam_beta1": 0.7, "adam_beta2": 0.95},
    "adamw": {"adam_beta1": 0.8, "weight_decay": 0.3},
    "radam": {"adam_beta2": 0.9},
    "muon": {"muon_momentum": 0.8, "weight_decay": 0.2, "muon_learning_rate": 0.05},
}


def optimizer_config(name: str, **optim) -> Config:
    return make_config(policy={"hidden": [8, 6]}, learning_rate=0.01, optim={"name": name, **SETTINGS[name], **optim})


def random_gradients(policy: ActorCritic, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in policy.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


# ── Against references ──────────────────────────────────────────────────────────────────────────────────────


def radam_step(weight, gradient, state, rate, betas, eps):
    """RAdam (Liu et al., 2020, algorithm 2); in place of its ρ_t > 4, PyTorch and its authors' code have ρ_t > 5."""
    step = state["step"] = state.get("step", 0) + 1
    mean = state["mean"] = betas[0] * state.get("mean", 0.0) + (1 - betas[0]) * gradient
    square = state["square"] = betas[1] * state.get("square", 0.0) + (1 - betas[1]) * gradient**2
    corrected = mean / (1 - betas[0] ** step)
    longest = 2 / (1 - betas[1]) - 1
    length = longest - 2 * step * betas[1] ** step / (1 - betas[1] ** step)
    if length <= 5:
        return weight - rate * corrected
    rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return weight - rate * rectified**0.5 * corrected * (1 - betas[1] ** step) ** 0.5 / (np.sqrt(square) + eps)


def muon_step(weight, gradient, state, rate, momentum, decay):
    """Muon (Jordan, 2024): Nesterov's momentum, made nearly orthogonal by five steps of Newton and Schulz."""
    mean = state["mean"] = momentum * state.get("mean", 0.0) + (1 - momentum) * gradient
    moved = (1 - momentum) * gradient + momentum * mean
    moved = moved / np.linalg.norm(moved)
    for _ in range(5):
        gram = moved @ moved.T
        moved = 3.4445 * moved + (-4.7750 * gram + 2.0315 * gram @ gram) @ moved
    rows, columns = weight.shape
    return weight - rate * decay * weight - rate * max(1, rows / columns) ** 0.5 * moved


def expected_step(name, weight, gradient, state, rate, config, *, hidden):
    optim = config.optim
    betas, eps = (optim.adam_beta1, optim.adam_beta2), optim.adam_eps
    if name == "radam":
        return radam_step(weight, gradient, state, rate, betas, eps)
    if hidden:
        rate *= optim.muon_learning_rate / optim.learning_rate
        return muon_step(weight, gradient, state, rate, optim.muon_momentum, optim.weight_decay)
    return adam_step(weight, gradient, state, rate, betas, eps, 0.0 if name == "adam" else optim.weight_decay)


@pytest.mark.parametrize("name", SETTINGS)
def test_each_moves_the_weights_as_its_paper_says(name):
    """Over twelve steps with a changing learning rate, one of them not finite."""
    config = optimizer_config(name)
    policy = make_policy(config)
    optimizer = PolicyOptimizer(policy, config.optim)
    hidden = {"actor_trunk.layers.2.weight", "critic_trunk.layers.2.weight"} if name == "muon" else set()
    expected = {key: parameter.detach().double().numpy() for key, parameter in policy.named_parameters()}
    before, states = dict(expected), {key: {} for key in expected}
    for step in range(STEPS):
        rate = 0.01 * (1 - step / STEPS)
        optimizer.set_learning_rate(rate)
        random_gradients(policy, step)
        if step == 4:
            optimizer.step(NOT_FINITE)
            continue
        optimizer.step(FINITE)
        for key, parameter in policy.named_parameters():
            gradient, is_hidden = parameter.grad.double().numpy(), key in hidden
            expected[key] = expected_step(name, expected[key], gradient, states[key], rate, config, hidden=is_hidden)
    for key, parameter in policy.named_parameters():
        moved = np.abs(expected[key] - before[key]).max()
        tolerance = 0.02 if key in hidden else 1e-4  # PyTorch's Muon iterates in bfloat16
        np.testing.assert_allclose(parameter.detach().numpy(), expected[key], rtol=0, atol=tolerance * moved)


def test_muons_matrices_move_exactly_as_by_pytorchs_own():
    config = optimizer_config("muon", weight_decay=0.1)
    policy, other = make_policy(config), make_policy(config)
    optimizer = PolicyOptimizer(policy, config.optim)
    muon = torch.optim.Muon(other.hidden_weights(), lr=0.05, momentum=0.8, weight_decay=0.1)
    for step in range(3):
        random_gradients(policy, step)
        random_gradients(other, step)
        optimizer.step(FINITE)
        muon.step()
    for ours, theirs in zip(policy.hidden_weights(), other.hidden_weights(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_muon_moves_a_convolution_as_a_matrix_of_its_filters(memory: torch.memory_format):
    """In either format of the memory, with gradients in the other one too."""
    optim = {"name": "muon", "learning_rate": 0.01, **SETTINGS["muon"], "weight_decay": 0.1}
    config = make_config(policy={"network": "nature-small"}, optim=optim)
    policy = make_policy(config, IMAGE).to(memory_format=memory)
    optimizer = PolicyOptimizer(policy, config.optim)
    weight = policy.hidden_weights()[1]
    matrix = torch.nn.Parameter(weight.detach().clone(memory_format=torch.contiguous_format).flatten(1))
    muon = torch.optim.Muon([matrix], lr=0.05, momentum=0.8, weight_decay=0.1)
    for step in range(3):
        random_gradients(policy, step)
        matrix.grad = weight.grad.flatten(1).clone()
        optimizer.step(FINITE)
        muon.step()
    assert torch.allclose(weight.flatten(1), matrix, atol=2e-3)  # it iterates in bfloat16


# ── Which weights ───────────────────────────────────────────────────────────────────────────────────────────


IMAGE = spaces.Box(0, 255, (36, 36), np.uint8)


@pytest.mark.parametrize(
    ("space", "policy", "matrices"),
    [
        (VECTOR, {"hidden": [8, 6, 4]}, [(6, 8), (4, 6)] * 2),
        (VECTOR, {"hidden": [8, 6], "shared": True}, [(6, 8)]),
        (VECTOR, {"hidden": [8], "recurrent": "gru", "recurrent_size": 4}, [(12, 8), (12, 4)] * 2),
        (VECTOR, {"hidden": [], "recurrent": "lstm", "recurrent_size": 4}, [(16, 4)] * 2),
        (IMAGE, {"network": "nature-cnn"}, [(32, 1, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 64)]),
    ],
)
def test_muon_takes_convolutions_and_matrices_between_hidden_layers_and_adamw_all_others(space, policy, matrices):
    """Neither matrices of observations, nor heads and biases."""
    config = make_config(policy=policy, optim={"name": "muon"})
    actor_critic = make_policy(config, space)
    assert [tuple(weight.shape) for weight in actor_critic.hidden_weights()] == matrices
    optimizer = PolicyOptimizer(actor_critic, config.optim)
    random_gradients(actor_critic, 0)
    optimizer.step(FINITE)
    by_slot = {}
    for key in optimizer.state_dict():
        prefix, name, slot = key.split("/")
        assert prefix == "muon"
        by_slot.setdefault(slot, []).append(name)
    assert len(by_slot["momentum_buffer"]) == len(matrices)
    assert by_slot["exp_avg"] == by_slot["exp_avg_sq"]
    assert sorted(by_slot["momentum_buffer"] + by_slot["exp_avg"]) == sorted(
        name for name, _ in actor_critic.named_parameters()
    )


def test_muon_without_a_hidden_matrix_is_refused():
    config = make_config(policy={"hidden": [8]}, optim={"name": "muon"})
    with pytest.raises(ConfigError, match="no convolution and no matrix between hidden layers") as refusal:
        Learner(make_policy(config), config, CPU)
    assert "adamw" in refusal.value.hint


# ── Steps that are not finite ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["radam", "muon"])
@pytest.mark.parametrize("bad", [{0}, {1, 4}, {0, 1, 5}])
def test_a_step_taken_back_is_as_if_never_taken(name, bad):
    """Bit for bit, weights and statistics, from the first step on; as on a GPU, whose answer nobody waits for."""
    results = []
    for take_back in (True, False):
        weight = torch.nn.Parameter(torch.arange(12.0).view(3, 4))
        optim = OptimConfig(name=name, learning_rate=0.1)
        optimizer = torch.optim.Muon([weight], lr=0.1) if name == "muon" else make_optimizer([weight], optim)
        generator = torch.Generator().manual_seed(0)
        for step in range(8):
            weight.grad = torch.randn(3, 4, generator=generator)
            if step in bad:
                weight.grad[1, 1] = torch.nan
            finite = NOT_FINITE if step in bad else FINITE
            (step_and_undo(optimizer, finite) if take_back else step_if(finite, optimizer))
        results.append([weight.detach(), *optimizer.state[weight].values()])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.isfinite().all()


# ── The critic's learning rate ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["adam", "muon", "rmsprop"])
@pytest.mark.parametrize("shared", [False, True])
def test_the_critic_moves_at_its_own_rate_in_proportion_to_the_main_one(name, shared):
    """After one step of the same gradients each parameter is where a run with its rate for all has it."""

    def moved(rate: float, critics: float | None, now: float) -> dict[str, torch.Tensor]:
        optim = {"name": name, "weight_decay": 0.0, "muon_learning_rate": rate * 10}
        if critics is not None:
            optim["critic_learning_rate"] = critics
        config = make_config(
            policy={"hidden": [8, 6], "shared": shared}, epochs=1, minibatches=1, learning_rate=rate, optim=optim
        )
        policy = make_policy(config)
        hyper = dataclasses.replace(Hyperparameters.from_config(config), learning_rate=now)
        Learner(policy, config, CPU).update(make_rollout(policy, config), hyper)
        return weights_of(policy)

    ours, main, critics = moved(1e-3, 4e-3, now=5e-4), moved(1e-3, None, now=5e-4), moved(4e-3, None, now=2e-3)
    for key, weight in ours.items():
        own = key.startswith(("critic_trunk", "value_head"))
        torch.testing.assert_close(weight, (critics if own else main)[key], rtol=1e-6, atol=1e-8, msg=key)
        assert not torch.equal(main[key], critics[key])


# ── A learning rate that follows every minibatch ────────────────────────────────────────────────────────────


def adaptive_config(desired_kl: float, *, every: str = "minibatch", **optim) -> Config:
    optim = {"learning_rate_schedule": "kl-adaptive", "kl_adaptive_every": every, **optim}
    return make_config(learning_rate=2e-3, desired_kl=desired_kl, epochs=3, minibatches=4, optim=optim)


@pytest.mark.parametrize(("desired_kl", "bounds"), [(1e-5, (4e-4, 1e-2)), (10.0, (1e-6, 8e-3)), (2e-3, (1e-6, 1e-2))])
def test_the_learning_rate_follows_every_minibatch_as_written_out(desired_kl, bounds):
    """It falls and rises to its bounds, or both; weights and rate equal those of the second implementation."""
    config = adaptive_config(desired_kl, min_learning_rate=bounds[0], max_learning_rate=bounds[1])
    policy = make_policy(config)
    rollout, rates = make_rollout(policy, config), []
    expected = updated_weights(dict(policy.named_parameters()), rollout, config, rates)
    metrics = Learner(policy, config, CPU).update(rollout, Hyperparameters.from_config(config))
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(parameter.double(), expected[name], rtol=0, atol=1e-5, msg=name)
    assert rates[:2] == [2e-3, 2e-3]
    assert len(set(rates)) > 3
    assert (min(rates) == bounds[0], max(rates) == bounds[1]) == (desired_kl < 1e-3, desired_kl > 1)
    assert metrics["train/learning_rate"] == rates[-1]
    assert "train/kl" not in metrics, "the exact divergence costs a pass and is not needed"
    assert not config.compares_distributions


def test_the_rate_of_a_minibatch_goes_on_with_the_next_update_and_restarts_when_edited():
    config = adaptive_config(10.0)
    policy = make_policy(config)
    learner, rollout = Learner(policy, config, CPU), make_rollout(policy, config)
    hyper = dataclasses.replace(Hyperparameters.from_config(config), learning_rate=1e-5)
    rates = [learner.update(rollout, hyper)["train/learning_rate"] for _ in range(2)]
    assert rates == pytest.approx([1e-5 * 1.5**11, 1e-2])  # 12 minibatches; the first of each update says nothing
    edited = dataclasses.replace(hyper, learning_rate=2e-6)
    assert learner.update(rollout, edited)["train/learning_rate"] == pytest.approx(2e-6 * 1.5**11)


def test_minibatches_that_are_not_finite_leave_the_rate():
    config = adaptive_config(10.0)
    policy = make_policy(config)
    learner, rollout, before = Learner(policy, config, CPU), make_rollout(policy, config), weights_of(policy)
    rollout.frames[:] = torch.nan
    metrics = learner.update(rollout, Hyperparameters.from_config(config))
    assert (metrics["train/nonfinite"], metrics["train/learning_rate"]) == (12, 2e-3)
    assert_equal_weights(weights_of(policy), before)


def test_after_every_update_the_bounds_hold_too():
    config = adaptive_config(10.0, every="update", max_learning_rate=2.5e-3)
    policy = make_policy(config)
    learner, rollout = Learner(policy, config, CPU), make_rollout(policy, config)
    hyper = Hyperparameters.from_config(config)
    assert [learner.update(rollout, hyper)["train/learning_rate"] for _ in range(3)] == [2e-3, 2.5e-3, 2.5e-3]


# ── Refusals ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("optim", "ppo", "words"),
    [
        ({"min_learning_rate": 0.1}, {}, "optim.min_learning_rate = 0.1: it is above optim.max_learning_rate = 0.01"),
        ({"kl_adaptive_every": "minibatch"}, {}, "the learning rate is not adapted"),
        (
            {"learning_rate_schedule": "kl-adaptive", "kl_adaptive_every": "minibatch"},
            {"epochs": 1, "minibatches": 1},
            "an update is a single minibatch",
        ),
        ({"learning_rate": 0, "critic_learning_rate": 1e-3}, {}, "optim.critic_learning_rate = 0.001: .* is 0"),
        ({"learning_rate": 0, "name": "muon"}, {}, "optim.muon_learning_rate = 0.02: .* is 0"),
        ({"adam_beta2": 1.0}, {}, "optim.adam_beta2 = 1.0: expected .* below 1"),
        ({"name": "lion"}, {}, "optim.name = 'lion'"),
    ],
)
def test_settings_without_sense_are_refused_with_a_remedy(optim, ppo, words):
    with pytest.raises(ConfigError, match=words):
        build_config({"env": {"id": "None-v0"}, "optim": optim, "ppo": ppo})
