"""`export` writes policies for other programs, and none with other decisions."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from safetensors import safe_open

from ppo_tui.config import build_config, load_preset
from ppo_tui.envs import make_env, probe_env
from ppo_tui.envs.fitting import FittedActions
from ppo_tui.envs.spaces import read_mask
from ppo_tui.errors import RunFailedError
from ppo_tui.exchange.deployed import DeployedPolicy, describe
from ppo_tui.exchange.experience import check_same, gather_experience
from ppo_tui.exchange.formats import FORMATS, deploy, write_policy
from ppo_tui.ppo import build_policy
from ppo_tui.training import Trainer
from tests.commands.test_evaluate import few, trained  # noqa: F401
from tests.exchange.envs import SPACES


def checkpoint(path: Path, preset: str, *overrides: str, **tables) -> Path:
    """A checkpoint of an untrained policy with statistics and biases."""
    config = build_config(tables) if tables else load_preset(preset, overrides=["rollout.num_envs=4", *overrides])
    with Trainer(config) as trainer, torch.no_grad():
        generator = torch.Generator().manual_seed(5)
        for name, tensor in trainer.policy.state_dict().items():
            if "normalizer" in name or name.endswith("bias") or name == "policy_head.weight":
                tensor.copy_(0.1 + torch.rand(tensor.shape, generator=generator))
        return trainer.save(path / "checkpoint")


def write(path: Path, form: str):
    experience = gather_experience(path)
    facts = describe(deploy(experience), experience, run="it")
    file = path.with_name("policy" + FORMATS[form].suffix)
    write_policy(file, FORMATS[form], experience, facts)
    return file, experience


POLICIES = {
    "vectors": ("cartpole",),
    "normalised-continuous": ("pendulum", "policy.normalize_observations=true", "ppo.normalize_values=true"),
    "squashed": ("pendulum", "policy.squash_actions=true"),
    "lstm": ("cartpole", "policy.recurrent=lstm", "policy.recurrent_size=8", "policy.shared=false"),
    "gru-shared": ("cartpole", "policy.recurrent=gru", "policy.recurrent_size=8", "policy.shared=true"),
}


@pytest.mark.parametrize(
    "policy", ["vectors", *(pytest.param(name, marks=pytest.mark.slow) for name in POLICIES if name != "vectors")]
)
def test_onnx_acts_as_the_policy_in_a_runtime_of_its_own(tmp_path, policy):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    file, experience = write(checkpoint(tmp_path, *POLICIES[policy]), "onnx")
    session = onnxruntime.InferenceSession(file)
    # One observation at a time, as a robot has them: the file is not made for one size of batch.
    for index in range(10):
        inputs = {
            given.name: tensor[index : index + 1].numpy()
            for given, tensor in zip(session.get_inputs(), experience.inputs, strict=True)
        }
        actions = session.run(["actions"], inputs)[0]
        np.testing.assert_allclose(actions[0], experience.actions[index], atol=1e-4)
    facts = json.loads(session.get_modelmeta().custom_metadata_map["ppo-tui"])
    assert facts["env"] == experience.config.env.id
    assert [tensor["name"] for tensor in facts["inputs"]] == [given.name for given in session.get_inputs()]


def test_torchscript_plays_a_whole_episode_as_the_policy_does(tmp_path):
    file, experience = write(checkpoint(tmp_path, *POLICIES["lstm"]), "torchscript")
    module = torch.jit.load(file)
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=3)
    states, ours = torch.zeros(1, experience.policy.state_size), experience.policy.initial_states(1)
    done = False
    while not done:
        inputs = torch.from_numpy(observation)[None]
        action, _, _, states = module(inputs, states)
        decision = experience.policy.decide(inputs, noise=None, states=ours)
        ours = decision.states
        assert int(action) == int(decision.actions)
        observation, _, terminated, truncated, _ = env.step(int(action))
        done = terminated or truncated


def test_safetensors_hold_weights_statistics_and_what_they_are(tmp_path):
    """Of normalised values the head alone is left, in real units."""
    file, experience = write(checkpoint(tmp_path, *POLICIES["normalised-continuous"]), "safetensors")
    weights = experience.policy.state_dict()
    mean, deviation = weights["value_normalizer.mean"], weights["value_normalizer.variance"] ** 0.5
    assert deviation != 1
    with safe_open(file, framework="pt") as tensors:
        assert set(tensors.keys()) == {name for name in weights if not name.startswith("value_normalizer")}
        head, bias = tensors.get_tensor("value_head.weight"), tensors.get_tensor("value_head.bias")
        torch.testing.assert_close(head, (weights["value_head.weight"] * deviation).float())
        torch.testing.assert_close(bias, (weights["value_head.bias"] * deviation + mean).float())
        facts = json.loads(tensors.metadata()["ppo-tui"])
    assert facts["config"]["env"]["id"] == "Pendulum-v1"
    assert "notify" not in facts["config"]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_atari_in_every_format(tmp_path, form):
    for package in FORMATS[form].packages:
        pytest.importorskip(package)
    file, experience = write(checkpoint(tmp_path, "breakout"), form)
    assert file.stat().st_size > 6e6
    assert experience.inputs[0].shape[1:] == (4, 84, 84)


@pytest.fixture(scope="module")
def experiences(tmp_path_factory):
    """Decisions of untrained policies in `SPACES`, by name; made when first asked for."""
    made = {}

    def get(name):
        if name not in made:
            path = tmp_path_factory.mktemp(name)
            tables = {
                "env": {"id": "tests.exchange.envs:Spaces-v0", "kwargs": {"name": name}},
                "rollout": {"num_envs": 2, "steps": 2},
                "ppo": {"minibatches": 1},
                "policy": {"hidden": [8]},
                "workers": {"count": 1},
                "run": {"total_steps": 4, "device": "cpu"},
            }
            made[name] = gather_experience(checkpoint(path, "", **tables), allow_import=True)
        return made[name]

    return get


def given(observation):
    """The entries of an observation, in order, without its action mask."""
    match observation:
        case dict():
            return [x for key, part in observation.items() if key != "action_mask" for x in given(part)]
        case tuple():
            return [x for part in observation for x in given(part)]
    return [torch.from_numpy(np.asarray(observation)[None])]


@pytest.fixture
def spaces_of():
    """Configuration and facts of an environment in `SPACES`, by name."""

    def get(name):
        env = {"id": "tests.exchange.envs:Spaces-v0", "kwargs": {"name": name}}
        tables = {"env": env, "policy": {"hidden": [8], "init": "default"}, "run": {"total_steps": 2048}}
        config = build_config(tables)
        return config, probe_env(config.env)

    return get


@pytest.mark.parametrize("name", ["start", pytest.param("image", marks=pytest.mark.slow), "dict"])
def test_an_exported_policy_plays_in_the_environment_itself(tmp_path, experiences, name):
    experience = experiences(name)
    facts = describe(deploy(experience), experience, run="it")
    file = tmp_path / "policy.pt"
    write_policy(file, FORMATS["torchscript"], experience, facts)
    module, space = torch.jit.load(file), SPACES[name][1]
    env = gymnasium.make("Spaces-v0", name=name)
    observation, _ = env.reset(seed=0)
    for _ in range(10):
        inputs = given(observation)
        if isinstance(observation, dict):
            inputs.append(torch.from_numpy(observation["action_mask"][None].astype(bool)))
        action = module(*inputs)[0][0].numpy()
        action = action[()] if isinstance(space, Discrete) else action
        assert action in space
        if isinstance(observation, dict):
            assert observation["action_mask"][action - space.start]
        observation, *_ = env.step(action)  # which refuses what is none of its actions
    assert facts.observation_space
    assert facts.action_space == str(space)


@pytest.mark.parametrize("name", SPACES)
def test_an_export_takes_and_gives_what_the_environment_gives_and_takes(spaces_of, name):
    """Whatever the kind of space: samples give the actions of the policy itself, as members of the space."""
    config, info = spaces_of(name)
    policy = build_policy(info.observation_space, info.action_space, config.policy, frame_stack=1, seed=1).eval()
    with torch.no_grad():
        policy.policy_head.weight.mul_(100.0)
    deployed = DeployedPolicy(policy, info, config)
    env = make_env(config.env)
    observation_space, space = SPACES[name]
    observation_space.seed(1)
    for _ in range(5):
        fitted, info_now = env.reset()
        original = env.unwrapped.observed
        masks = [torch.from_numpy(read_mask(env, info_now)[None])] if info.num_masked else []
        with torch.no_grad():
            actions, *_ = deployed(*given(original), *masks)
        decision = policy.decide(torch.from_numpy(stacked(fitted, info)), noise=None, masks=masks[0] if masks else None)
        expected = FittedActions(space)(policy.env_actions(decision.actions)[0])
        action = actions[0].numpy()[()] if isinstance(space, Discrete) else actions[0].numpy()
        np.testing.assert_allclose(action, expected, rtol=1e-5)
        assert action in space
        env.step(policy.env_actions(decision.actions)[0])


def stacked(observation, info):
    """One observation as a batch for the policy; grey images have an axis of frames."""
    return observation[None, None] if len(info.observation_space.shape) == 2 else observation[None]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SPACES)
def test_every_space_in_every_format(tmp_path, experiences, name, form):
    for package in FORMATS[form].packages:
        pytest.importorskip(package)
    experience = experiences(name)
    file = tmp_path / f"policy{FORMATS[form].suffix}"
    write_policy(file, FORMATS[form], experience, describe(deploy(experience), experience, run="it"))
    assert file.is_file()


def test_an_action_that_is_none_of_the_environments_is_not_exported(experiences):
    experience = experiences("start")
    run = deploy(experience)
    with torch.no_grad(), pytest.raises(RunFailedError, match="gives the action 5, which is none of"):
        check_same(
            lambda inputs: tuple(t.numpy() for t in (torch.full((len(inputs[0]),), 5), *run(*inputs)[1:])),
            experience,
            "it",
        )


def test_what_decides_otherwise_is_not_kept(tmp_path):
    path = checkpoint(tmp_path, "cartpole")
    experience = gather_experience(path)
    facts = describe(deploy(experience), experience, run="it")
    experience.policy.value_head.bias.data += 1.0  # what is written differs from what has played
    file = tmp_path / "policy"
    with pytest.raises(RunFailedError, match="not the same policy"):
        write_policy(file, FORMATS["safetensors"], experience, facts)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_the_command_line(ppo_tui, few, tmp_path):  # noqa: F811
    done = ppo_tui("export", "few", "--format", "torchscript", "-o", "few.pt")
    assert done.returncode == 0, done.stderr
    assert "few.pt: acts as the policy at step 2,048 on 128 observations of CartPole-v1" in done.stdout
    assert "observations  float32 [batch, 4]" in done.stdout
    assert (tmp_path / "few.pt").is_file()
    done = ppo_tui("export", "few", "--format", "onx")
    assert done.returncode == 2
    assert "did you mean 'onnx'?" in done.stderr
