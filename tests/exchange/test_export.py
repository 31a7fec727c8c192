"""`export` writes policies for other programs, and none with other decisions."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from safetensors import safe_open

from ppo_tui.config import build_config, load_preset
from ppo_tui.errors import RunFailedError
from ppo_tui.exchange.deployed import describe
from ppo_tui.exchange.experience import gather_experience
from ppo_tui.exchange.formats import FORMATS, deploy, write_policy
from ppo_tui.training import Trainer
from tests.commands.test_evaluate import few, trained  # noqa: F401


def checkpoint(path: Path, preset: str, *overrides: str, **tables) -> Path:
    """A checkpoint of an untrained policy with statistics and biases."""
    config = build_config(tables) if tables else load_preset(preset, overrides=["rollout.num_envs=4", *overrides])
    with Trainer(config) as trainer, torch.no_grad():
        generator = torch.Generator().manual_seed(5)
        for name, tensor in trainer.policy.state_dict().items():
            if name.startswith("normalizer") or name.endswith("bias") or name == "policy_head.weight":
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
    "normalised-continuous": ("pendulum", "policy.normalize_observations=true"),
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
        decision = experience.policy.act(inputs, noise=None, states=ours)
        ours = decision.states
        assert int(action) == int(decision.actions)
        observation, _, terminated, truncated, _ = env.step(int(action))
        done = terminated or truncated


def test_safetensors_hold_weights_statistics_and_what_they_are(tmp_path):
    file, experience = write(checkpoint(tmp_path, *POLICIES["normalised-continuous"]), "safetensors")
    with safe_open(file, framework="np") as tensors:
        assert set(tensors.keys()) == set(experience.policy.state_dict())
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
