"""The rollout buffer: stacks as in gymnasium, minibatches, the carry-over."""

import gymnasium
import hypothesis
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from hypothesis import strategies as st

from ppo_tui.ppo import Decision, RolloutBuffer
from ppo_tui.ppo.gae import gae
from tests.ppo.rollouts import empty_rollout


class CountingEnv(gymnasium.Env):
    """An environment with observations 1, 2, 3, … over all episodes.

    Episodes end as in the script of (terminated, truncated).
    """

    action_space = spaces.Discrete(2)

    def __init__(self, script: list[tuple[bool, bool]], shape: tuple[int, ...]) -> None:
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.script = iter(script)
        self.count = 0

    def _observation(self) -> np.ndarray:
        self.count += 1
        return np.full(self.observation_space.shape, self.count, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action):
        terminated, truncated = next(self.script)
        return self._observation(), float(self.count), terminated, truncated, {}


def small_rollout(num_steps=4, num_envs=2, frame_stack=1, shape=(2, 3), dtype=np.uint8, **sizes):
    return empty_rollout(shape, dtype, num_steps=num_steps, num_envs=num_envs, frame_stack=frame_stack, **sizes)


def by_value(stacks: torch.Tensor | np.ndarray) -> list:
    """The value of each frame, for frames of one value."""
    array = np.asarray(stacks)
    return array.reshape(*array.shape[:-2], -1)[..., 0].tolist()


endings = st.sampled_from([(False, False)] * 3 + [(True, False), (False, True), (True, True)])


@hypothesis.given(
    data=st.data(),
    num_envs=st.integers(1, 3),
    num_steps=st.integers(1, 6),
    num_rollouts=st.integers(1, 3),
    frame_stack=st.integers(1, 5),
)
def test_stacks_equal_those_of_frame_stack_observation(data, num_envs, num_steps, num_rollouts, frame_stack):
    """In acting, final observations and minibatches, across episodes and rollouts."""
    length = num_steps * num_rollouts
    scripts = [data.draw(st.lists(endings, min_size=length, max_size=length)) for _ in range(num_envs)]
    envs = [FrameStackObservation(CountingEnv(script, (2, 3)), frame_stack) for script in scripts]
    rollout = small_rollout(num_steps, num_envs, frame_stack)
    current = [env.reset()[0] for env in envs]
    rollout.frames[frame_stack - 1] = torch.tensor(np.stack(current)[:, -1])

    for _ in range(num_rollouts):
        expected, taken = [], data.draw(st.integers(1, num_steps))
        for t in range(taken):
            expected.append(np.stack(current))
            assert by_value(rollout.observation(t)) == by_value(expected[-1])
            for index, env in enumerate(envs):
                stack, reward, terminated, truncated, _ = env.step(0)
                rollout.rewards[t, index] = reward
                rollout.terminations[t, index], rollout.truncations[t, index] = terminated, truncated
                if terminated or truncated:
                    assert by_value(rollout.final_observation_stack(t, index, stack[-1])[0]) == by_value(stack)
                    stack, _ = env.reset()
                current[index] = stack
                rollout.frames[frame_stack + t, index] = torch.tensor(stack[-1])
            rollout.mark_boundaries(t)
        assert by_value(rollout.observation(taken)) == by_value(np.stack(current))
        experience = rollout.first(taken)
        indices = torch.randperm(len(experience), generator=torch.Generator().manual_seed(0))
        flat = np.stack(expected).reshape(-1, *expected[0].shape[1:])
        assert by_value(experience.minibatch(indices).observations) == by_value(flat[indices.numpy()])
        experience.carry_over()


def test_groups_of_environments_see_and_mark_only_their_own():
    rollout = small_rollout(num_envs=4, frame_stack=3)
    rollout.frames[:] = torch.arange(rollout.frames.shape[0] * 4).view(-1, 4, 1, 1)
    rollout.terminations[0] = True
    rollout.mark_boundaries(0, slice(0, 2))
    rollout.mark_boundaries(0, slice(2, 4))
    whole = rollout.observation(1)
    assert torch.equal(torch.cat([rollout.observation(1, slice(0, 2)), rollout.observation(1, slice(2, 4))]), whole)
    assert by_value(whole)[2] == [14, 14, 14]

    rollout.truncations[1, 0] = True
    rollout.mark_boundaries(1, slice(2, 4))
    assert rollout.starts[4].tolist()[2:] == [3, 3]
    rollout.mark_boundaries(1, slice(0, 2))
    assert rollout.starts[4].tolist() == [4, 3, 3, 3]


@pytest.mark.parametrize(
    ("shape", "dtype", "frame_stack", "expected"),
    [
        ((84, 84), np.uint8, 4, (5, 4, 84, 84)),
        ((84, 84), np.uint8, 1, (5, 1, 84, 84)),
        ((40, 40, 3), np.uint8, 1, (5, 40, 40, 3)),
        ((40, 40, 3), np.uint8, 2, (5, 2, 40, 40, 3)),
        ((3,), np.float32, 1, (5, 3)),
        ((3,), np.float64, 4, (5, 4, 3)),
        ((), np.float32, 1, (5,)),
    ],
)
def test_only_stacks_and_grey_images_carry_a_stack_axis(shape, dtype, frame_stack, expected):
    rollout = small_rollout(num_envs=5, frame_stack=frame_stack, shape=shape, dtype=dtype)
    assert rollout.observation(0).shape == expected
    assert rollout.minibatch(torch.arange(5)).observations.shape == expected
    assert rollout.final_observation_stack(0, 0, np.zeros(shape, dtype)).shape == (1, *expected[1:])


