"""The settings of what happens beside a run: who is told of it. They change no number."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .section import Section


class TrackingConfig(Section, frozen=True, kw_only=True):
    """Programs that keep track of runs, besides the run directory. One that fails is let go; the run goes on."""

    tensorboard: Annotated[
        bool | Literal["auto"],
        Meta(description="Write TensorBoard's files into the run directory; auto does where it is installed."),
    ] = "auto"
    wandb: Annotated[
        Literal["off", "offline", "online"],
        Meta(description="Weights & Biases: off, offline (into the run directory, for `wandb sync`), or online."),
    ] = "off"
    mlflow: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2000,
            description="MLflow's store: http://localhost:5000, a directory, sqlite:///mlflow.db; off for none.",
        ),
    ] = "off"
    project: Annotated[
        str,
        Meta(min_length=1, max_length=128, description="The project of Weights & Biases, the experiment of MLflow."),
    ] = "ppo-tui"


class NotifyConfig(Section, frozen=True, kw_only=True):
    """Who is told when a run ends, fails or stalls."""

    webhook: Annotated[
        Annotated[str, Meta(pattern=r"^https?://\S+$", max_length=2000)] | None,
        Meta(
            description="An address that a short JSON text is posted to; Slack, Mattermost and Discord understand it."
        ),
    ] = None
    command: Annotated[
        Annotated[str, Meta(min_length=1, max_length=2000)] | None,
        Meta(
            description="A command, run without a shell, that gets the same JSON on stdin and PPO_TUI_EVENT, _RUN, "
            "_RUN_DIR, _STATE, _STEP and _REASON in its environment."
        ),
    ] = None
    on: Annotated[
        tuple[Literal["finish", "failure", "stall"], ...],
        Meta(max_length=3, description="What they are told of: finish (a stop too), failure, stall."),
    ] = ("finish", "failure", "stall")
    stall_seconds: Annotated[
        float, Meta(gt=0, le=604_800, description="Seconds of training without a step after which a run has stalled.")
    ] = 600.0
