"""The first weights of a new run, from a source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from ...config import Config, get_value
from ...config.values import show
from ...distributed.ranks import Ranks
from ...errors import UsageError
from ...ppo import ActorCritic
from ...ppo.normalizers import ValueNormalizer
from ...protocol import MOST_LAYERS_NAMED, WeightsTaken
from ...text import printable
from .snapshot import SavesLearning
from .source import REWARD_MOMENTS, REWARDS, Source

_STATISTICS = {"normalizer": "observation statistics", "value_normalizer": "value statistics"}
"""Modules of running statistics, in words."""

_REWARD_STATISTICS = "reward statistics"

_VALUE_HEAD, _VALUE_NORMALIZER = "value_head", "value_normalizer."
_ACTOR, _CRITIC = ("actor_trunk.", "actor_memory."), ("critic_trunk.", "critic_memory.")
"""Beginnings of names in the weights of every policy."""


class Beginning(NamedTuple):
    """The outcome of a source in a new run.

    Attributes:
        warnings: reasons why the same weights compute something else here.
    """

    taken: WeightsTaken
    warnings: tuple[str, ...]


class _Fit(NamedTuple):
    """The tensors to take, and the other layers by name.

    Attributes:
        misfits: layer of this run → why it begins anew.
    """

    tensors: dict[str, Tensor]
    layers: list[str]
    misfits: dict[str, str]
    unused: list[str]


def agreed_source(config: Config, given: Source | None, ranks: Ranks) -> Source | None:
    """The source of a new run, the same on all `ranks`.

    Args:
        given: on rank 0.

    Raises:
        UsageError: ``run.init_from`` is set, and nothing is given.
    """
    wanted = config.run.init_from
    if wanted is None and given is None:
        return None
    if given is None and ranks.leads:
        raise UsageError(
            f"run.init_from = {show(wanted)}: the trainer was not given its weights",
            hint="from ppo_tui.exchange.initial import find_source, and init_from=find_source(config.run.init_from)",
        )
    return ranks.agree(lambda: given, Source)


def begin_with(source: Source, policy: ActorCritic, learner: SavesLearning, config: Config) -> Beginning:
    """Copy the fitting weights and running statistics of `source`.

    They fit by name and shape; a layer is taken whole or not at all. Several ranks call this together.

    Raises:
        UsageError: no layer fits, or the source holds numbers that are NaN or infinite; nothing has changed then.
    """
    own = policy.state_dict()
    theirs = _shared_alike(_weights(source), own)
    if policy.value_normalizer is None:
        theirs = _in_real_units(theirs)
    fit = _fit(theirs, own, source)
    if not any(tensor.ndim >= 2 for tensor in fit.tensors.values()):
        raise UsageError(
            f"run.init_from = {show(source.argument)}: no layer of {source.text} fits this run's network: "
            f"{'; '.join(_named(fit.misfits)[:4]) or 'it has none'}",
            hint="its policy has to be of the same kind, for observations of the same shape",
        )
    for name, tensor in fit.tensors.items():
        if not torch.isfinite(tensor).all():
            raise UsageError(f"{source.path}: {name} has numbers that are NaN or infinite")
    policy.load_state_dict({**own, **fit.tensors})
    _take_rewards(source, learner, config, fit)
    return Beginning(
        WeightsTaken(
            source=source.name,
            checkpoint=source.checkpoint,
            path=source.path,
            step=source.step,
            sha256=source.sha256,
            taken=len(fit.layers),
            anew=len(fit.misfits),
            misfits=tuple(_named(fit.misfits)[:MOST_LAYERS_NAMED]),
            unused=tuple(printable(name)[:100] for name in fit.unused[:MOST_LAYERS_NAMED]),
        ),
        tuple(_differences(source, config, fit)),
    )


def _weights(source: Source) -> dict[str, Tensor]:
    try:
        return load(source.policy)
    except SafetensorError:
        raise UsageError(f"{source.path}: its weights have an unsupported format") from None


def _shared_alike(theirs: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Share the trunk between actor and critic as this run does.

    V(s) stays the same: a shared trunk is copied for the critic, and an equal copy left out.
    """
    pairs = [*zip(_ACTOR, _CRITIC, strict=True)]
    copies = {name.replace(a, c, 1): x for name, x in theirs.items() for a, c in pairs if name.startswith(a)}
    critic = {name: tensor for name, tensor in theirs.items() if name.startswith(_CRITIC)}
    if not any(name.startswith(_CRITIC) for name in own):
        same = all(name in copies and tensor.equal(copies[name]) for name, tensor in critic.items())
        return {name: tensor for name, tensor in theirs.items() if name not in critic} if same else theirs
    return theirs if critic else theirs | copies


