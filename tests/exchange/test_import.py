"""`import` makes runs of models trained by the real Stable-Baselines3."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from ppo_tui import load_policy

sb3 = pytest.importorskip("stable_baselines3", reason="what is imported is made by it: pip install stable-baselines3")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Zips of models after a little training."""
    path = tmp_path_factory.mktemp("models")
    arguments = {"device": "cpu", "n_steps": 64, "seed": 2}
    for name, env, kwargs in (
        ("cartpole", "CartPole-v1", {"net_arch": [32, 16]}),
        ("relu", "CartPole-v1", {"activation_fn": torch.nn.ReLU}),
        ("pendulum", "Pendulum-v1", {}),
        ("uneven", "CartPole-v1", {"net_arch": {"pi": [8], "vf": [16]}}),
    ):
        sb3.PPO("MlpPolicy", env, policy_kwargs=kwargs, **arguments).learn(64).save(path / name)
    sb3.PPO("MlpPolicy", "Pendulum-v1", use_sde=True, **arguments).save(path / "sde")
    return path


@pytest.mark.parametrize(
    ("model", "preset"),
    [
        pytest.param("cartpole", "cartpole", marks=pytest.mark.slow),
        ("relu", "cartpole"),
        pytest.param("pendulum", "pendulum", marks=pytest.mark.slow),
    ],
)
def test_an_imported_policy_acts_as_the_model_does(ppo_tui, models, tmp_path, model, preset):
    done = ppo_tui(
        "import",
        str(models / f"{model}.zip"),
        "--preset",
        preset,
        "--name",
        "it",
        "--set",
        "policy.normalize_observations=false",
    )
    assert done.returncode == 0, done.stderr
    assert f"acts as {model}.zip on 128 observations" in done.stdout
    policy, original = load_policy(tmp_path / "runs" / "it"), sb3.PPO.load(models / model, device="cpu")
    env = gymnasium.make("Pendulum-v1" if model == "pendulum" else "CartPole-v1")
    observation, _ = env.reset(seed=1)
    for _ in range(100):
        expected, _ = original.predict(observation, deterministic=True)
        action = policy.env_actions(policy.act(torch.from_numpy(observation)[None], noise=None).actions)[0]
        np.testing.assert_allclose(action, expected, atol=1e-5)
        observation, _, terminated, truncated, _ = env.step(expected)
        if terminated or truncated:
            observation, _ = env.reset()


@pytest.mark.slow
def test_an_imported_run_is_scored_and_goes_on(ppo_tui, models):
    assert ppo_tui("import", str(models / "cartpole.zip"), "-p", "cartpole", "--name", "it").returncode == 0
    listed = json.loads(ppo_tui("runs", "--json").stdout)
    assert [(run["name"], run["state"], run["step"]) for run in listed] == [("it", "stopped", 0)]
    assert json.loads(ppo_tui("eval", "it", "--episodes", "2", "--json").stdout)["step"] == 0
    done = ppo_tui("resume", "it", "--headless", "--total-steps", "512")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed at step 0" in done.stdout


def test_frames_reach_an_imported_cnn_as_they_reached_the_model(tmp_path):
    """A model of stacked Atari frames decides the same on our stacks."""
    from ppo_tui.config import load_preset
    from ppo_tui.exchange.sb3 import convert, read_model
    from ppo_tui.ppo import build_policy

    space = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)

    class Frames(gymnasium.Env):
        observation_space, action_space = space, gymnasium.spaces.Discrete(4)

        def reset(self, *, seed=None, options=None):
            return space.sample(), {}

        def step(self, action):
            return space.sample(), 0.0, False, False, {}

    original = sb3.PPO("CnnPolicy", Frames(), n_steps=8, device="cpu", seed=1)
    original.save(tmp_path / "cnn")
    weights = convert(read_model(tmp_path / "cnn.zip"))
    frame = gymnasium.spaces.Box(0, 255, (84, 84), np.uint8)
    policy = build_policy(frame, gymnasium.spaces.Discrete(4), load_preset("breakout").policy, frame_stack=4)
    policy.load_state_dict({name: tensor for name, tensor in weights.items() if not name.startswith("critic_trunk")})
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 4, 84, 84), np.uint8))
    with torch.no_grad():
        distribution, values = policy(frames)
        expected = original.policy.get_distribution(frames).distribution.logits
        torch.testing.assert_close(distribution.log_probs, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(values, original.policy.predict_values(frames).flatten(), atol=1e-4, rtol=1e-4)


class Canary:
    """Its unpickling leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_in_a_zip_is_unpickled(ppo_tui, models, tmp_path):
    canary = tmp_path / "ran"
    buffer = io.BytesIO()
    torch.save({"action_net.weight": Canary(canary)}, buffer)
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {":serialized:": pickle.dumps(Canary(canary)).hex()}}))
        archive.writestr("policy.pth", buffer.getvalue())
    done = ppo_tui("import", "evil.zip", "--preset", "cartpole")
    assert done.returncode == 2
    assert "evil.zip is not a model of Stable-Baselines3" in done.stderr
    assert not canary.exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("model", "preset", "words"),
    [
        ("cartpole", "pendulum", ["does not fit the preset's environment"]),
        ("cartpole", "acrobot", ["normalize_observations", "VecNormalize"]),
        ("pendulum", "cartpole", ["does not fit the preset's environment"]),
        ("uneven", "cartpole", ["(8,) for the policy and (16,) for the value"]),
        ("sde", "pendulum", ["use_sde"]),
        ("nothing", "cartpole", ["nothing.zip cannot be read"]),
    ],
)
def test_what_cannot_be_imported_leaves_nothing(ppo_tui, models, tmp_path, model, preset, words):
    done = ppo_tui("import", str(models / f"{model}.zip"), "--preset", preset, "--name", "it")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "runs" / "it").exists()
