"""The wording of events, for log, console, report and screen."""

from __future__ import annotations

import math
import shlex
from typing import Any

from ..expectations import Forecast
from ..plotting import formats
from ..protocol import (
    Alarm,
    Cause,
    CheckpointSaved,
    CommandRefused,
    Course,
    EpisodeFinished,
    Evaluated,
    Event,
    Recovered,
    Rewound,
    RunFinished,
    RunResumed,
    RunStarted,
    RunState,
    SettingChanged,
    StateChanged,
    StopDistance,
    UpdateFinished,
    WeightsTaken,
)
from ..text import counted, printable


def describe(event: Event, *, brief: bool = False) -> str | None:
    """Word an event in printable lines; None for too frequent ones.

    Args:
        brief: leave out paths, the level of an alarm, and more that a screen shows elsewhere.
    """
    text = _word(event, brief)
    return None if text is None else printable(text, lines=True)


def _word(event: Event, brief: bool) -> str | None:
    match event:
        case RunStarted():
            return _describe_start(event)
        case WeightsTaken():
            return _describe_weights(event)
        case StateChanged():
            return f"{event.state}: {event.reason}" if event.reason else str(event.state)
        case UpdateFinished():
            return _describe_update(event)
        case SettingChanged():
            return _describe_setting(event, brief)
        case CommandRefused():
            return f"refused: {event.message}"
        case CheckpointSaved():
            if brief:
                return f"checkpoint {event.step:,} ({event.reason})"
            took = formats.span(event.seconds)
            return f"checkpoint at step {event.step:,} ({event.reason}, {took}): {event.path}"
        case Evaluated():
            return _describe_evaluation(event)
        case RunResumed():
            return _describe_resumed(event, brief)
        case Rewound():
            text = f"back at step {event.step:,} (update {event.update})"
            return text if brief else f"{text}: {event.path}"
        case Alarm():
            return event.text if brief else f"{event.level.upper()}: {event.text}"
        case Recovered():
            return event.message
        case RunFinished(update=0, reason=reason) if reason.startswith(f"{event.state} "):
            return reason
        case RunFinished():
            where = "" if brief else f" at step {event.step:,} after {formats.span(event.elapsed)}"
            return f"{event.state}{where}: {event.reason}" if event.reason else f"{event.state}{where}"
    return None


def describe_next(run: str, state: RunState, update: int) -> str:
    """Word the commands after the end of a run.

    Args:
        run: its name, or its directory, as commands take it.
        update: the updates that it has done.
    """
    match state:
        case RunState.FINISHED:
            commands = ("watch", "eval", "report")
        case RunState.STOPPED if update:
            commands = ("resume", "watch", "report")
        case _ if update:
            commands = ("resume", "replay")
        case _:
            return ""
    return "next: " + " · ".join(f"ppo-tui {command} {shlex.quote(run)}" for command in commands)


def _describe_start(event: RunStarted) -> str:
    env = event.config.get("env")
    return (
        f"run {event.run}: {env.get('id') if isinstance(env, dict) else formats.NOTHING}, {event.total_steps:,} steps, "
        f"seed {event.seed}, {counted(event.num_envs, 'environment')} in {counted(event.num_workers, 'worker')}, "
        f"{event.parameters:,} parameters on {event.device}"
    )


def describe_source(event: WeightsTaken) -> str:
    """Word the source of a run's weights: breakout-3, best, step 1.20M."""
    return ", ".join(filter(None, (event.source, event.checkpoint, f"step {formats.count(event.step)}")))


def _describe_weights(event: WeightsTaken) -> str:
    """Word the weights taken from another run, and the rest."""
    text = f"weights from {describe_source(event)}: {event.taken} layers and statistics taken"
    if event.anew:
        more = [f"{event.anew - len(event.misfits)} more"] if event.anew > len(event.misfits) else []
        text += f", {event.anew} begin{'s' * (event.anew == 1)} anew: {', '.join([*event.misfits, *more])}"
    return f"{text}; not used: {', '.join(event.unused)}" if event.unused else text


def describe_forecast(forecast: Forecast) -> str:
    """Word the next milestone: 30 in about 6 min."""
    return f"{forecast.milestone:g} in about {formats.about(forecast.seconds)}"


