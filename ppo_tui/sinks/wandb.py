"""Weights & Biases, by its own library.

Offline runs lie in the run directory until `wandb sync` sends them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ..runs import RunDirectory

if TYPE_CHECKING:
    from wandb import Run

STEP = "time/total_timesteps"
"""The x-axis of curves: W&B's own counter cannot go back with a rewind."""

CONNECT_SECONDS = 30


class WandB:
    """One run of a project; a resumed run continues it."""

    def __init__(self, run_dir: RunDirectory, *, mode: Literal["offline", "online"], project: str) -> None:
        self._run_dir, self._project = run_dir, project
        self._mode: Literal["offline", "online"] = mode
        self._wandb_run: Run | None = None

    def begin(self, name: str, settings: dict[str, Any]) -> dict[str, str]:
        import wandb

        started = int(self._run_dir.read().get("started") or 0)
        self._wandb_run = wandb.init(
            project=self._project,
            name=name,
            id=f"{self._run_dir.path.name}-{started}"[:128],
            dir=str(self._run_dir.path),
            mode=self._mode,
            config=settings,
            resume="allow",
            settings=wandb.Settings(console="off", silent=True, init_timeout=CONNECT_SECONDS),
        )
        self._wandb_run.define_metric(STEP)
        self._wandb_run.define_metric("*", step_metric=STEP)
        return {}

    def continue_from(self, step: int) -> None:
        pass

    def log(self, metrics: dict[str, float], step: int, time: float) -> None:
        self._begun.log({STEP: step, **metrics})

    def log_setting(self, text: str, step: int, time: float) -> None:
        self._begun.summary[f"setting at step {step}"] = text

    def end(self, exit_code: int) -> None:
        self._begun.finish(exit_code=exit_code)

    @property
    def _begun(self) -> Run:
        assert self._wandb_run is not None, "begin comes first"
        return self._wandb_run
