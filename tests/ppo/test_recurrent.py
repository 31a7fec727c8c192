"""Recurrent policies: sequences, resets, gradients through time, and their rollouts."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from gymnasium import spaces

from ppo_tui.config import build_config
from ppo_tui.errors import ConfigError
from ppo_tui.ppo import Hyperparameters, Learner, build_policy
from ppo_tui.ppo.recurrent import RecurrentLayer
from tests.ppo.rollouts import empty_rollout
from tests.ppo.test_combinations import IMAGE, VECTOR
from tests.ppo.test_learner import CPU, weights_of

KINDS = ("lstm", "gru")


def configured(recurrent: str, num_envs: int = 4, steps: int = 6, policy: dict | None = None, **ppo):
    return build_config(
        {
            "env": {"id": "None-v0"},
            "rollout": {"num_envs": num_envs, "steps": steps},
            "policy": {"hidden": [8], "recurrent": recurrent, "recurrent_size": 5} | (policy or {}),
            "ppo": {"epochs": 2, "minibatches": 2} | ppo,
        }
    )


def make_policy(config, space=VECTOR, actions=None):
    torch.manual_seed(0)
    return build_policy(space, actions or spaces.Discrete(3), config.policy, frame_stack=1)


def played(policy, config, space=VECTOR, seed=0):
    """A rollout of random observations with random episode ends.

    Acted in step by step.
    """
    generator, random = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    rollout = empty_rollout(
        space.shape,
        space.dtype,
        num_steps=config.rollout.steps,
        num_envs=config.rollout.num_envs,
        frame_stack=1,
        action_shape=policy.action_shape,
        action_dtype=policy.action_dtype,
        distribution_size=policy.distribution_size if config.compares_distributions else 0,
        state_size=policy.state_size,
    )
    rollout.frames.copy_(torch.from_numpy(random.uniform(0, 200, rollout.frames.shape) / 100))
    rollout.states[0].copy_(torch.from_numpy(random.normal(size=rollout.states[0].shape)))
    rollout.rewards.copy_(torch.from_numpy(random.normal(size=rollout.rewards.shape)))
    ended = torch.from_numpy(random.random(rollout.rewards.shape) < 0.2)
    rollout.terminations.copy_(ended & torch.from_numpy(random.random(ended.shape) < 0.5))
    rollout.truncations.copy_(ended & ~rollout.terminations)
    for t in range(rollout.num_steps):
        noise = policy.draw_noise(rollout.num_envs, generator)
        rollout.store(t, policy.decide(rollout.observation(t), noise=noise, states=rollout.state(t)))
        rollout.mark_boundaries(t)
    last = policy.value(rollout.observation(rollout.num_steps), rollout.state(rollout.num_steps))
    rollout.last_values.copy_(last)
    return rollout


class TestRecurrentLayer:
    @pytest.mark.parametrize("kind", KINDS)
    @hypothesis.given(
        num_steps=st.integers(1, 9), num_envs=st.integers(1, 5), ends=st.sampled_from([0, 0.3, 1]), data=st.data()
    )
    @hypothesis.settings(max_examples=30)
    def test_a_sequence_equals_its_steps_one_by_one(self, kind, num_steps, num_envs, ends, data):
        torch.manual_seed(data.draw(st.integers(0, 1000)))
        layer = RecurrentLayer(kind, 3, 5).double()
        features = torch.randn(num_steps, num_envs, 3, dtype=torch.double)
        states = torch.randn(num_envs, layer.state_size, dtype=torch.double)
        resets = torch.rand(num_steps, num_envs) < ends
        outputs = layer.sequence(features.flatten(0, 1), states, resets).view(num_steps, num_envs, 5)
        for t in range(num_steps):
            output, states = layer.step(features[t], states.masked_fill(resets[t].unsqueeze(-1), 0.0))
            torch.testing.assert_close(outputs[t], output)

    def test_an_lstm_is_that_of_the_textbook_and_its_gradient_flows_through_time_and_stops_at_resets(self):
        """Against the equations in float64, with CleanRL's resets by multiplication."""
        torch.manual_seed(0)
        layer, (num_steps, num_envs) = RecurrentLayer("lstm", 3, 5).double(), (7, 3)
        features = torch.randn(num_steps, num_envs, 3, dtype=torch.double, requires_grad=True)
        states = torch.randn(num_envs, 10, dtype=torch.double)
        resets = torch.zeros(num_steps, num_envs, dtype=torch.bool)
        resets[3, 0] = resets[5, 0] = resets[1, 2] = True
        weight = torch.randn(num_steps, num_envs, 5, dtype=torch.double)
        inputs = [features, *layer.parameters()]

        outputs = layer.sequence(features.flatten(0, 1), states, resets).view(num_steps, num_envs, 5)
        gradients = torch.autograd.grad((outputs * weight).sum(), inputs)

        w_in, w_hidden, b_in, b_hidden = layer.parameters()
        hidden, cell = states.chunk(2, dim=1)
        expected = []
        for t in range(num_steps):
            kept = 1.0 - resets[t].double().unsqueeze(1)
            gates = features[t] @ w_in.T + b_in + (kept * hidden) @ w_hidden.T + b_hidden
            i, f, g, o = gates.chunk(4, dim=1)
            cell = f.sigmoid() * kept * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            expected.append(hidden)
        reference = torch.autograd.grad((torch.stack(expected) * weight).sum(), inputs)
        torch.testing.assert_close(outputs, torch.stack(expected))
        torch.testing.assert_close(gradients, reference)
        # What comes after the reset of environment 0 in step 5 tells nothing about the steps before it.
        (later,) = torch.autograd.grad(
            layer.sequence(features.flatten(0, 1), states, resets).view_as(weight)[5:, 0].sum(), features
        )
        assert later[:5].abs().max() == 0
        assert later[5, 0].abs().max() > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("space", "surrogate"), [(VECTOR, "clip"), (VECTOR, "kl-adaptive"), (IMAGE, "none")])
