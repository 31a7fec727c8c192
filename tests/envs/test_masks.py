"""Action masks in both conventions, and invalid ones."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from ppo_tui.config.schema import EnvConfig
from ppo_tui.envs import probe_env
from ppo_tui.envs.spaces import read_mask
from ppo_tui.errors import ConfigError


class Masked(gymnasium.Env):
    """Provides `mask` in its info, or by a method."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = Discrete(2)

    def __init__(self, mask, action_space=None, *, by_method=False):
        self.action_space = action_space or Discrete(3)
        self._info = {} if by_method else {"action_mask": mask}
        if by_method:
            self.action_masks = lambda: mask

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, self._info


TWO = MultiDiscrete([2, 3])


@pytest.mark.parametrize("by_method", [False, True])
@pytest.mark.parametrize(
    ("space", "mask", "expected"),
    [
        (Discrete(3), np.array([1, 0, 1], np.int8), [True, False, True]),
        (Discrete(3), [True, False, False], [True, False, False]),
        (TWO, [1, 0, 0, 1, 1], [True, False, False, True, True]),
        (TWO, (np.array([1, 0]), np.array([0, 1, 1])), [True, False, False, True, True]),
    ],
)
def test_masks_are_read_from_the_info_and_from_the_method(by_method, space, mask, expected):
    env = Masked(mask, space, by_method=by_method)
    assert read_mask(env, env.reset()[1]).tolist() == expected


@pytest.mark.parametrize(
    ("space", "mask", "words"),
    [
        (Discrete(3), [1, 1], "2 entries for 3 actions"),
        (Discrete(3), [0, 0, 0], "no action possible"),
        (TWO, [0, 0, 1, 1, 1], "no action possible"),
    ],
)
def test_what_is_no_mask_is_refused(space, mask, words):
    env = Masked(mask, space)
    with pytest.raises(ConfigError, match=words):
        read_mask(env, env.reset()[1])


@pytest.mark.parametrize(("wanted", "found"), [("auto", 3), (True, 3), (False, 0)])
def test_masks_are_found_where_there_are_some(register, wanted, found):
    env_id = register(entry_point=lambda: Masked([1, 1, 0]))
    assert probe_env(EnvConfig(id=env_id, action_masks=wanted)).num_masked == found


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_others_have_none(env_id):
    assert probe_env(EnvConfig(id=env_id)).num_masked == 0


@pytest.mark.parametrize(
    ("actions", "words"),
    [(None, "provides no masks"), (Box(-1, 1, (2,)), "can be masked"), (MultiBinary(2), "can be masked")],
)
def test_masks_that_are_asked_for_and_not_there_are_missed(register, actions, words):
    with pytest.raises(ConfigError, match=words) as refusal:
        probe_env(EnvConfig(id=register(None, actions), action_masks=True))
    assert "env.action_masks = false" in refusal.value.hint
