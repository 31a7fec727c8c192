"""Make a run of a model trained by Stable-Baselines3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..config import Config
from ..ppo.distributions import action_kind
from ..ppo.observations import divides_bytes
from ..runs import RunDirectory
from ..runs.entries import CHECKPOINTS
from ..training import Trainer, examine
from ..training.checkpoint.files import checkpoint_name
from .experience import check_same, gather_experience, to_given
from .sb3 import Sb3Model, check_observations, config_for, load_into, runner


def import_model(
    model: Sb3Model, config: Config, *, label: str, name: str | None, run_dir: Path | None
) -> tuple[RunDirectory, int]:
    """Make a run with the weights of `model`, before its first step.

    Its decisions are compared with those of the model on real observations.

    Args:
        config: of the run; the networks of the model replace its own.

    Returns:
        The run, and the number of compared observations.

    Raises:
        UsageError: the model does not fit `config`, or the directory cannot be written; no run is left.
        RunFailedError: the imported policy decides differently; no run is left.
    """
    config = config_for(model, config)
    info = examine(config)
    check_observations(model, info, config)
    directory = RunDirectory.create(config, label=label, name=name, path=run_dir)
    try:
        checkpoint = checkpoint_name(0)
        path = directory.checkpoints / checkpoint
        with Trainer(config, env_info=info) as trainer:
            load_into(trainer.policy, model)
            trainer.save(path)
        with directory.held.subdirectory(CHECKPOINTS) as checkpoints:
            checkpoints.link("latest", checkpoint)
        experience = gather_experience(path, allow_import=True)
        kind = action_kind(info.action_space, squash=False)

        def to_env(scores: Tensor) -> np.ndarray:
            log_std = experience.policy.log_std
            decided = kind.distribution(scores, log_std, experience.masks).mode().detach().numpy()
            return to_given(info, kind.to_env(decided))

        with torch.inference_mode():
            run = runner(model, to_env, divided=divides_bytes(info.observation_space, config.policy))
            check_same(lambda inputs: run((experience.observations,)), experience, model.path.name)
        by = f"Stable-Baselines3 {model.version}".strip()
        reason = f"imported from {model.path.name}, trained by {by} for {model.steps:,} steps"
        directory.update(status="stopped", reason=reason, pid=None)
    except BaseException:
        directory.discard()
        raise
    directory.release()
    return directory, len(experience.actions)
