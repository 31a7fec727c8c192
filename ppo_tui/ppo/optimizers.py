"""Optimisers, and compilation of the objective.

A step that is not finite is skipped on the device.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..config import OptimConfig
from ..config.learning import OPTIMIZERS
from ..errors import ConfigError
from .devices import skips_steps
from .policy import ActorCritic


class RMSprop(torch.optim.Optimizer):
    """RMSprop, uncentred.

    Hinton, 2012, https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf.

    As `torch.optim.RMSprop`; like PyTorch's fused optimisers it skips a step, on the device, while its attribute
    `found_inf`, a scalar, is 1.

    Args:
        alpha: share of the old mean square kept in each step.
        eps: added to the root mean square; with `tensorflow`, to the mean square.
        tensorflow: as in TensorFlow 1: mean squares start at 1, and ε lies under the root. OpenAI's baselines and
            Stable-Baselines3 (``RMSpropTFLike``) reach their A2C scores on Atari with it.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        *,
        lr: float,
        alpha: float,
        eps: float,
        tensorflow: bool = False,
    ) -> None:
        super().__init__(parameters, {"lr": lr})
        self.found_inf: Tensor | None = None
        self._alpha, self._eps, self._tensorflow = alpha, eps, tensorflow

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Step down the gradients of the parameters.

        A closure to compute them is not supported.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group["lr"])

    def _step(self, parameter: nn.Parameter, gradient: Tensor, learning_rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["square_avg"] = torch.ones_like(parameter) if self._tensorflow else torch.zeros_like(parameter)
        average = state["square_avg"]
        weight = torch.full((), 1.0 - self._alpha, device=parameter.device)
        if self.found_inf is not None:
            gradient = torch.where(self.found_inf.bool(), 0.0, gradient)
            weight = weight * (1.0 - self.found_inf)
        average.lerp_(gradient.square(), weight)
        root = (average + self._eps).sqrt() if self._tensorflow else average.sqrt() + self._eps
        parameter.addcdiv_(gradient, root, value=-learning_rate)


class PolicyOptimizer:
    """The optimiser of a policy's weights, chosen by `optim`.

    Muon moves convolutions, as matrices of one row a filter, and the matrices between hidden layers; AdamW moves all
    other weights, as its author advises (Jordan, 2024, https://kellerjordan.github.io/posts/muon/). Every other
    optimiser moves all weights.

    The learning rates of the critic and of Muon keep their ratio to the main one.

    Args:
        policy: on the device of learning already.

    Raises:
        ConfigError: the optimiser is Muon, and `policy` has no weights for it.
    """

    def __init__(self, policy: ActorCritic, optim: OptimConfig) -> None:
        self._name = optim.name
        self._parameters = dict(policy.named_parameters())
        hidden = policy.hidden_weights() if optim.name == "muon" else []
        self._matrices = {weight: nn.Parameter(_as_matrix(weight.detach(), weight)) for weight in hidden}
        others = set(policy.parameters()).difference(hidden)
        rest = [parameter for parameter in policy.parameters() if parameter in others]
        self._optimizers = [make_optimizer(_groups(rest, policy, optim), optim)]
        if optim.name == "muon":
            if not hidden:
                raise ConfigError(
                    "optim.name = 'muon': the network has no convolution and no matrix between hidden layers, the only "
                    "weights of Muon",
                    hint="give it a second hidden layer, such as policy.hidden = [64, 64], or set optim.name = 'adamw'",
                )
            groups = _groups(hidden, policy, optim, ratio=optim.muon_learning_rate / optim.learning_rate)
            for group in groups:
                group["params"] = [self._matrices[weight] for weight in group["params"]]
            muon = _without_compiler(torch.optim.Muon)(
                groups, momentum=optim.muon_momentum, weight_decay=optim.weight_decay
            )
            self._optimizers.append(muon)
        self.set_learning_rate(optim.learning_rate)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the main learning rate; those of critic and Muon follow."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * group["ratio"]

    def zero_grad(self) -> None:
        """Remove the gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def step(self, finite: Tensor) -> None:
        """Step down the gradients if the bool scalar `finite` is true."""
        for weight, matrix in self._matrices.items():
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad, weight)
        for optimizer in self._optimizers:
            step_if(finite, optimizer)

    # ── State ───────────────────────────────────────────────────────────────────────────────────────────────

    def state_dict(self) -> dict[str, Tensor]:
        """Contiguous CPU tensors by ``<optimiser>/<parameter>/<slot>``, such as ``adam/value_head.bias/exp_avg``."""
        return {
            f"{self._name}/{name}/{slot}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, parameter in self._parameters.items()
            for optimizer in self._optimizers
            for slot, tensor in optimizer.state.get(self._moved(parameter), {}).items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`, perhaps among other entries.

        Raises:
            ValueError: the state is of another network or another optimiser; nothing has changed then.
        """
        slots: dict[nn.Parameter, dict[str, Tensor]] = {}
        for key, saved in state.items():
            optimizer, *place = key.split("/")
            if optimizer not in OPTIMIZERS:
                continue
            if optimizer != self._name:
                raise ValueError(f"optimiser state of {optimizer}; the optimiser is {self._name}")
            name, slot = place
            if name not in self._parameters:
                raise ValueError(f"optimiser state for {name}, which the network does not have")
            parameter = self._moved(self._parameters[name])
            slots.setdefault(parameter, {})[slot] = _slot_for(parameter, slot, saved)
        for optimizer in self._optimizers:
            own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            optimizer.state.clear()
            optimizer.state.update({parameter: slots[parameter] for parameter in own if parameter in slots})

    def _moved(self, parameter: nn.Parameter) -> nn.Parameter:
        """The tensor with a parameter's numbers in an optimiser."""
        return self._matrices.get(parameter, parameter)


def _as_matrix(numbers: Tensor, weight: Tensor) -> Tensor:
    """The `numbers` of a weight as a matrix, a row an output.

    Its columns are in the order of the weight's memory, so that of the weight itself it is a view. Muon's step does not
    depend on their order.
    """
    if weight.ndim > 2 and not weight.is_contiguous():
        numbers = numbers.movedim(1, -1)  # channels-last
    return numbers.reshape(len(numbers), -1)


def _groups(
    parameters: list[nn.Parameter], policy: ActorCritic, optim: OptimConfig, *, ratio: float = 1.0
) -> list[dict[str, Any]]:
    """Parameter groups, with each learning rate's ``ratio`` to the main one."""
    if optim.critic_learning_rate is None:
        return [{"params": parameters, "ratio": ratio}]
    critic = set(policy.critic_parameters())
    groups = (
        {"params": [one for one in parameters if one not in critic], "ratio": ratio},
        {
            "params": [one for one in parameters if one in critic],
            "ratio": ratio * optim.critic_learning_rate / optim.learning_rate,
        },
    )
    return [group for group in groups if group["params"]]


def _slot_for(parameter: nn.Parameter, slot: str, saved: Tensor) -> Tensor:
    """A saved slot on the parameter's device and in its memory format."""
    if slot == "step":
        return saved.to(parameter.device if skips_steps(parameter.device) else "cpu", copy=True)
    if saved.shape != parameter.shape:
        raise ValueError(f"optimiser state of shape {tuple(saved.shape)} for weights of {tuple(parameter.shape)}")
    return torch.empty_like(parameter, requires_grad=False).copy_(saved)


@functools.cache
def _without_compiler(optimizer: type[torch.optim.Optimizer]) -> type[Any]:
    """The same optimiser, without PyTorch's wrappers for its compiler.

    They tell the compiler to leave the methods alone, and load it for that: a second or two of each start.
    """
    methods = {
        "add_param_group": inspect.unwrap(optimizer.add_param_group),
        "step": torch.no_grad()(inspect.unwrap(optimizer.step)),
    }
    return type(optimizer.__name__, (optimizer,), methods)


def make_optimizer(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], optim: OptimConfig
) -> torch.optim.Optimizer:
    """The optimiser chosen by `optim` for parameters of any shape.

    With Muon this is AdamW, for the weights that Muon does not take.

    Adam: Kingma & Ba, 2015, arXiv:1412.6980. AdamW: Loshchilov & Hutter, 2019, arXiv:1711.05101. RAdam: Liu et al.,
    2020, arXiv:1908.03265.
    """
    listed: list[Any] = list(parameters)
    first = listed[0]["params"][0] if isinstance(listed[0], dict) else listed[0]
    fused = skips_steps(first.device)
    if optim.name in ("rmsprop", "rmsprop-tf"):
        return _without_compiler(RMSprop)(
            listed,
            lr=optim.learning_rate,
            alpha=optim.rmsprop_alpha,
            eps=optim.rmsprop_eps,
            tensorflow=optim.name == "rmsprop-tf",
        )
    rate, betas, eps = optim.learning_rate, (optim.adam_beta1, optim.adam_beta2), optim.adam_eps
    if optim.name == "adam":
        return _without_compiler(torch.optim.Adam)(listed, lr=rate, betas=betas, eps=eps, fused=fused)
    if optim.name == "radam":
        optimizer = _without_compiler(torch.optim.RAdam)(listed, lr=rate, betas=betas, eps=eps)
        for group in optimizer.param_groups:
            # With its count of steps on the device, too, a step can be taken back there.
            group["capturable"] = any(parameter.is_cuda for parameter in group["params"])
        return optimizer
    adamw = _without_compiler(torch.optim.AdamW)
    return adamw(listed, lr=rate, betas=betas, eps=eps, weight_decay=optim.weight_decay, fused=fused)


