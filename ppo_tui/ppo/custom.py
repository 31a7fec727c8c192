"""Networks of one's own, named by their import path."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError

CONTRACT = (
    "a network is an nn.Module whose constructor takes the observation's shape, that has an int num_features, and that "
    "turns a batch [B, *shape] into features [B, num_features]"
)


def custom_network(path: str, observation_shape: Sequence[int], example: Tensor) -> nn.Module:
    """An instance of the user's class at `path`, ``package.module:Class``, tried out on two observations.

    The contract: ``Class(observation_shape)`` is an `nn.Module` with an attribute ``num_features: int``; called with a
    batch of observations `[B, *observation_shape]`, float32 vectors or uint8 images as the environment gives them, it
    returns float32 features `[B, num_features]`. With ``env.frame_stack`` K > 1, and for grey images always, the
    shape begins with K. Its weights are the class's own business.

    Args:
        example: two observations.

    Raises:
        ConfigError: the module cannot be imported, the class is not there, or it does not keep the contract.
    """
    module_name, _, class_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    # Somebody else's module raises whatever it likes, sys.exit included.
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"policy.network = {path!r}: the module {module_name!r} cannot be imported ({_brief(error)})",
            hint="it is looked for on PYTHONPATH and among the installed packages",
        ) from error
    if not hasattr(module, class_name):
        raise ConfigError(f"policy.network = {path!r}: the module {module_name!r} has no {class_name!r}")
    try:
        network = getattr(module, class_name)(tuple(observation_shape))
        with torch.no_grad():
            features = network(example)
        given, expected = tuple(features.shape), (len(example), network.num_features)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"policy.network = {path!r}: it cannot be used ({_brief(error)})", hint=CONTRACT) from error
    if not isinstance(network, nn.Module) or given != expected:
        raise ConfigError(
            f"policy.network = {path!r}: {len(example)} observations of shape {tuple(observation_shape)} became "
            f"features of shape {given}, not {expected}",
            hint=CONTRACT,
        )
    return network


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