def test_grey_stacks_arrive_in_the_memory_format_of_the_convolutions():
    rollout = small_rollout(frame_stack=4, shape=(84, 84))
    assert rollout.minibatch(torch.arange(8)).observations.is_contiguous(memory_format=torch.channels_last)


def test_given_arrays_are_wrapped_and_not_copied():
    frames = np.zeros((5, 2, 3), np.float32)
    rewards = np.zeros((4, 2), np.float64)
    flags = np.zeros((2, 4, 2), np.bool_)
    rollout = RolloutBuffer(frames, rewards, *flags, frame_stack=1, action_shape=(), action_dtype=torch.int64)
    frames[2] = 7.0
    rewards[2] = 8.0
    flags[:] = True
    rollout.compute_advantages(gamma=0.9, gae_lambda=0.9)
    assert (rollout.observation(2) == 7.0).all()
    assert rollout.returns[2].tolist() == [8.0, 8.0]
    assert rollout.returns.dtype == torch.float32


def test_minibatch_gathers_the_same_steps_of_everything():
    """Mark step t of environment n by 10 t + n everywhere."""
    rollout = small_rollout(
        num_steps=5, num_envs=3, shape=(1,), dtype=np.float32, action_shape=(2,), action_dtype=torch.float32
    )
    marks = 10.0 * torch.arange(5).unsqueeze(1) + torch.arange(3)
    rollout.frames[:5] = marks.unsqueeze(-1)
    for t in range(5):
        decision = Decision(marks[t].unsqueeze(-1).expand(3, 2), marks[t], marks[t])
        rollout.store(t, Decision(*(tensor[:2] for tensor in decision[:3])), slice(0, 2))
        rollout.store(t, Decision(*(tensor[2:] for tensor in decision[:3])), slice(2, 3))
    rollout.advantages.copy_(marks)
    rollout.returns.copy_(marks)
    batch = rollout.minibatch(torch.tensor([7, 0, 14]))
    expected = [21.0, 0.0, 42.0]
    assert batch.observations.squeeze(-1).tolist() == expected
    assert batch.actions.tolist() == [[mark, mark] for mark in expected]
    for field in (batch.log_probs, batch.values, batch.advantages, batch.returns):
        assert field.tolist() == expected


def test_advantages_are_those_of_gae():
    rollout = small_rollout(num_steps=6, num_envs=3)
    generator = torch.Generator().manual_seed(0)
    for tensor in (rollout.rewards, rollout.values, rollout.final_values, rollout.last_values):
        tensor.normal_(generator=generator)
    rollout.terminations.bernoulli_(0.3, generator=generator)
    rollout.truncations.bernoulli_(0.3, generator=generator)
    rollout.compute_advantages(gamma=0.9, gae_lambda=0.8)
    advantages, returns = gae(
        rollout.rewards,
        rollout.values,
        rollout.terminations,
        rollout.truncations,
        rollout.last_values,
        rollout.final_values,
        gamma=0.9,
        gae_lambda=0.8,
    )
    assert torch.equal(rollout.advantages, advantages)
    assert torch.equal(rollout.returns, returns)


def test_values_of_final_observations_do_not_outlive_their_rollout():
    rollout = small_rollout()
    rollout.final_values[1, 0] = 5.0
    rollout.carry_over()
    assert not rollout.final_values.any()


def test_state_restores_the_stacks_of_the_next_rollout():
    """Stacks of an episode keep their padding in the next rollout."""
    rollout = small_rollout(num_steps=4, num_envs=1, frame_stack=4)
    rollout.frames[:] = torch.arange(8).view(-1, 1, 1, 1)
    rollout.terminations[2] = True
    for t in range(4):
        rollout.mark_boundaries(t)
    rollout.carry_over()
    restored = small_rollout(num_steps=4, num_envs=1, frame_stack=4)
    restored.load_state_dict(rollout.state_dict())
    assert by_value(restored.observation(0)) == by_value(rollout.observation(0)) == [[6, 6, 6, 7]]


def test_an_episode_longer_than_many_rollouts_starts_in_the_first_row():
    rollout = small_rollout(num_steps=4, num_envs=1, frame_stack=3)
    for _ in range(3):
        for t in range(4):
            rollout.mark_boundaries(t)
        rollout.carry_over()
    assert rollout.state_dict()["starts"].flatten().tolist() == [0, 0, 0]


def test_state_is_a_copy():
    rollout = small_rollout()
    state = rollout.state_dict()
    rollout.frames.fill_(9)
    assert not state["frames"].any()


def test_the_device_it_is_on_costs_no_copy():
    rollout = small_rollout()
    assert rollout.to(torch.device("cpu")) is rollout


def test_a_copy_on_another_device_gathers_there():
    """The meta device computes shapes alone, enough to find forgotten tensors."""
    rollout = small_rollout(frame_stack=4, shape=(84, 84))
    meta = torch.device("meta")
    batch = rollout.to(meta).minibatch(torch.arange(3, device=meta))
    assert {tensor.device for tensor in vars(batch).values() if isinstance(tensor, torch.Tensor)} == {meta}
    assert batch.observations.shape == (3, 4, 84, 84)
    assert rollout.frames.device.type == "cpu"
