"""Valid combinations of settings on any machine and with any environment."""

from __future__ import annotations

from typing import Any, get_args

from ..errors import ConfigError, did_you_mean
from .collecting import is_atari
from .learning import ScheduleConfig, ScheduleKind
from .schedules import SCHEDULED, check_start, schedule_key, schedule_of
from .schema import Config, all_settings
from .stopping import EVALUATED, MOST_EPISODES
from .values import get_value, show, show_key


def check_config(config: Config) -> None:
    """Refuse impossible combinations of settings.

    Raises:
        ConfigError: with the conflicting settings and values that would do.
    """
    _check_workers(config)
    _check_whole_episodes(config)
    _check_batch(config)
    _check_env(config)
    _check_algorithm(config)
    _check_learning_rates(config)
    _check_a3c(config)
    _check_stop(config)
    if config.run.torch_threads != "auto" and config.run.torch_threads < 1:
        raise ConfigError(f"run.torch_threads = {config.run.torch_threads}: expected at least 1, or auto")
    if config.policy.layer_norm and ":" in config.policy.network:
        raise ConfigError(
            f"policy.layer_norm = true: policy.network = {show(config.policy.network)} brings its own layers",
            hint="remove policy.layer_norm, and put nn.LayerNorm or nn.GroupNorm(1, channels) into the class",
        )
    if any(width < 1 for width in config.policy.hidden):
        raise ConfigError(f"policy.hidden = {list(config.policy.hidden)}: every width must be at least 1")


def _check_stop(config: Config) -> None:
    stop, every = config.stop, config.eval.every
    if stop.at is None and stop.plateau is None:
        return
    of_evaluations = stop.metric.startswith(EVALUATED)
    if of_evaluations and not every:
        raise ConfigError(
            f"stop.metric = {show(stop.metric)}: there are no evaluations (eval.every = 0)",
            hint=f"set eval.every, such as {config.batch_size * 20}",
        )
    if of_evaluations and stop.window not in (MOST_EPISODES, config.eval.episodes):
        raise ConfigError(
            f"stop.window = {stop.window}: an evaluation has {config.eval.episodes} episodes (eval.episodes)",
            hint=f"set eval.episodes = {stop.window} instead",
        )
    check_edit(config, "stop.plateau", stop.plateau)


def _check_plateau(config: Config, plateau: int | None) -> None:
    """Refuse a plateau shorter than the time between two checks."""
    of_evaluations = config.stop.metric.startswith(EVALUATED)
    between = config.eval.every if of_evaluations else config.batch_size
    if plateau is not None and plateau < between and not config.rollout.whole_episodes:
        checks = "evaluations (eval.every)" if of_evaluations else "updates (rollout.num_envs × rollout.steps)"
        raise ConfigError(
            f"stop.plateau = {plateau}: there are {between} steps between two {checks}, and nothing can become better "
            "in fewer",
            hint=f"use {between} or more, such as {10 * between}",
        )


def _check_workers(config: Config) -> None:
    count, num_envs = config.workers.count, config.rollout.num_envs
    if count == "auto":
        return
    if count < 1:
        raise ConfigError(
            f"workers.count = {count}: a run needs at least one worker",
            hint="remove it, or set it to 'auto', to fit the machine",
        )
    if count > num_envs:
        raise ConfigError(
            f"workers.count = {count}: there are only {num_envs} environments to host (rollout.num_envs)",
            hint=f"use at most {num_envs} workers, or --envs {count}",
        )
    if config.workers.groups == 2 and count < 2:
        raise ConfigError(
            "workers.groups = 2: one worker cannot be split into two groups",
            hint="set workers.count to 2 or more, or workers.groups to 1",
        )


def _check_batch(config: Config) -> None:
    size, parts = config.batch_size, config.ppo.minibatches
    if size % parts:
        raise ConfigError(
            f"ppo.minibatches = {parts}: the {config.rollout.num_envs} × {config.rollout.steps} = {size} steps of a "
            f"rollout cannot be split into {parts} equal minibatches",
            hint=f"nearest that fit: {_nearest_divisors(size, parts)}",
        )
    num_envs = config.rollout.num_envs
    if config.policy.recurrent != "none" and num_envs % parts:
        raise ConfigError(
            f"ppo.minibatches = {parts}: the minibatches of a recurrent policy consist of whole environments, and "
            f"{num_envs} of them (rollout.num_envs) cannot be split into {parts} equal parts",
            hint=f"nearest that fit: {_nearest_divisors(num_envs, parts)}; or --envs {-(-num_envs // parts) * parts}",
        )
    if config.minibatch_size < 2 and config.ppo.normalize_advantage:
        raise ConfigError(
            f"ppo.minibatches = {parts}: minibatches of one step cannot be normalised",
            hint="use fewer minibatches, or ppo.normalize_advantage = false",
        )


