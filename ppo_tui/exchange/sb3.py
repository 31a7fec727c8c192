"""Models saved by Stable-Baselines3, read without it and without pickle.

The zip holds ``data``, JSON whose objects are pickled within, and ``policy.pth``, tensors by name. Only plain JSON and
tensors are read: neither can run code.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..config import Config, build_config, to_tables
from ..envs import EnvInfo
from ..envs.fitting import is_grid
from ..errors import ConfigError, UsageError
from ..files import parse_json, read_file
from ..ppo import ActorCritic
from ..ppo.normalizers import ValueNormalizer
from .experience import Run

MOST_BYTES = 1 << 29
"""Largest model: the file, a member of the zip unpacked, and its tensors in memory."""

_MOST_BYTES_OF_DATA = 1 << 26
"""Largest JSON of a model."""

_ACTIVATIONS = {"Tanh": "tanh", "ReLU": "relu", "SiLU": "silu", "ELU": "elu", "GELU": "gelu"}
_MLP = re.compile(r"mlp_extractor\.(policy|value)_net\.(\d+)\.(weight|bias)")
_CNN = re.compile(r"(pi_|vf_)?features_extractor\.(cnn\.[024]|linear\.0)\.(weight|bias)")
_COMBINED_CNN = re.compile(r"(pi_|vf_)?features_extractor\.extractors\..+\.(cnn\.[024]|linear\.0)\.(weight|bias)")
_OTHERS = ("action_net.weight", "action_net.bias", "value_net.weight", "value_net.bias", "log_std")
_HINT = "PPO models of MlpPolicy, CnnPolicy and MultiInputPolicy can be imported"

_POLICY_MODULES = ("stable_baselines3.common.policies", "sb3_contrib.common.maskable.policies")

_EXTRACTORS = [
    f"<class 'stable_baselines3.common.torch_layers.{name}'>"
    for name in ("FlattenExtractor", "NatureCNN", "CombinedExtractor")
]

_IRRELEVANT = ("net_arch", "activation_fn", "ortho_init", "log_std_init", "full_std", "use_expln", "normalize_images")
_IRRELEVANT += ("share_features_extractor", "optimizer_class", "optimizer_kwargs")
"""Arguments of a policy that only its training needs, or that are read elsewhere or from the tensors."""


@dataclass(frozen=True)
class Sb3Model:
    """The content of a model's zip.

    Attributes:
        tensors: of ``policy.pth``.
        activation: of its MLP, as `PolicyConfig` names it.
        normalize_images: whether it divides its observations by 255, as `PolicyConfig` has it.
        shape: of its observations; None where the file does not tell.
        steps: of its training.
        version: of Stable-Baselines3, or empty.
    """

    path: Path
    tensors: dict[str, Tensor]
    activation: str
    normalize_images: bool | Literal["auto"]
    shape: tuple[int, ...] | None
    share_features: bool
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
        content = read_file(path, MOST_BYTES)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            data = parse_json(_member(archive, "data", path, _MOST_BYTES_OF_DATA), f"{path}: data")
            tensors = _load_tensors(_member(archive, "policy.pth", path, MOST_BYTES), path)
            name = "_stable_baselines3_version"
            version = _member(archive, name, path, 1000).decode() if name in archive.namelist() else ""
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except UsageError:
        raise
    except Exception as error:  # a damaged zip or tensor raises anything
        brief = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UsageError(f"{path} is not a model of Stable-Baselines3: {brief}", hint=_HINT) from None
    if not isinstance(data, dict):
        raise UsageError(f"{path} is not a model of Stable-Baselines3", hint=_HINT)
    _check_policy(path, data)
    arguments = _arguments(path, data)
    _check_names(path, tensors)
    _check_numbers(path, tensors)
    steps = data.get("num_timesteps")
    shape, normalize_images = _observations(data, arguments.get("normalize_images", True))
    return Sb3Model(
        path,
        tensors,
        _activation(path, arguments),
        normalize_images,
        shape,
        arguments.get("share_features_extractor", True) is not False,
        steps if isinstance(steps, int) else 0,
        version.strip()[:40],
    )


def _member(archive: zipfile.ZipFile, name: str, path: Path, most_bytes: int) -> bytes:
    try:
        with archive.open(name) as member:
            content = member.read(most_bytes + 1)
    except KeyError:
        raise UsageError(f"{path} is not a model of Stable-Baselines3: it has no {name}", hint=_HINT) from None
    if len(content) > most_bytes:
        raise UsageError(f"{path}: {name} holds more than {most_bytes:,} bytes")
    return content


def _load_tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    """Read ``policy.pth``, and count its bytes before they are asked for.

    Raises:
        UsageError: it is no mapping of names to plain tensors, or too large.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:  # PyTorch's own format since 1.6
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MOST_BYTES:
        raise UsageError(f"{path}: policy.pth holds {unpacked:,} bytes, more than {MOST_BYTES:,}")
    tensors = torch.load(io.BytesIO(content), "cpu", weights_only=True)
    if not isinstance(tensors, Mapping):
        raise UsageError(f"{path} is not a model of Stable-Baselines3", hint=_HINT)
    total = 0
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UsageError(f"{path} is not a model of Stable-Baselines3", hint=_HINT)
        if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized or tensor.device.type != "cpu":
            raise UsageError(f"{path}: {name} is not a plain tensor")
        size = tensor.numel() * tensor.element_size()
        if size > tensor.untyped_storage().nbytes():
            raise UsageError(f"{path}: {name} claims {tensor.numel():,} numbers, and the file holds fewer")
        total += size
    if total > MOST_BYTES:
        raise UsageError(f"{path}: its tensors take {total:,} bytes, more than {MOST_BYTES:,}")
    return dict(tensors)


