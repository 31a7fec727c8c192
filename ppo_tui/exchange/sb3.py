"""Models saved by Stable-Baselines3, read without it and without pickle.

The zip holds ``data``, JSON whose objects are pickled within, and ``policy.pth``, tensors by name. Only plain JSON and
tensors are read: neither can run code.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..config import Config, build_config, to_tables
from ..errors import ConfigError, UsageError
from ..ppo import ActorCritic
from .experience import Run

MOST_BYTES = 2 << 30
"""Largest member of the zip, unpacked: a file of a few kilobytes can claim any size."""

_ACTIVATIONS = {"Tanh": "tanh", "ReLU": "relu", "SiLU": "silu", "ELU": "elu", "GELU": "gelu"}
_MLP = re.compile(r"mlp_extractor\.(policy|value)_net\.(\d+)\.(weight|bias)")
_CNN = re.compile(r"(pi_|vf_)?features_extractor\.(cnn\.[024]|linear\.0)\.(weight|bias)")
_OTHERS = ("action_net.weight", "action_net.bias", "value_net.weight", "value_net.bias", "log_std")
_HINT = "PPO models of MlpPolicy and CnnPolicy can be imported"


@dataclass(frozen=True)
class Sb3Model:
    """The content of a model's zip.

    Attributes:
        tensors: of ``policy.pth``.
        activation: of its MLP, as `PolicyConfig` names it.
        steps: of its training.
        version: of Stable-Baselines3, or empty.
    """

    path: Path
    tensors: dict[str, Tensor]
    activation: str
    steps: int
    version: str

    @property
    def is_cnn(self) -> bool:
        return any(map(_CNN.fullmatch, self.tensors))

    def widths(self, part: str) -> tuple[int, ...]:
        """Widths of the hidden layers of the ``policy`` or ``value`` network."""
        found = {}
        for name, tensor in self.tensors.items():
            match = _MLP.fullmatch(name)
            if match and match[1] == part and match[3] == "weight":
                found[int(match[2])] = len(tensor)
        return tuple(width for _, width in sorted(found.items()))


def read_model(path: Path) -> Sb3Model:
    """Read the model in the zip at `path`.

    Raises:
        UsageError: there is no such file, it is not a model of Stable-Baselines3, or this kind of model cannot be
            imported.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(_member(archive, "data", path))
            tensors = torch.load(io.BytesIO(_member(archive, "policy.pth", path)), "cpu", weights_only=True)
            names = archive.namelist()
            version = (
                _member(archive, "_stable_baselines3_version", path).decode()
                if "_stable_baselines3_version" in names
                else ""
            )
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except UsageError:
        raise
    except Exception as error:  # a damaged zip, JSON or tensor raises anything
        raise UsageError(
            f"{path} is not a model of Stable-Baselines3: {str(error).splitlines()[0][:200]}", hint=_HINT
        ) from None
    if not isinstance(data, dict) or not _are_tensors(tensors):
        raise UsageError(f"{path} is not a model of Stable-Baselines3", hint=_HINT)
    _check_kind(path, data, tensors)
    steps = data.get("num_timesteps")
    return Sb3Model(
        path, tensors, _activation(path, data), steps if isinstance(steps, int) else 0, version.strip()[:40]
    )


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    try:
        size = archive.getinfo(name).file_size
    except KeyError:
        raise UsageError(f"{path} is not a model of Stable-Baselines3: it has no {name}", hint=_HINT) from None
    if size > MOST_BYTES:
        raise UsageError(f"{path}: {name} holds {size:,} bytes, more than {MOST_BYTES:,}")
    return archive.read(name)


def _are_tensors(tensors: object) -> bool:
    return isinstance(tensors, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    )