def _check_whole_episodes(config: Config) -> None:
    for key, value in (("rollout.num_envs", config.rollout.num_envs), ("ppo.minibatches", config.ppo.minibatches)):
        if config.rollout.whole_episodes and value != 1:
            raise ConfigError(
                f"rollout.whole_episodes = true: {key} = {value}; updates of whole episodes have one environment and "
                "one minibatch, because episodes differ in length",
                hint=f"set {key} = 1, or remove rollout.whole_episodes",
            )


def _nearest_divisors(size: int, wanted: int) -> str:
    """The three divisors of `size` nearest to `wanted`, in words."""
    divisors = [d for d in range(1, min(size, 4096) + 1) if size % d == 0]
    return ", ".join(map(str, sorted(sorted(divisors, key=lambda d: abs(d - wanted))[:3])))


def _check_algorithm(config: Config) -> None:
    ppo = config.ppo
    if ppo.dual_clip is not None and ppo.surrogate != "clip":
        raise ConfigError(
            f"ppo.dual_clip = {ppo.dual_clip}: the surrogate {show(ppo.surrogate)} clips nothing",
            hint="set ppo.surrogate = 'clip', or remove ppo.dual_clip",
        )
    if ppo.recompute_advantages and ppo.epochs == 1:
        raise ConfigError(
            "ppo.recompute_advantages = true: ppo.epochs = 1; advantages are computed again before each further epoch",
            hint="raise ppo.epochs, or remove ppo.recompute_advantages",
        )
    check_edit(config, "ppo.clip_range_upper", ppo.clip_range_upper)
    if config.optim.learning_rate_schedule == "kl-adaptive" and config.optim.learning_rate == 0:
        raise ConfigError(
            "optim.learning_rate = 0: 'kl-adaptive' cannot adapt it from there",
            hint="set a learning rate to start from, such as 3e-4",
        )
    for key in SCHEDULED:
        _check_schedule(config, key)
    if config.run.compile and config.policy.recurrent != "none":
        raise ConfigError(
            f"run.compile = true: policy.recurrent = {show(config.policy.recurrent)}; the sequences of a recurrent "
            "policy differ in shape between minibatches, and each shape would be compiled again",
            hint="remove run.compile",
        )


def _check_learning_rates(config: Config) -> None:
    optim, ppo = config.optim, config.ppo
    if optim.min_learning_rate > optim.max_learning_rate:
        raise ConfigError(
            f"optim.min_learning_rate = {optim.min_learning_rate}: it is above optim.max_learning_rate = "
            f"{optim.max_learning_rate}",
            hint="swap them, or leave one out",
        )
    if optim.kl_adaptive_every == "minibatch":
        if optim.learning_rate_schedule != "kl-adaptive":
            raise ConfigError(
                "optim.kl_adaptive_every = 'minibatch': the learning rate is not adapted",
                hint="set optim.learning_rate_schedule = 'kl-adaptive', or remove optim.kl_adaptive_every",
            )
        if ppo.epochs * ppo.minibatches == 1:
            raise ConfigError(
                "optim.kl_adaptive_every = 'minibatch': an update is a single minibatch (ppo.epochs, ppo.minibatches), "
                "in which the policy has not moved yet",
                hint="remove optim.kl_adaptive_every, to adapt after every update",
            )
    if optim.learning_rate == 0:
        muons = optim.muon_learning_rate if optim.name == "muon" else None
        for key, rate in (("critic_learning_rate", optim.critic_learning_rate), ("muon_learning_rate", muons)):
            if rate is not None:
                raise ConfigError(
                    f"optim.{key} = {rate}: it is kept in proportion to optim.learning_rate, which is 0",
                    hint="set optim.learning_rate, such as 3e-4",
                )


def check_edit(config: Config, key: str, value: Any) -> None:
    """Refuse a live value without a use in this configuration.

    Raises:
        ConfigError: an upper bound for a surrogate without one; a plateau shorter than an update.
    """
    if key == "stop.plateau":
        _check_plateau(config, value)
    if key == "ppo.clip_range_upper" and value is not None and config.ppo.surrogate != "clip":
        raise ConfigError(
            f"{key} = {value}: the surrogate {show(config.ppo.surrogate)} has no upper bound of its own",
            hint="set ppo.surrogate = 'clip', or leave ppo.clip_range_upper out",
        )