def test_it_trains_from_a_ratio_of_one(kind, shared, space, surrogate):
    """Learning from sequences repeats acting step by step.

    For every kind of policy.
    """
    config = configured(kind, policy={"shared": shared}, surrogate=surrogate)
    policy = make_policy(config, space, spaces.Box(-1, 1, (2,), np.float32))
    learner, before = Learner(policy, config, CPU), weights_of(policy)
    metrics = learner.update(played(policy, config, space), Hyperparameters.from_config(config))
    assert metrics["train/ratio_error_first"] < 1e-4
    assert metrics["train/nonfinite"] == 0
    assert all((weight != before[name]).any() for name, weight in policy.named_parameters())


def test_actor_and_critic_have_recurrent_states_of_their_own_unless_they_share_a_trunk():
    for kind, vectors in (("lstm", 2), ("gru", 1)):
        for shared, layers in ((True, 1), (False, 2)):
            policy = make_policy(configured(kind, policy={"shared": shared}))
            assert policy.state_size == vectors * layers * 5
            assert policy.initial_states(3).shape == (3, policy.state_size)
    assert make_policy(configured("none")).initial_states(3) is None


@pytest.mark.parametrize("shared", [False, True])
def test_the_value_alone_is_that_of_acting(shared):
    policy = make_policy(configured("lstm", policy={"shared": shared}))
    observations, states = torch.randn(4, *VECTOR.shape), torch.randn(4, policy.state_size)
    decision = policy.decide(observations, noise=None, states=states)
    torch.testing.assert_close(policy.value(observations, states), decision.values)
    assert decision.states.shape == states.shape


class TestRollout:
    def test_recurrent_states_are_zero_where_an_episode_begins_and_go_on_in_the_next_rollout(self):
        config = configured("lstm")
        policy = make_policy(config)
        rollout = played(policy, config)
        ended = rollout.terminations | rollout.truncations
        assert ended.any()
        assert (rollout.states[1:].abs().amax(-1) == 0).equal(ended)
        newest = rollout.state(rollout.num_steps).clone()
        rollout.carry_over()
        assert rollout.state(0).equal(newest)
        other = empty_rollout(VECTOR.shape, VECTOR.dtype, num_steps=6, num_envs=4, state_size=policy.state_size)
        other.load_state_dict(rollout.state_dict())
        assert other.state(0).equal(newest)

    def test_a_sequence_holds_whole_environments_step_by_step(self):
        config = configured("gru")
        policy = make_policy(config)
        rollout = played(policy, config)
        batch = rollout.sequences(torch.tensor([2, 0]))
        assert batch.actions.view(6, 2).equal(rollout.actions[:, [2, 0]])
        assert batch.observations.view(6, 2, 3).equal(rollout.frames[:6, [2, 0]])
        assert batch.context.states.equal(rollout.states[0, [2, 0]])
        assert batch.context.resets[1:].equal((rollout.terminations | rollout.truncations)[:5, [2, 0]])
        assert not batch.context.resets[0].any()

    def test_single_steps_start_from_the_stored_recurrent_states(self):
        config = configured("gru")
        policy = make_policy(config)
        rollout = played(policy, config)
        batch = rollout.minibatch(torch.tensor([21, 3, 10]))
        distribution, values = policy(batch.observations, context=batch.context)
        torch.testing.assert_close(distribution.log_prob(batch.actions), batch.log_probs)
        torch.testing.assert_close(values, batch.values)


@pytest.mark.parametrize(("num_envs", "minibatches"), [(6, 4), (3, 6), (1, 2)])
def test_environments_that_cannot_be_split_among_minibatches_are_refused(num_envs, minibatches):
    with pytest.raises(ConfigError, match=f"ppo.minibatches = {minibatches}.*rollout.num_envs") as refusal:
        configured("lstm", num_envs=num_envs, steps=12, minibatches=minibatches)
    assert "--envs" in refusal.value.hint
    configured("none", num_envs=num_envs, steps=12, minibatches=minibatches)
