"""File formats of exported policies, with writers and readers."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from ..errors import RunFailedError, UsageError, did_you_mean
from ..extras import install_command, is_installed
from ..files import check_output
from ..ppo import ActorCritic, build_policy
from ..training.checkpoint.snapshot import on_cpu
from .deployed import DeployedPolicy, Facts
from .experience import Experience, Run, check_same, sampled

METADATA = "ppo-tui"
"""Key of the `Facts` in the metadata of a file."""


class Format(Protocol):
    """A file format.

    Attributes:
        suffix: of its files.
        packages: needed besides PyTorch, by their names when imported.
    """

    suffix: str
    packages: tuple[str, ...]

    def write(self, path: Path, policy: DeployedPolicy, example: tuple[Tensor, ...], facts: Facts) -> None: ...

    def load(self, path: Path, experience: Experience) -> Run: ...


class Safetensors:
    """Weights by name with metadata, for programs with their own network."""

    suffix = ".safetensors"
    packages: tuple[str, ...] = ()

    def write(self, path: Path, policy: DeployedPolicy, example: tuple[Tensor, ...], facts: Facts) -> None:
        tensors = on_cpu(policy.policy.state_dict())
        path.write_bytes(safetensors.torch.save(tensors, metadata={METADATA: facts.to_json()}))

    def load(self, path: Path, experience: Experience) -> Run:
        config, info = experience.config, experience.info
        policy = build_policy(
            info.observation_space, info.action_space, config.policy, frame_stack=config.env.frame_stack
        )
        with safe_open(path, framework="pt") as file:
            policy.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        deployed = deploy(experience, policy.eval())
        return lambda inputs: _arrays(deployed(*inputs))


class TorchScript:
    """A traced module for `torch.jit.load`, in Python or C++."""

    suffix = ".pt"
    packages: tuple[str, ...] = ()

    def write(self, path: Path, policy: DeployedPolicy, example: tuple[Tensor, ...], facts: Facts) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated in favour of torch.export, which C++ does not load yet
            traced = torch.jit.trace(policy, example, check_trace=False)
            torch.jit.save(traced, path, _extra_files={METADATA: facts.to_json()})

    def load(self, path: Path, experience: Experience) -> Run:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.jit.load(path)
        return lambda inputs: _arrays(loaded(*inputs))


class Onnx:
    """A graph for onnxruntime and others, with any batch size."""

    suffix = ".onnx"
    packages: tuple[str, ...] = ("onnx", "onnxscript", "onnxruntime")

    def write(self, path: Path, policy: DeployedPolicy, example: tuple[Tensor, ...], facts: Facts) -> None:
        batch = torch.export.Dim("batch", min=1)
        shapes = tuple({0: batch} for _ in example)
        with _quiet():
            program = torch.onnx.export(
                policy,
                example,
                dynamo=True,
                input_names=policy.inputs,
                output_names=policy.outputs,
                dynamic_shapes=(shapes,),
                verbose=False,
            )
        assert program is not None, "with dynamo, PyTorch returns the program"
        program.model.metadata_props[METADATA] = facts.to_json()
        program.save(path)

    def load(self, path: Path, experience: Experience) -> Run:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [tensor.name for tensor in session.get_inputs()]

        def run(inputs: tuple[Tensor, ...]) -> tuple[np.ndarray, ...]:
            outputs = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
            return tuple(map(np.asarray, outputs))

        return run


FORMATS: dict[str, Format] = {"safetensors": Safetensors(), "torchscript": TorchScript(), "onnx": Onnx()}


def check_export(name: str, path: Path | None) -> Format:
    """Find the format of this name and check its packages.

    Raises:
        UsageError: there is none, a package is not installed, or there is no directory for `path`.
    """
    if name not in FORMATS:
        hint = did_you_mean(name, FORMATS, otherwise=f"use one of {', '.join(FORMATS)}")
        raise UsageError(f"--format {name!r}: unknown format", hint=hint)
    form = FORMATS[name]
    missing = [package for package in form.packages if not is_installed(package)]
    if missing:
        raise UsageError(
            f"--format {name}: it needs {', '.join(missing)}, not installed here",
            hint=install_command("export"),
        )
    if path is not None:
        check_output("--output", path)
    return form


def deploy(experience: Experience, policy: ActorCritic | None = None) -> DeployedPolicy:
    """Wrap the policy of this experience, or another one, for other programs."""
    return DeployedPolicy(policy or experience.policy, experience.info, experience.config).eval()


def write_policy(path: Path, form: Format, experience: Experience, facts: Facts) -> float:
    """Write the policy; keep the file if it decides the same.

    Returns:
        The largest difference between numbers of the two.

    Raises:
        UsageError: the file cannot be written.
        RunFailedError: the network cannot be written in this format, or the file decides differently.
    """
    example = tuple(tensor[:2] for tensor in experience.inputs)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".ppo-tui-", dir=path.absolute().parent) as folder,
            torch.inference_mode(False),
            torch.no_grad(),
        ):
            temporary = Path(folder) / f"policy{form.suffix}"
            _write(temporary, form, deploy(experience), example, facts)
            run = form.load(temporary, experience)
            difference = max(check_same(run, each, path.name) for each in (experience, sampled(experience)) if each)
            os.replace(temporary, path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}", hint="choose another --output"
        ) from None
    return difference


def _write(path: Path, form: Format, policy: DeployedPolicy, example: tuple[Tensor, ...], facts: Facts) -> None:
    try:
        form.write(path, policy, example, facts)
    except OSError:
        raise
    except Exception as error:  # exporters raise anything for a network they do not support
        brief = str(error).strip().splitlines() or [""]
        raise RunFailedError(
            f"this network cannot be written as {form.suffix}: {type(error).__name__}: {brief[0][:200]}",
            hint="--format safetensors writes the weights of any network",
        ) from error


def _arrays(tensors: tuple[Tensor, ...]) -> tuple[np.ndarray, ...]:
    return tuple(tensor.detach().numpy() for tensor in tensors)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress on stdout and its warnings on stderr."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