def _check_schedule(config: Config, key: str) -> None:
    schedule, name = schedule_of(config, key), schedule_key(key)
    if schedule.kind == "constant" and (schedule.final or schedule.steps is not None):
        part = "final" if schedule.final else "steps"
        raise ConfigError(
            f"{name}.{part} = {getattr(schedule, part)}: a constant value goes nowhere",
            hint=f"choose a way there, such as {name}.kind = 'linear', or remove {name}.{part}",
        )
    if schedule.final > (most := all_settings()[key].most):
        raise ConfigError(f"{name}.final = {schedule.final}: expected a number of at most {most:g}, as for {key}")
    if schedule.kind == "exponential" and not schedule.final:
        raise ConfigError(
            f"{name}.final = 0: an exponential schedule comes ever nearer to 0 and never there",
            hint=f"set {name}.final above 0, such as a hundredth of {key}, or use 'linear' or 'cosine'",
        )
    check_start(schedule, key, get_value(config, key))
    ends_early = schedule.kind != "constant" and schedule.steps is not None and schedule.steps < config.run.total_steps
    if key == "ppo.clip_range" and config.ppo.surrogate == "spo" and ends_early and not schedule.final:
        raise ConfigError(
            f"{name}.final = 0: with ppo.surrogate = 'spo' the clip range divides, and it is 0 from step "
            f"{schedule.steps} on",
            hint=f"set {name}.final above 0, or remove {name}.steps",
        )
    if schedule.steps is not None and schedule.warmup_steps >= schedule.steps:
        raise ConfigError(
            f"{name}.warmup_steps = {schedule.warmup_steps}: the whole schedule has {schedule.steps} steps "
            f"({name}.steps)",
            hint=f"use fewer than {schedule.steps}, or a longer schedule",
        )


_A3C = {
    "ppo.surrogate": ("none",),
    "ppo.epochs": (1,),
    "ppo.minibatches": (1,),
    "ppo.normalize_advantage": (False,),
    "ppo.normalize_rewards": (False,),
    "ppo.normalize_values": (False,),
    "ppo.clip_value_loss": (False,),
    "ppo.huber_delta": (None,),
    "ppo.target_kl": (None,),
    "policy.normalize_observations": (False,),
    "rollout.whole_episodes": (False,),
    "optim.name": ("adam", "adamw", "radam", "rmsprop", "rmsprop-tf"),
    "optim.learning_rate_schedule": get_args(ScheduleKind),
    "optim.critic_learning_rate": (None,),
    "workers.groups": ("auto", 1),
    "run.device": ("auto", "cpu"),
    "run.overlap": (False,),
    "run.compile": (False,),
}
"""Setting → values that A3C allows: each of its gradients is a single step, on the CPU of its own worker."""


def _check_a3c(config: Config) -> None:
    if config.run.algorithm != "a3c":
        return
    rules = _A3C | {"workers.count": ("auto", config.rollout.num_envs)}
    for key, values in rules.items():
        value = get_value(config, key)
        if value not in values and not isinstance(value, ScheduleConfig):
            wanted = " or ".join("removed" if allowed is None else show(allowed) for allowed in values)
            raise ConfigError(
                f"{key} = {show(value)}: with run.algorithm = 'a3c' it must be {wanted}",
                hint="each worker learns from its own environment, one gradient a rollout; the preset a3c-cartpole is "
                "a starting point, and --envs sets the number of workers",
            )


def _check_env(config: Config) -> None:
    env = config.env
    if not is_atari(env.id):
        if env.atari is not None:
            raise ConfigError(
                f"env.atari: {show_key(env.id)} is not an Atari game",
                hint="remove [env.atari], or choose an id such as 'ALE/Breakout-v5'",
            )
        return
    assert env.atari is not None, "build_config fills it in"
    if env.hide:
        raise ConfigError(
            f"env.hide = {list(env.hide)}: the observations of {env.id!r} are images",
            hint="remove it; it hides numbers of a vector",
        )
    for key, setting in (
        ("frameskip", "env.atari.frame_skip"),
        ("repeat_action_probability", "env.atari.sticky_actions"),
        ("full_action_space", "env.atari.full_action_space"),
        ("max_num_frames_per_episode", "env.atari.max_frames"),
    ):
        if key in env.kwargs:
            extra = ""
            if key == "frameskip":
                extra = f": double frame skip, {env.kwargs[key]} × {env.atari.frame_skip} frames an action"
            raise ConfigError(f"env.kwargs.{key} = {show(env.kwargs[key])}{extra}", hint=f"set {setting} instead")
    allowed = ("mode", "difficulty")
    for key in env.kwargs:
        if key not in allowed:
            raise ConfigError(
                f"env.kwargs.{key}: the Atari pipeline does not take it",
                hint=did_you_mean(key, allowed, otherwise=f"it takes {' and '.join(allowed)}"),
            )