def _check_kind(path: Path, data: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    if data.get("use_sde"):
        raise UsageError(f"{path}: its exploration noise depends on the state (use_sde), which ppo-tui does not have")
    missing = [name for name in _OTHERS[:-1] if name not in tensors]
    strange = [name for name in tensors if not (_MLP.fullmatch(name) or _CNN.fullmatch(name) or name in _OTHERS)]
    if missing or strange:
        problem = f"it has no {missing[0]}" if missing else f"ppo-tui does not know {strange[0]}"
        raise UsageError(f"{path}: {problem}", hint=_HINT)


def _activation(path: Path, data: dict[str, Any]) -> str:
    """Read the activation from its text, such as ``<class 'torch.nn.modules.activation.ReLU'>``."""
    arguments = data.get("policy_kwargs")
    words = arguments.get("activation_fn") if isinstance(arguments, dict) else None
    if words is None:
        return "tanh"
    name = str(words).strip("<>' ").rpartition(".")[2]
    if name not in _ACTIVATIONS:
        raise UsageError(f"{path}: unknown activation {name}", hint=f"known: {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def config_for(model: Sb3Model, config: Config) -> Config:
    """Replace the networks of `config` by those of `model`.

    Raises:
        UsageError: the networks of `model` or the normalisation of `config` are not supported.
    """
    actor, critic = model.widths("policy"), model.widths("value")
    if config.policy.normalize_observations:
        raise ConfigError(
            "policy.normalize_observations = true: Stable-Baselines3 keeps the statistics in another pickle "
            "(VecNormalize), which ppo-tui does not read",
            hint="--set policy.normalize_observations=false, if the model was trained without them",
        )
    if actor != critic or (model.is_cnn and actor):
        raise UsageError(f"{model.path}: its layers are {actor} for the policy and {critic} for the value", hint=_HINT)
    shared = model.is_cnn and all(
        torch.equal(tensor, model.tensors[name.replace("vf_", "pi_", 1)])
        for name, tensor in model.tensors.items()
        if name.startswith("vf_")
    )
    policy = msgspec.structs.replace(
        config.policy,
        network="nature-cnn" if model.is_cnn else "mlp",
        hidden=config.policy.hidden if model.is_cnn else actor,
        activation=model.activation,
        shared=shared,
        recurrent="none",
        squash_actions=False,
    )
    return build_config(to_tables(msgspec.structs.replace(config, policy=policy)))


def convert(model: Sb3Model) -> dict[str, Tensor]:
    """Rename the weights as in `ActorCritic`."""
    renamed = {}
    for name, tensor in model.tensors.items():
        if match := _MLP.fullmatch(name):
            trunk = "actor" if match[1] == "policy" else "critic"
            renamed[f"{trunk}_trunk.layers.{match[2]}.{match[3]}"] = tensor
        elif match := _CNN.fullmatch(name):
            trunk = "critic" if match[1] == "vf_" else "actor"
            renamed[f"{trunk}_trunk.{match[2].replace('cnn', 'convolutions')}.{match[3]}"] = tensor
        else:
            renamed[name.replace("action_net", "policy_head").replace("value_net", "value_head")] = tensor
    return renamed


def load_into(policy: ActorCritic, model: Sb3Model) -> None:
    """Load the weights of `model` into `policy`.

    Raises:
        UsageError: the model is for other observations or actions.
    """
    weights = convert(model)
    if policy.critic_trunk is None:
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("critic_trunk.")}
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise UsageError(
            f"{model.path} does not fit the preset's environment: {problem}",
            hint="choose a preset of the environment of its training",
        ) from None


def runner(model: Sb3Model, to_env: Callable[[Tensor], np.ndarray]) -> Run:
    """Run `model` on its own tensors as Stable-Baselines3 does, for comparison.

    Args:
        to_env: maps outputs of the policy head to actions of the environment.
    """
    tensors = model.tensors

    def features(observations: Tensor, prefix: str) -> Tensor:
        if not model.is_cnn:
            return observations.float().flatten(1)
        prefix = (
            f"{prefix}features_extractor"
            if f"{prefix}features_extractor.linear.0.bias" in tensors
            else "features_extractor"
        )
        images = observations.float() / 255.0
        for layer, stride in ((0, 4), (2, 2), (4, 1)):
            name = f"{prefix}.cnn.{layer}"
            images = functional.conv2d(images, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride).relu()
        return _linear(tensors, f"{prefix}.linear.0", images.flatten(1)).relu()

    def head(observations: Tensor, prefix: str, net: str, last: str) -> Tensor:
        vectors = features(observations, prefix)
        for number in range(len(model.widths(net))):
            vectors = getattr(functional, model.activation, torch.tanh)(
                _linear(tensors, f"mlp_extractor.{net}_net.{2 * number}", vectors)
            )
        return _linear(tensors, last, vectors)

    def run(inputs: tuple[Tensor, ...]) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():
            scores = head(inputs[0], "pi_", "policy", "action_net")
            values = head(inputs[0], "vf_", "value", "value_net").flatten()
        return to_env(scores), scores.numpy(), values.numpy()

    return run


def _linear(tensors: Mapping[str, Tensor], name: str, vectors: Tensor) -> Tensor:
    return functional.linear(vectors, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
