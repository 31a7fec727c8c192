"""Weights & Biases, by its own library. Offline runs lie in the run's directory until `wandb sync` sends them."""

from __future__ import annotations

from typing import Any, Literal

from ..runs import RunDirectory

STEP = "time/total_timesteps"
"""What curves are drawn over: its own counter could not go back with a rewind."""

CONNECT_SECONDS = 30


class WandB:
    """One run of a project; a resumed run goes on with it."""

    def __init__(self, run: RunDirectory, *, mode: Literal["offline", "online"], project: str) -> None:
        self._directory, self._mode, self._project = run, mode, project

    def begin(self, run: str, settings: dict[str, Any]) -> None:
        import wandb

        started = int(self._directory.read().get("started") or 0)
        self._run = wandb.init(
            project=self._project,
            name=run,
            id=f"{self._directory.path.name}-{started}"[:128],
            dir=str(self._directory.path),
            mode=self._mode,
            config=settings,
            resume="allow",
            settings=wandb.Settings(console="off", silent=True, init_timeout=CONNECT_SECONDS),
        )
        self._run.define_metric(STEP)
        self._run.define_metric("*", step_metric=STEP)

    def stand_at(self, step: int) -> None:
        pass

    def log(self, metrics: dict[str, float], step: int, time: float) -> None:
        self._run.log(metrics)

    def note(self, text: str, step: int, time: float) -> None:
        self._run.summary[f"setting at step {step}"] = text

    def end(self, exit_code: int) -> None:
        self._run.finish(exit_code=exit_code)