def _check_policy(path: Path, data: dict[str, Any]) -> None:
    """Refuse policies of other algorithms, and those of the user's own.

    Raises:
        UsageError: with the module of the policy.
    """
    if data.get("use_sde"):
        raise UsageError(f"{path}: its exploration noise depends on the state (use_sde), which ppo-tui does not have")
    described = data.get("policy_class")
    module = described.get("__module__") if isinstance(described, dict) else None
    if module not in _POLICY_MODULES:
        raise UsageError(f"{path}: its policy is of {str(module)[:100]}, which ppo-tui does not know", hint=_HINT)


def _arguments(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """The ``policy_kwargs``, none of them of unknown effect.

    Raises:
        UsageError: naming one.
    """
    described = data.get("policy_kwargs") or {}
    if not isinstance(described, dict):
        raise UsageError(f"{path}: its policy_kwargs cannot be read", hint=_HINT)
    arguments = {name: value for name, value in described.items() if not name.startswith(":")}
    for name, value in arguments.items():
        match name:
            case "features_extractor_class":
                known = str(value) in _EXTRACTORS
            case "features_extractor_kwargs":
                known = value in (None, {}, {"features_dim": 512})
            case "use_sde" | "squash_output":
                known = value is False
            case _:
                known = name in _IRRELEVANT
        if not known or (name == "normalize_images" and not isinstance(value, bool)):
            raise UsageError(f"{path}: ppo-tui does not have its policy_kwargs {name} = {str(value)[:100]}", hint=_HINT)
    return arguments


def _observations(
    data: dict[str, Any], normalize_images: bool
) -> tuple[tuple[int, ...] | None, bool | Literal["auto"]]:
    """The shape of the observations, and whether they are divided by 255.

    Stable-Baselines3 divides bytes of three dimensions with bounds 0 and 255 (``is_image_space``).
    """
    space = data.get("observation_space")
    space = space if isinstance(space, dict) else {}
    shape = space.get("_shape")
    shape = tuple(shape) if isinstance(shape, list) and all(isinstance(size, int) for size in shape) else None
    bounds = space.get("low_repr"), space.get("high_repr")
    if not normalize_images or (shape is not None and (len(shape) != 3 or space.get("dtype") != "uint8")):
        return shape, False
    if shape is not None and None not in bounds:
        return shape, bounds == ("0", "255")
    return shape, "auto"


def _check_names(path: Path, tensors: dict[str, Tensor]) -> None:
    images = [name.split(".")[-4] for name in tensors if _COMBINED_CNN.fullmatch(name)]
    if images:
        raise UsageError(
            f"{path}: it reads images among other parts of a Dict ({', '.join(sorted(set(images)))}), which cannot be "
            "imported: ppo-tui's networks for them have other sizes",
            hint=_HINT.replace("MultiInputPolicy", "MultiInputPolicy without images"),
        )
    missing = [name for name in _OTHERS[:-1] if name not in tensors]
    strange = [name for name in tensors if not (_MLP.fullmatch(name) or _CNN.fullmatch(name) or name in _OTHERS)]
    if missing or strange:
        problem = f"it has no {missing[0]}" if missing else f"ppo-tui does not know {strange[0]}"
        raise UsageError(f"{path}: {problem}", hint=_HINT)


def _check_numbers(path: Path, tensors: dict[str, Tensor]) -> None:
    """Refuse weights of another type or rank, and NaN and infinity."""
    for name, tensor in tensors.items():
        ranks = (4,) if ".cnn." in name and name.endswith("weight") else (2,) if name.endswith("weight") else (1,)
        if tensor.ndim not in ranks:
            raise UsageError(
                f"{path}: {name} has the shape {list(tensor.shape)}, of {tensor.ndim} dimensions", hint=_HINT
            )
        if tensor.dtype != torch.float32:
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise UsageError(f"{path}: {name} is {dtype}; expected float32", hint=_HINT)
        if not torch.isfinite(tensor).all():
            raise UsageError(f"{path}: {name} has numbers that are NaN or infinite")


def _activation(path: Path, arguments: dict[str, Any]) -> str:
    """Read the activation from its text, such as ``<class 'torch.nn.modules.activation.ReLU'>``."""
    words = arguments.get("activation_fn")
    if words is None:
        return "tanh"
    module, _, name = str(words).removeprefix("<class '").removesuffix("'>").rpartition(".")
    if name not in _ACTIVATIONS or not module.startswith("torch.nn."):
        raise UsageError(f"{path}: unknown activation {str(words)[:100]}", hint=f"known: {', '.join(_ACTIVATIONS)}")
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
    shared = (
        model.is_cnn
        and model.share_features
        and all(
            torch.equal(tensor, model.tensors[name.replace("vf_", "pi_", 1)])
            for name, tensor in model.tensors.items()
            if name.startswith("vf_")
        )
    )
    policy = msgspec.structs.replace(
        config.policy,
        network="nature-cnn" if model.is_cnn else "mlp",
        hidden=config.policy.hidden if model.is_cnn else actor,
        activation=model.activation,
        layer_norm=False,
        shared=shared,
        normalize_images=model.normalize_images,
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

    Its values are in real units: the statistics of a policy that normalises values stay those of the beginning.

    Raises:
        UsageError: the model is for other observations or actions.
    """
    weights = convert(model)
    if policy.critic_trunk is None:
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("critic_trunk.")}
    if policy.value_normalizer is not None:
        weights |= {f"value_normalizer.{name}": tensor for name, tensor in ValueNormalizer().state_dict().items()}
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise UsageError(
            f"{model.path} does not fit the preset's environment: {problem}",
            hint="choose a preset of the environment of its training",
        ) from None


def check_observations(model: Sb3Model, info: EnvInfo, config: Config) -> None:
    """Refuse observations in another order than in the model's training.

    Raises:
        UsageError: with both shapes.
    """
    stack, shape = config.env.frame_stack, info.observation_space.shape
    if is_grid(info.given_observation_space):
        seen = [(stack * shape[0], *shape[1:])] if len(shape) == 3 else [(stack, *shape)]
        seen += [shape] if len(shape) == 2 and stack == 1 else []
        fits = model.shape is None or model.shape in seen
    else:
        given = info.given_observation_space.shape or ()
        seen, fits = [(*given[:-1], stack * given[-1])] if given else [given], stack == 1 or len(given) < 2
    if not fits:
        raise UsageError(
            f"{model.path} does not fit the preset's environment: it reads observations of shape "
            f"{None if model.shape is None else list(model.shape)}, those of {config.env.id} reach the network as "
            f"{list(seen[0])}",
            hint="choose a preset of the environment of its training, with its env.frame_stack",
        )


def runner(model: Sb3Model, to_env: Callable[[Tensor], np.ndarray], *, divided: bool) -> Run:
    """Run `model` on its own tensors as Stable-Baselines3 does, for comparison.

    Its only input are observations as the policy sees them.

    Args:
        to_env: maps outputs of the policy head to actions of the environment.
        divided: whether observations are divided by 255.
    """
    tensors = model.tensors

    def features(observations: Tensor, prefix: str) -> Tensor:
        numbers = observations.float() / 255.0 if divided else observations.float()
        if not model.is_cnn:
            return numbers.flatten(1)
        prefix = (
            f"{prefix}features_extractor"
            if f"{prefix}features_extractor.linear.0.bias" in tensors
            else "features_extractor"
        )
        images = numbers.flatten(1, -3)
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