def step_if(finite: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Take a step of `optimizer` if the bool scalar `finite` is true.

    Else weights and statistics stay as they are. The CPU does not wait for the answer of a device that can skip steps.
    """
    if skips_steps(finite.device) and isinstance(optimizer, torch.optim.Adam | RMSprop):
        # The interface by which `torch.amp.GradScaler` lets fused optimisers skip steps.
        optimizer.found_inf = (~finite).float()  # pyright: ignore[reportAttributeAccessIssue]: not in the stubs
        optimizer.step()
    elif finite.device.type == "cuda":
        step_and_undo(optimizer, finite)
    elif finite:
        optimizer.step()


@torch.no_grad()
def step_and_undo(optimizer: torch.optim.Optimizer, finite: Tensor) -> None:
    """Take a step, and take it back on the device unless `finite`.

    For optimisers of PyTorch that cannot skip a step, if all their statistics start at 0.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    weights = [parameter.clone() for parameter in parameters]
    statistics = [{name: slot.clone() for name, slot in optimizer.state[one].items()} for one in parameters]
    optimizer.step()
    for parameter, weight, before in zip(parameters, weights, statistics, strict=True):
        parameter.copy_(torch.where(finite, parameter, weight))
        for name, slot in optimizer.state[parameter].items():
            slot.copy_(torch.where(finite, slot, before.get(name, 0.0)))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled at its first call.

    Numbers among the arguments become constants of it, and another number compiles it again: pass tensors.
    """
    # With more threads the compiler starts processes of its own. It reads this when it is loaded, by torch.compile.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    return torch.compile(function)


def check_compiler(device: torch.device) -> None:
    """Try the compiler for `device` on a tiny function.

    It takes some seconds, most of them to load the compiler.

    Raises:
        ConfigError: the compiler does not work on this machine.
    """
    try:
        compiled(_tiny_function)(torch.zeros(2, device=device))
    except Exception as error:  # PyTorch, the C++ compiler and Triton fail with errors of their own
        reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        needs = "Triton" if device.type == "cuda" else "a C++ compiler (g++) and Python's header files"
        raise ConfigError(
            f"run.compile = true: PyTorch cannot compile for {device} here ({reason})",
            hint=f"it needs {needs}; or leave run.compile out",
        ) from error


def _tiny_function(numbers: Tensor) -> Tensor:
    return numbers.sin() + 1.0
