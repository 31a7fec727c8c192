"""`import` makes runs of models trained by the real Stable-Baselines3."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from ppo_tui import Trainer, load_policy
from ppo_tui.config import build_config
from ppo_tui.errors import UsageError
from ppo_tui.exchange.initial import find_source
from ppo_tui.exchange.sb3 import check_observations, config_for, load_into, read_model
from tests.training.checkpoint.test_files import Canary

sb3 = pytest.importorskip("stable_baselines3", reason="what is imported is made by it: pip install stable-baselines3")
from stable_baselines3.common.policies import ActorCriticPolicy  # noqa: E402
from stable_baselines3.common.torch_layers import FlattenExtractor  # noqa: E402


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
        action = policy.env_actions(policy.decide(torch.from_numpy(observation)[None], noise=None).actions)[0]
        np.testing.assert_allclose(action, expected, atol=1e-5)
        observation, _, terminated, truncated, _ = env.step(expected)
        if terminated or truncated:
            observation, _ = env.reset()


def test_a_run_begins_with_a_models_weights(models):
    """`--init-from model.zip` takes all that fits, and leaves the rest of the preset as it is."""
    config = build_config(
        {"env": {"id": "CartPole-v1"}, "policy": {"activation": "relu"}, "run": {"total_steps": 2048}}
    )
    with Trainer(config, init_from=find_source(str(models / "relu.zip"))) as trainer:
        original = sb3.PPO.load(models / "relu", device="cpu")
        observations = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
        expected, _ = original.predict(observations, deterministic=True)
        actions = trainer.policy.decide(torch.from_numpy(observations), noise=None).actions
        np.testing.assert_array_equal(actions, expected)
        values = original.policy.predict_values(torch.from_numpy(observations)).flatten()
        torch.testing.assert_close(trainer.policy.value(torch.from_numpy(observations)), values.detach())
        assert trainer.config.run.init_from == str(models / "relu.zip")
        assert trainer.config.run.total_steps == 2048
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        find_source(str(models / "gone.zip"))


@pytest.mark.slow
def test_an_imported_run_is_scored_and_goes_on(ppo_tui, models):
    assert ppo_tui("import", str(models / "cartpole.zip"), "-p", "cartpole", "--name", "it").returncode == 0
    listed = json.loads(ppo_tui("runs", "--json").stdout)
    assert [(run["name"], run["state"], run["step"]) for run in listed] == [("it", "stopped", 0)]
    assert json.loads(ppo_tui("eval", "it", "--episodes", "2", "--json").stdout)["step"] == 0
    done = ppo_tui("resume", "it", "--headless", "--total-steps", "512")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed at step 0" in done.stdout


class Sampled(gymnasium.Env):
    """Observes samples of its space."""

    def __init__(self, observation_space, action_space=None):
        self.observation_space, self.action_space = observation_space, action_space or spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


PICTURE = spaces.Box(0, 255, (40, 48, 3), np.uint8)


def saved(path: Path, space, policy="MlpPolicy", *, actions=None, algorithm="PPO", **kwargs):
    """A model of random weights for observations of this space, and its file."""
    arguments = {"n_steps": 8, "batch_size": 8} if algorithm == "PPO" else {}
    model = getattr(sb3, algorithm)(
        policy, Sampled(space, actions), device="cpu", seed=3, policy_kwargs=kwargs, **arguments
    )
    model.save(path / "model")
    return model, path / "model.zip"


def imported(path: Path, space, *, actions=None, normalize_values=False, **env):
    """The policy that `import` makes of a file, for an environment with this space."""
    from ppo_tui.envs import EnvInfo
    from ppo_tui.envs.spaces import adapt_spaces
    from ppo_tui.ppo import build_policy

    config = build_config({"env": {"id": "Sampled-v0", **env}, "run": {"total_steps": 2048}})
    model = read_model(path)
    config = config_for(model, config)
    original = Sampled(space, actions)
    adapted = adapt_spaces(original, config.env)
    info = EnvInfo(adapted.observation_space, adapted.action_space, None, None, 0, space, original.action_space)
    check_observations(model, info, config)
    policy = build_policy(
        info.observation_space,
        info.action_space,
        config.policy,
        frame_stack=config.env.frame_stack,
        normalize_values=normalize_values,
    )
    load_into(policy, model)
    return policy, adapted


@pytest.mark.parametrize(
    ("space", "policy", "kwargs"),
    [
        (PICTURE, "CnnPolicy", {"normalize_images": False}),
        (PICTURE, "CnnPolicy", {"share_features_extractor": False}),
        (PICTURE, "MlpPolicy", {}),
        (PICTURE, "MlpPolicy", {"normalize_images": False, "net_arch": [8], "activation_fn": torch.nn.ReLU}),
        (spaces.Box(0, 255, (8, 9), np.uint8), "MlpPolicy", {}),
        (spaces.Box(0, 255, (9,), np.uint8), "MlpPolicy", {"net_arch": []}),
        (spaces.Box(0, 1, (2, 8, 9), np.uint8), "MlpPolicy", {}),
        (spaces.Box(-1, 1, (2, 3, 2)), "MlpPolicy", {"log_std_init": -1.0, "ortho_init": False}),
        (spaces.Discrete(4), "MlpPolicy", {"net_arch": {"pi": [8, 4], "vf": [8, 4]}}),
        (spaces.MultiDiscrete([2, 3]), "MlpPolicy", {"activation_fn": torch.nn.ELU}),
        (spaces.Dict(b=spaces.Box(-1, 1, (2,)), a=spaces.Discrete(3)), "MultiInputPolicy", {}),
    ],
)
def test_an_imported_policy_has_the_numbers_of_the_model(tmp_path, space, policy, kwargs):
    model, path = saved(tmp_path, space, policy, **kwargs)
    ours, env = imported(path, space)
    space.seed(2)
    fitted, _ = env.reset()
    space.seed(2)
    seen, _ = model.policy.obs_to_tensor(as_model_sees(space.sample(), space))
    tensor = torch.from_numpy(fitted[None, None] if fitted.dtype == np.uint8 and fitted.ndim == 2 else fitted[None])
    with torch.no_grad():
        distribution, values = ours(tensor)
        expected = model.policy.get_distribution(seen).distribution.logits
        torch.testing.assert_close(distribution.log_probs, expected, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(values, model.policy.predict_values(seen).flatten(), atol=1e-3, rtol=1e-3)


def as_model_sees(observation, space):
    """Pictures with their channels first, as Stable-Baselines3's wrapper gives them."""
    return np.moveaxis(observation, -1, 0) if space is PICTURE else observation


