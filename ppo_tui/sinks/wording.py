"""One line of plain words for an event, shared by the run's log and the headless console."""

from __future__ import annotations

from ..protocol import (
    Alarm,
    CheckpointSaved,
    CommandRefused,
    Evaluated,
    Event,
    Rewound,
    RunFinished,
    RunResumed,
    RunStarted,
    RunState,
    SettingChanged,
    StateChanged,
    UpdateFinished,
)


def describe(event: Event) -> str | None:
    """What a person would want to read of `event`, or None for what happens too often to be told."""
    match event:
        case RunStarted():
            return (
                f"run {event.run}: {event.config['env']['id']}, {event.total_steps:,} steps, seed {event.seed}, "
                f"{event.num_envs} environments in {event.num_workers} workers, "
                f"{event.parameters:,} parameters on {event.device}"
            )
        case StateChanged(state=RunState.PAUSED | RunState.TRAINING as state):
            return str(state)
        case UpdateFinished(metrics=metrics):
            return _describe_update(event, metrics)
        case SettingChanged():
            return f"{event.key}: {event.old} → {event.new} (by {event.by}) at step {event.step:,}"
        case CommandRefused(message=message):
            return f"refused: {message}"
        case CheckpointSaved():
            return f"checkpoint ({event.reason}) saved in {event.seconds:.2f} s: {event.path}"
        case Evaluated():
            return describe_evaluated(event)
        case RunResumed():
            return _describe_resumed(event)
        case Rewound():
            return f"back at step {event.step:,} (update {event.update}): {event.path}"
        case Alarm():
            return f"{event.level.upper()}: {event.text}"
        case RunFinished():
            return f"{event.state} at step {event.step:,} after {event.elapsed:.1f} s: {event.reason}"
    return None


def describe_evaluated(event: Evaluated) -> str:
    """Such as: evaluated step 20,480: return 487.25 [471.10, 499.00] over 20 games, the best so far."""
    metrics = event.metrics
    text = f"evaluated step {event.step:,}: return {metrics['eval/ep_rew_mean']:,.2f}"
    if metrics["eval/ep_rew_low"] is not None:
        text += " [{:,.2f}, {:,.2f}]".format(metrics["eval/ep_rew_low"], metrics["eval/ep_rew_high"])
    games = metrics["eval/episodes"]
    text += f" over {games} {'game' if games == 1 else 'games'}"
    return f"{text}, the best so far" if event.best else text


def _describe_resumed(event: RunResumed) -> str:
    text = f"resumed at step {event.step:,} (update {event.update}) from {event.path}"
    if event.exact:
        return f"{text}: bit for bit as if it had never stopped"
    changed = [*event.differences]
    if event.restarted_envs:
        changed.append(f"{len(event.restarted_envs)} environments begin new episodes")
    return f"{text}; not bit for bit: {'; '.join(changed)}"


def _describe_update(event: UpdateFinished, metrics: dict[str, float | None]) -> str:
    parts = [f"step {event.step:>11,}", f"{metrics['time/fps_update']:>6,.0f} steps/s"]
    for key, label, form in (
        ("rollout/ep_rew_mean", "return", ".2f"),
        ("rollout/ep_len_mean", "length", ".1f"),
        ("train/approx_kl", "kl", ".4f"),
        ("train/clip_fraction", "clipped", ".3f"),
        ("train/entropy_loss", "entropy loss", ".3f"),
        ("train/value_loss", "value loss", ".4g"),
        ("train/explained_variance", "explained variance", ".3f"),
        ("train/learning_rate", "lr", ".3g"),
    ):
        value = metrics.get(key)
        parts.append(f"{label} {'–' if value is None else format(value, form)}")
    return "  ".join(parts)