_SHORT_METRICS = {"rollout/ep_rew_mean": "", "eval/ep_rew_mean": "eval "}


def describe_distance(distance: StopDistance, *, time_left: bool = True) -> str:
    """Word the distance to the stop rules; empty without any to tell.

    Such as: 475: 61.2 to go, or 475 held 2/3 · plateau in 120K steps · 1h 20m left.

    Args:
        time_left: name the time of training left, too.
    """
    parts = []
    name = _SHORT_METRICS.get(distance.metric, f"{distance.metric} ")
    if distance.goal is not None:
        goal = f"{distance.goal:.10g}"
        if distance.enough:
            parts.append(f"{name}{goal}: {distance.episodes}/{distance.enough} episodes")
        elif distance.held:
            parts.append(f"{name}{goal} held {distance.held}/{distance.checks}")
        else:
            parts.append(f"{name}{goal}: {formats.number(distance.left)} to go")
    if distance.plateau is not None:
        parts.append(f"plateau in {formats.count(distance.plateau)} steps")
    if time_left and distance.seconds is not None:
        parts.append(f"{formats.span(distance.seconds)} left")
    return " · ".join(parts)


def describe_best(event: EpisodeFinished) -> str:
    """Word an episode with the highest return so far."""
    return f"best episode {formats.number(event.episode_return)}, env {event.env}"


def describe_change(key: str, old: Any, new: Any, course: Course | None = None) -> str:
    """Word a change of a setting, without its section.

    For example: gamma 0.99 → 0.995, or clip range 0.1 → 0.2, then linear to 0 at step 1,000,000.
    """
    return f"{formats.setting_name(key)} {_change(old, new, course)}"


def _change(old: Any, new: Any, course: Course | None) -> str:
    return f"{formats.setting(old)} → {formats.setting(new)}" + (f", then {course.text}" if course else "")


def _describe_setting(event: SettingChanged, brief: bool) -> str:
    cause = "" if event.cause is Cause.EDIT else f"{event.cause}: "
    if brief:
        by = "" if event.by == "user" else f" (by {event.by})"
        return f"{cause}{describe_change(event.key, event.old, event.new, event.course)}{by}"
    change = _change(event.old, event.new, event.course)
    return f"{cause}{event.key} {change} (by {event.by}) at step {event.step:,}"


def _describe_evaluation(event: Evaluated) -> str:
    """Word an evaluation.

    Such as: evaluated step 20,480: return 487.25 [471.10, 499.00] over 20 episodes, the best so far.
    """
    metrics = event.metrics
    text = f"evaluated step {event.step:,}: return {formats.score(metrics.get('eval/ep_rew_mean'))}"
    low, high = metrics.get("eval/ep_rew_low"), metrics.get("eval/ep_rew_high")
    if low is not None:
        text += f" {formats.interval(low, high)}"
    if (episodes := metrics.get("eval/episodes")) is not None:
        text += f" over {episodes:.0f} {'episode' if episodes == 1 else 'episodes'}"
    if limited := metrics.get("eval/limited_episodes"):
        text += f", {limited:.0f} of which reached eval.max_steps"
    return f"{text}, the best so far" if event.best else text


def _describe_resumed(event: RunResumed, brief: bool) -> str:
    text = f"resumed at step {event.step:,}"
    if not brief:
        text += f" (update {event.update}) from {event.path}"
    if event.exact:
        return f"{text}: bit for bit as if it had never stopped"
    changed = [*event.differences]
    if event.restarted_envs:
        envs = counted(len(event.restarted_envs), "environment")
        changed.append(f"{envs} {'begins a new episode' if len(event.restarted_envs) == 1 else 'begin new episodes'}")
    return f"{text}; not bit for bit: {'; '.join(changed)}"


def _describe_update(event: UpdateFinished) -> str:
    metrics = event.metrics
    speed = metrics.get("time/fps_update")
    parts = [f"step {event.step:>11,}", f"{formats.NOTHING if speed is None else format(speed, ',.0f'):>6} steps/s"]
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
        parts.append(f"{label} {formats.NOTHING if value is None or math.isnan(value) else format(value, form)}")
    if event.stop and (distance := describe_distance(event.stop)):
        parts.append(distance)
    return "  ".join(parts)