def _in_real_units(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Fold statistics of values into the value head: V(s) stays the same."""
    normalizer = ValueNormalizer()
    names = {name: f"{_VALUE_NORMALIZER}{name}" for name in normalizer.state_dict()}
    weight, bias = theirs.get(f"{_VALUE_HEAD}.weight"), theirs.get(f"{_VALUE_HEAD}.bias")
    if weight is None or bias is None or not all(name in theirs for name in names.values()):
        return theirs
    head = nn.Linear(weight.shape[-1], len(weight)) if weight.ndim == 2 else nn.Linear(1, 1)
    try:
        normalizer.load_state_dict({name: theirs[full] for name, full in names.items()})
        head.load_state_dict({"weight": weight, "bias": bias})
    except RuntimeError:  # of other shapes: nobody can tell what they mean
        return theirs
    normalizer.fold_into(head)
    folded = {f"{_VALUE_HEAD}.{name}": tensor for name, tensor in head.state_dict().items()}
    return {name: tensor for name, tensor in theirs.items() if name not in names.values()} | folded


def _fit(theirs: Mapping[str, Tensor], own: Mapping[str, Tensor], source: Source) -> _Fit:
    """Compare two networks layer by layer."""
    fit = _Fit({}, [], {}, [])
    layers = _by_layer(own)
    own_critic = [any(name.startswith(_CRITIC) for name in names) for names in (theirs, own)]
    for layer, names in layers.items():
        if layer == _VALUE_HEAD and own_critic == [True, False]:
            fit.misfits[layer] = f"it reads a network of its own in {source.name}"
        elif problem := next(filter(None, (_problem(theirs.get(name), own[name], source) for name in names)), None):
            fit.misfits[_in_words(layer)] = problem
        else:
            fit.layers.append(_in_words(layer))
            fit.tensors.update({name: theirs[name] for name in names})
    fit.unused.extend(_in_words(layer) for layer in _by_layer(theirs) if layer not in layers)
    return fit


def _by_layer(tensors: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Layer → names of its tensors, in the order of the network."""
    layers: dict[str, list[str]] = {}
    for name in tensors:
        layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return layers


def _problem(there: Tensor | None, here: Tensor, source: Source) -> str | None:
    """The reason against taking a tensor; None for a fit."""
    if there is None:
        return f"{source.name} has none"
    if there.shape != here.shape:
        return f"{_shape(there)} there, {_shape(here)} here"
    return f"{_dtype(there)} there, {_dtype(here)} here" if there.dtype != here.dtype else None


def _shape(tensor: Tensor) -> str:
    return " × ".join(map(str, tensor.shape)) or "one number"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _in_words(layer: str) -> str:
    return _STATISTICS.get(layer, layer)


def _named(misfits: Mapping[str, str]) -> list[str]:
    return [f"{layer} ({why})" for layer, why in misfits.items()]


def _take_rewards(source: Source, learner: SavesLearning, config: Config, fit: _Fit) -> None:
    """Take the statistics of rewards, unless they are another environment's."""
    state = learner.state_dict()
    here = f"{REWARDS}count" in state
    if here and not source.rewards:
        fit.misfits[_REWARD_STATISTICS] = f"{source.name} has none"
    elif here and source.env != config.env.id:
        fit.misfits[_REWARD_STATISTICS] = f"those are of {printable(source.env)[:100]}"
    elif here:
        fit.layers.append(_REWARD_STATISTICS)
        moments = {REWARDS + name: torch.tensor(source.rewards[name], dtype=torch.float64) for name in REWARD_MOMENTS}
        learner.load_state_dict({**state, **moments})
    elif source.rewards:
        fit.unused.append(_REWARD_STATISTICS)


def _differences(source: Source, config: Config, fit: _Fit) -> Iterator[str]:
    """Word the settings with another effect on the same weights."""
    for key, there in source.computing.items():
        here = get_value(config, key)
        if here != there and "auto" not in (here, there) and any("trunk" in layer for layer in fit.layers):
            yield (
                f"{key} is {show(here)} here and was {show(there)} in {source.name}: the same weights compute something"
                f" else; to keep it: --set {key}={show(there)}"
            )
