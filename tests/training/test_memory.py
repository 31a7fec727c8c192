"""A run that cannot fit into the memory is refused before anything of it is started."""

from __future__ import annotations

import resource

import pytest

from ppo_tui.config import list_presets, load_preset
from ppo_tui.envs import probe_env
from ppo_tui.errors import ConfigError
from ppo_tui.machine import available_memory
from ppo_tui.training import examine
from ppo_tui.training.memory import minibatch_bytes, network_bytes, rollout_bytes


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["rollout.num_envs=65536", "rollout.steps=1000000"], ["bytes of memory", "rollout.steps", "--envs"]),
        (["rollout.num_envs=65536", "rollout.steps=1000000", "ppo.minibatches=65536"], ["rollout.num_envs = 65536"]),
        (["policy.hidden=[65536, 65536, 65536, 65536]"], ["policy.hidden", "lower policy.hidden"]),
        (["policy.recurrent=lstm", "policy.recurrent_size=8192", "policy.hidden=" + str([65536] * 9)], ["networks"]),
        (["rollout.num_envs=65536", "workers.count=4096", "rollout.steps=1000"], ["are available here"]),
    ],
)
def test_what_cannot_fit_is_refused_with_bytes_and_a_remedy(overrides: list[str], words: list[str]):
    with pytest.raises(ConfigError) as caught:
        examine(load_preset("cartpole", overrides=overrides))
    for word in words:
        assert word in str(caught.value)


def test_the_estimates_are_no_larger_than_what_is_allocated():
    config = load_preset("cartpole", overrides=["policy.shared=true"])
    info = probe_env(config.env)
    assert rollout_bytes(config, info, 8) == (32 + 1) * 8 * (62 + 16 + 256)
    assert network_bytes(config, info) == (4 * 64 + 64 * 64) * 12
    assert minibatch_bytes(config, info, 256) == 256 * 4 * (4 + 128)


def test_shipped_presets_need_little():
    for name in ("breakout", "pong-lstm", "a3c-pong", "bipedalwalker"):
        assert name in list_presets()
        config = load_preset(name)
        info = probe_env(config.env)
        assert rollout_bytes(config, info, config.rollout.num_envs) + network_bytes(config, info) < 200e6


def test_the_limit_of_the_address_space_counts():
    before = resource.getrlimit(resource.RLIMIT_AS)
    free = available_memory()
    resource.setrlimit(resource.RLIMIT_AS, (free // 2, before[1]))
    try:
        assert available_memory() == free // 2
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
