"""Looking at an update changes no bit of it, and the numbers are those of plain NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ppo_tui import Trainer
from ppo_tui.ppo import Hyperparameters, Learner, build_policy, losses
from ppo_tui.ppo.units import DeadUnits
from ppo_tui.protocol import (
    Alarm,
    Event,
    Pause,
    Resume,
    RunState,
    SaveCheckpoint,
    StateChanged,
    StepMinibatches,
    Stop,
    UpdateFinished,
    UpdateInspected,
    UpdateProgress,
    WatchUpdate,
    decode_event,
    encode,
)
from ppo_tui.training.inspection import inspection, measures
from tests.ppo.test_combinations import ACTIONS, ALGORITHMS, NETWORKS, configured
from tests.ppo.test_learner import CPU, make_config, make_policy, make_rollout, weights_of
from tests.training.test_trainer import Recorder, cartpole

# ── The formulas ────────────────────────────────────────────────────────────────────────────────────────────

NUMBERS = hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(0, 4, width=32) | st.just(float("nan")))


@settings(max_examples=50, deadline=None)
@given(NUMBERS, st.integers(1, 12))
def test_a_histogram_counts_every_number_once(numbers, bins):
    counted = measures.histogram(numbers, 1.0, 3.0, bins)
    edges = np.linspace(1.0, 3.0, bins + 1)
    expected = [
        sum(low <= x < high or (high == edges[-1] and x == high) for x in numbers.tolist())
        for low, high in itertools.pairwise(edges)
    ]
    assert sum(counted.counts) == sum(expected)
    assert np.abs(np.cumsum(counted.counts) - np.cumsum(expected)).max() <= 1, "an edge may round to either side"
    assert counted.below == sum(x < 1.0 for x in numbers.tolist())
    assert counted.above == sum(x > 3.0 for x in numbers.tolist())


@pytest.mark.parametrize(
    "numbers",
    [
        [-3e38, 0.0, 3e38],
        [3.4e38, 3.4e38],
        [1e-45, 2e-45],
        [-0.6931472, -0.69314724],  # equal but for their last bit, as those of a fresh policy
        [1.0, math.inf, -math.inf, math.nan],
    ],
)
def test_numbers_of_any_size_have_a_histogram(numbers):
    values = np.array(numbers, np.float32)
    counted = measures.histogram(values, *measures.range_of(values), 48)
    assert sum(counted.counts) == np.isfinite(values).sum()
    assert (counted.below, counted.above) == (np.isneginf(values).sum(), np.isposinf(values).sum())


@pytest.mark.parametrize("clip_range", [0.0, 1e-30, 1e-16, 1e-9])
def test_a_clip_range_that_has_shrunk_to_nothing_has_a_histogram(clip_range):
    """As at the end of a schedule."""
    counted = measures.histogram(np.float32([1.0, 1.0000001, 0.9]), 1.0 - 3 * clip_range, 1.0 + 3 * clip_range, 60)
    assert (sum(counted.counts), counted.below, counted.above) == (1, 1, 1)


PAIRS = st.lists(st.tuples(st.floats(0, 3, width=32), st.sampled_from([-1.0, 0.0, 1.0])), max_size=40)


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.sampled_from([None, 1.5]))
def test_who_is_clipped_agrees_with_the_gradient_of_the_loss(pairs, dual_clip):
    ratios = np.array([ratio for ratio, _ in pairs], np.float32)
    advantages = np.array([advantage for _, advantage in pairs], np.float32)
    counted = measures.clip_counts(ratios, advantages, 0.25, 0.5, dual_clip)
    assert counted.steps == len(pairs)
    assert counted.risen == sum(r > 1.5 and a > 0 for r, a in pairs)
    assert counted.fallen == sum(r < 0.75 and a < 0 for r, a in pairs)
    neither = sum((r > 1.5 or r < 0.75) and a == 0 for r, a in pairs)
    assert counted.outside == counted.risen + counted.fallen + counted.astray + counted.capped + neither
    if not pairs:
        return
    share = losses.clip_fraction(torch.from_numpy(ratios), 0.25, 0.5)
    assert counted.outside == round(float(share) * len(pairs))
    leaf = torch.from_numpy(ratios).requires_grad_()
    losses.clipped_surrogate_loss(leaf, torch.from_numpy(advantages), 0.25, dual_clip, clip_range_upper=0.5).backward()
    at_a_bound = np.isin(ratios, np.float32([0.75, 1.5]))
    silent = (leaf.grad.numpy() == 0) & (advantages != 0) & ~at_a_bound
    assert counted.risen + counted.fallen + counted.capped == silent.sum(), "those alone push no longer"


def test_edges_of_samples():
    empty = np.zeros(0, np.float32)
    assert measures.range_of(empty) == (0.0, 1.0)
    assert measures.mean_and_std(empty) == (None, None)
    assert measures.clip_counts(empty, empty, 0.2, 0.2, None) == measures.ClipCounts()
    assert measures.range_of(np.float32([2.0, 2.0])) == (1.0, 3.0)
    assert measures.range_of(np.float32([0.0, math.nan])) == (-0.5, 0.5)
    everyone = measures.clip_counts(np.full(8, 2.0, np.float32), np.ones(8, np.float32), 0.2, 0.2, None)
    assert (everyone.steps, everyone.risen, everyone.outside) == (8, 8, 8), "all are clipped"
    assert measures.action_shares(np.zeros(5, np.int64), 1) == ((1.0,), 0), "there is but one action"
    shares, others = measures.action_shares(np.arange(100), 100)
    assert (len(shares), others) == (measures.MOST_ACTIONS, 69)
    assert sum(shares) == pytest.approx(1.0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2_000), st.integers(2, 300))
def test_points_are_spread_over_all_steps(count, most):
    chosen = measures.spread(count, most).tolist()
    assert len(chosen) <= min(count, most)
    assert chosen == sorted(set(chosen))
    if count:
        assert (chosen[0], chosen[-1]) == (0, count - 1)


# ── An update ───────────────────────────────────────────────────────────────────────────────────────────────


def inspected(config, space, action_space, *, look: bool, frame_stack=1, poison=False, updates=2):
    """Some updates; the weights, the metrics and what was seen of the last one."""
    torch.manual_seed(0)
    policy = build_policy(space, action_space, config.policy, frame_stack=frame_stack)
    learner, event, metrics, hyper = Learner(policy, config, CPU), None, {}, Hyperparameters.from_config(config)
    for seed in range(updates):
        rollout = make_rollout(policy, config, space, frame_stack=frame_stack, seed=seed)
        if poison and seed:
            rollout.rewards[:] = math.nan
        seen = inspection.Inspection(policy, config, hyper, rollout, update=seed + 1)
        metrics = learner.update(rollout, hyper, **({"observer": seen} if look else {}))
        event = seen.event(done=True) if seen.measured else None
    return weights_of(policy), learner.state_dict()["generator"], metrics, event, rollout


CASES = [(algorithm, "discrete", "mlp") for algorithm in ALGORITHMS] + [
    *(("ppo", actions, "mlp-shared-normalized") for actions in ACTIONS),
    pytest.param("ppo", "discrete", "nature-cnn", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("algorithm", "actions", "network"), CASES)
def test_looking_changes_no_bit(algorithm, actions, network):
    config, space, action_space = configured(algorithm, actions, network), NETWORKS[network][0], ACTIONS[actions][0]
    stack = config.env.frame_stack
    alone, watched = (inspected(config, space, action_space, look=look, frame_stack=stack) for look in (False, True))
    assert alone[3] is None
    assert all(torch.equal(alone[0][name], watched[0][name]) for name in alone[0])
    assert torch.equal(alone[1], watched[1]), "no random number is drawn"
    assert alone[2] == watched[2]
    event = watched[3]
    assert decode_event(encode(event)).choices == event.choices
    assert len(event.columns.epoch) == config.ppo.epochs * config.ppo.minibatches
    assert event.clip.steps == sum(event.ratio_up.counts) + sum(event.ratio_down.counts) + sum(
        each.below + each.above for each in (event.ratio_up, event.ratio_down)
    )
    if actions == "multi-discrete":
        assert [len(shares) for shares in event.choices] == [2, 3]
    elif actions == "multi-binary":
        assert [len(shares) for shares in event.choices] == [2, 2, 2]
    elif actions.startswith("box"):
        assert (len(event.means), len(event.stds)) == (2, 2)
    assert (event.clip_low is None) == (config.ppo.surrogate in ("kl", "kl-adaptive", "none"))


def test_the_numbers_of_an_update_are_those_of_its_metrics_and_of_numpy():
    config = make_config(learning_rate=1e-2, epochs=3, minibatches=2, clip_range=0.1, policy={"hidden": [8]})
    policy = make_policy(config)
    learner, hyper, rollout = (
        Learner(policy, config, CPU),
        Hyperparameters.from_config(config),
        make_rollout(policy, config),
    )
    seen = inspection.Inspection(policy, config, hyper, rollout, update=1)
    metrics = learner.update(rollout, hyper, observer=seen)
    event = seen.event(done=True)
    for column, name in {"approx_kl": "approx_kl", "clip_fraction": "clip_fraction", "grad_norm": "grad_norm"}.items():
        assert np.mean(getattr(event.columns, column)) == pytest.approx(metrics[f"train/{name}"], rel=1e-3)
    assert np.mean(event.columns.entropy) == pytest.approx(-metrics["train/entropy_loss"], rel=1e-3)
    assert event.columns.epoch == (1, 1, 2, 2, 3, 3)
    assert event.explained_variance == metrics["train/explained_variance"]
    values, returns = (part.double().flatten().numpy() for part in (rollout.values, rollout.returns))
    assert event.explained_variance == pytest.approx(1 - np.var(returns - values) / np.var(returns), rel=1e-4)
    assert event.clip.steps == len(rollout), "the steps of the last epoch, each once"
    assert event.clip.outside / event.clip.steps == pytest.approx(np.mean(event.columns.clip_fraction[-2:]), rel=1e-3)
    counts = np.bincount(rollout.actions.flatten().numpy(), minlength=4)
    assert event.choices[0] == tuple((counts / counts.sum()).tolist())
    assert event.better == pytest.approx((rollout.advantages > 0).double().mean().item())
    total = math.sqrt(sum(layer.grad_norm**2 for layer in event.layers))
    assert total == pytest.approx(np.mean(event.columns.grad_norm[-2:]), rel=0.1), "the layers make up the whole"
    named = [layer.name for layer in event.layers if layer.units]
    assert named == ["actor_trunk.layers.0", "critic_trunk.layers.0"]


def test_gradient_norms_are_those_before_clipping():
    config = make_config(epochs=1, minibatches=1, policy={"hidden": [8]}, optim={"max_grad_norm": 1e-4})
    policy = make_policy(config)
    hyper, rollout = Hyperparameters.from_config(config), make_rollout(policy, config)
    seen = inspection.Inspection(policy, config, hyper, rollout, update=1)
    metrics = Learner(policy, config, CPU).update(rollout, hyper, observer=seen)
    layers = seen.event(done=True).layers
    assert math.sqrt(sum(layer.grad_norm**2 for layer in layers)) == pytest.approx(metrics["train/grad_norm"], rel=1e-3)


def test_dead_units_are_told_by_layer():
    network = torch.nn.Sequential(
        torch.nn.Linear(1, 2, bias=False), torch.nn.ReLU(), torch.nn.Linear(2, 2), torch.nn.Tanh()
    )
    network[0].weight.data = torch.tensor([[1.0], [-1.0]])
    units = DeadUnits(network)
    with units.counted():
        network(torch.ones(3, 1))
    assert {name: dead.tolist() for name, dead in units.by_layer.items()} == {"1": [False, True], "3": [False, False]}


def test_rewards_that_are_no_numbers_are_shown_as_such():
    """All minibatches are skipped; there is nothing finite to count."""
    config = configured("ppo", "discrete", "mlp")
    *_, metrics, event, _ = inspected(config, NETWORKS["mlp"][0], ACTIONS["discrete"][0], look=True, poison=True)
    assert metrics["train/nonfinite"] == 4
    assert (event.better, event.advantage_mean) == (None, None)
    assert sum(event.advantages.counts) == 0
    assert decode_event(encode(event)).columns.policy_loss == (None,) * 4


def test_an_early_end_and_very_many_minibatches():
    stopped = make_config(learning_rate=3e-3, epochs=10, target_kl=0.001)
    *_, event, _ = inspected(stopped, spaces.Box(-np.inf, np.inf, (3,), np.float32), spaces.Discrete(4), look=True)
    assert event.done
    assert event.epoch < event.epochs == 10
    many = make_config(num_envs=4, steps=16, epochs=17, minibatches=32, policy={"hidden": []})
    *_, event, _ = inspected(
        many, spaces.Box(-np.inf, np.inf, (3,), np.float32), spaces.Discrete(4), look=True, updates=1
    )
    assert event.every == 2, "17 × 32 minibatches"
    assert len(event.columns.epoch) == 272 <= inspection.MINIBATCHES


# ── A run ───────────────────────────────────────────────────────────────────────────────────────────────────


def run(*overrides: str, react=lambda trainer, event: None, **arguments):
    """A short run; its recorder, result and weights."""
    recorder = Recorder(lambda event: react(trainer, event))
    trainer = Trainer(
        cartpole("workers.count=2", "run.torch_threads=1", *overrides, steps=768), sinks=[recorder], **arguments
    )
    result = trainer.run()
    return recorder, result, weights_of(trainer.policy)


def look(trainer: Trainer, event: Event) -> None:
    if isinstance(event, UpdateProgress):
        trainer.send(WatchUpdate())


class Stepper:
    """Pauses in the first update, and steps through all of the second one and into the third."""

    def __init__(self) -> None:
        self.held: list[tuple[int, int, int]] = []

    def __call__(self, trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateProgress) and (event.update, event.epoch, event.minibatch) == (1, 1, 1):
            trainer.send(Pause())
        elif isinstance(event, StateChanged) and event.state is RunState.PAUSED and not self.held:
            trainer.send(StepMinibatches())
        elif isinstance(event, UpdateInspected) and not event.done:
            self.held.append((event.update, event.epoch, event.minibatch))
            trainer.send(StepMinibatches() if event.update < 3 else Resume())


SHAPES = {
    "plain": ("ppo.minibatches=2",),
    "overlap": ("ppo.minibatches=2", "run.overlap=true"),
    "recurrent": ("ppo.minibatches=2", "policy.recurrent=gru", "policy.recurrent_size=8"),
    "masked": ("env.id=Taxi-v4", "ppo.minibatches=2"),
    "target-kl": ("ppo.minibatches=2", "ppo.target_kl=0.0001"),
    "a2c": ("ppo.surrogate=none", "ppo.epochs=1"),
    "continuous": ("env.id=Pendulum-v1", "ppo.minibatches=2", "ppo.surrogate=kl-adaptive"),
    "spo": ("ppo.surrogate=spo", "ppo.recompute_advantages=true"),
}


@pytest.mark.parametrize(
    "name", [name if name in ("plain", "overlap") else pytest.param(name, marks=pytest.mark.slow) for name in SHAPES]
)
def test_a_run_that_is_stepped_through_has_the_bits_of_one_that_nobody_sees(name):
    alone, _, weights = run(*SHAPES[name])
    assert not alone.of(UpdateInspected), "nothing is measured while nobody looks"
    watched, _, seen_weights = run(*SHAPES[name], react=look)
    assert {event.update for event in watched.of(UpdateInspected)} >= {2, 3}
    stepper = Stepper()
    stepped, result, stepped_weights = run(*SHAPES[name], react=stepper)
    assert result.state is RunState.FINISHED
    assert alone.metrics == watched.metrics == stepped.metrics
    for other in (seen_weights, stepped_weights):
        assert all(torch.equal(weights[key], other[key]) for key in weights)
    if name == "plain":
        places = [(epoch, minibatch) for epoch in (1, 2, 3, 4) for minibatch in (1, 2)]
        assert stepper.held == [(1, *place) for place in places[1:]] + [(2, *place) for place in places] + [(3, 1, 1)]
        last = [event for event in stepped.of(UpdateInspected) if event.done][-1]
        (metrics,) = [event.metrics for event in stepped.of(UpdateFinished) if event.update == last.update]
        assert last.explained_variance == metrics["train/explained_variance"]


def test_a_look_that_fails_costs_the_run_nothing(monkeypatch):
    def fail(*_: object) -> None:
        raise IndexError("no such bin")

    monkeypatch.setattr(measures, "histogram", fail)
    recorder, result, _ = run("ppo.minibatches=2", react=look)
    assert result.state is RunState.FINISHED
    assert not recorder.of(UpdateInspected)
    (alarm,) = [event for event in recorder.of(Alarm) if "looked at" in event.message]
    assert alarm.message == "an update could not be looked at: no such bin"
    assert "IndexError" in alarm.details


@pytest.mark.parametrize("overlap", [False, True], ids=["alone", "overlap"])
@pytest.mark.parametrize("command", [Stop(save=True), Stop(save=False), SaveCheckpoint()], ids=["stop", "now", "save"])
def test_an_end_in_the_middle_of_an_update_hangs_nothing(command, overlap):
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateProgress) and (event.update, event.epoch, event.minibatch) == (1, 1, 1):
            trainer.send(StepMinibatches())
        if isinstance(event, UpdateInspected) and not event.done:
            trainer.send(command)
        if isinstance(event, UpdateFinished) and isinstance(command, SaveCheckpoint):
            trainer.send(Resume())

    recorder, result, _ = run("ppo.minibatches=2", f"run.overlap={str(overlap).lower()}", react=react)
    held = [event for event in recorder.of(UpdateInspected) if not event.done]
    assert len(held) == 1
    if isinstance(command, Stop):
        assert result.state is RunState.STOPPED
        assert result.update >= int(command.save), "a stop that saves has finished the update"
    else:
        assert (result.state, result.update) == (RunState.FINISHED, 3)


@pytest.mark.slow
def test_a_screen_that_vanishes_is_not_waited_for():
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateProgress) and (event.update, event.epoch) == (1, 1):
            trainer.send(StepMinibatches())

    recorder, result, _ = run(react=react)
    assert result.state is RunState.FINISHED
    assert "nobody looks at the update any more" in [event.reason for event in recorder.of(StateChanged)]