def test_stacked_frames_reach_an_imported_cnn_as_they_reached_the_model(tmp_path):
    """Its values are what they were, to a policy that will normalise them too."""
    model, path = saved(tmp_path, spaces.Box(0, 255, (4, 84, 84), np.uint8), "CnnPolicy", actions=spaces.Discrete(4))
    ours, _ = imported(
        path,
        spaces.Box(0, 255, (84, 84), np.uint8),
        actions=spaces.Discrete(4),
        frame_stack=4,
        normalize_values=True,
    )
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 4, 84, 84), np.uint8))
    with torch.no_grad():
        distribution, values = ours(frames)
        expected = model.policy.get_distribution(frames).distribution.logits
        torch.testing.assert_close(distribution.log_probs, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(values, model.policy.predict_values(frames).flatten(), atol=1e-4, rtol=1e-4)


class OwnExtractor(FlattenExtractor):
    """An extractor of a user's own, without weights."""


class OwnPolicy(ActorCriticPolicy):
    """A policy of a user's own."""


@pytest.mark.parametrize(
    ("space", "arguments", "words"),
    [
        (spaces.Discrete(4), {"features_extractor_class": OwnExtractor}, "features_extractor_class = .*OwnExtractor"),
        (
            PICTURE,
            {"policy": "CnnPolicy", "features_extractor_kwargs": {"features_dim": 64}},
            "features_extractor_kwargs = .*64",
        ),
        (spaces.Discrete(4), {"policy": OwnPolicy}, "its policy is of tests.exchange.test_import"),
        (spaces.Discrete(4), {"activation_fn": torch.nn.Sigmoid}, "unknown activation .*Sigmoid"),
        (spaces.Discrete(4), {"algorithm": "DQN"}, "its policy is of stable_baselines3.dqn.policies"),
        (
            spaces.Dict(eye=PICTURE, speed=spaces.Box(-1, 1, (2,))),
            {"policy": "MultiInputPolicy"},
            r"it reads images among other parts of a Dict \(eye\), which cannot be imported",
        ),
        (spaces.Box(0, 1, (8, 9, 2), np.uint8), {}, r"\[8, 9, 2\].* reach the network as \[2, 8, 9\]"),
    ],
)
def test_a_model_of_unknown_parts_is_refused_by_their_name(tmp_path, space, arguments, words):
    _, path = saved(tmp_path, space, **arguments)
    with pytest.raises(UsageError, match=words):
        imported(path, space)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> tuple[dict, dict[str, torch.Tensor]]:
    """The JSON and the tensors of a model that can be imported."""
    _, path = saved(tmp_path_factory.mktemp("plain"), spaces.Box(-1, 1, (2,)))
    with zipfile.ZipFile(path) as archive:
        data = json.loads(archive.read("data"))
        return data, torch.load(io.BytesIO(archive.read("policy.pth")))


def changed(path: Path, plain, *, data=None, policy=None, **tensors) -> Path:
    """A file of the model with other JSON or tensors (dots in their names as ``__``)."""
    buffer = io.BytesIO()
    renamed = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    torch.save({**plain[1], **renamed}, buffer)
    with zipfile.ZipFile(path / "changed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", json.dumps(plain[0]) if data is None else data)
        archive.writestr("policy.pth", buffer.getvalue() if policy is None else policy)
    return path / "changed.zip"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"value_net__bias": torch.tensor([float("nan")])}, "value_net.bias has numbers that are NaN or infinite"),
        ({"value_net__bias": torch.tensor([float("inf")])}, "value_net.bias has numbers that are NaN or infinite"),
        ({"value_net__bias": torch.tensor(1.0)}, r"value_net.bias has the shape \[\]"),
        ({"value_net__weight": torch.tensor(1.0)}, r"value_net.weight has the shape \[\]"),
        ({"value_net__bias": torch.tensor([1])}, "value_net.bias is int64; expected float32"),
        ({"value_net__bias": torch.tensor([1j])}, "value_net.bias is complex64; expected float32"),
        ({"value_net__bias": torch.tensor([1.0]).double()}, "value_net.bias is float64; expected float32"),
        ({"value_net__weight": torch.zeros(1, 1).expand(10**9, 4)}, "claims 4,000,000,000 numbers"),
        ({"value_net__weight": torch.zeros(1, 4).to_sparse()}, "value_net.weight is not a plain tensor"),
        ({"q_net": torch.zeros(1)}, "does not know q_net"),
        ({"data": "[" * 100_000}, "data is nested too deeply"),
        ({"data": "[]"}, "is not a model of Stable-Baselines3"),
        ({"data": " " * (1 << 26) + "{}"}, "data holds more than"),
        ({"policy": b"no zip"}, "is not a model of Stable-Baselines3"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_weights_that_are_none_are_refused_before_memory_is_asked_for(tmp_path, plain, changes, words):
    with pytest.raises(UsageError, match=words):
        read_model(changed(tmp_path, plain, **changes))


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo.zip")
    for path in (tmp_path / "fifo.zip", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match="regular file|is a directory"):
            read_model(path)


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
