"""The whole configuration, and every setting by its dotted name."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .collecting import EnvConfig, RolloutConfig, WorkersConfig
from .declaring import Live, OnResume, Outside, Section
from .learning import OptimConfig, PolicyConfig, PPOConfig
from .running import EvalConfig, NotifyConfig, RunConfig, TrackingConfig
from .stopping import StopConfig


class Config(Section, frozen=True, kw_only=True):
    """A whole run, one section a concern."""

    env: EnvConfig
    workers: WorkersConfig = WorkersConfig()
    rollout: RolloutConfig = RolloutConfig()
    policy: PolicyConfig = PolicyConfig()
    ppo: PPOConfig = PPOConfig()
    optim: OptimConfig = OptimConfig()
    stop: StopConfig = StopConfig()
    eval: EvalConfig = EvalConfig()
    run: RunConfig = RunConfig()
    tracking: TrackingConfig = TrackingConfig()
    notify: NotifyConfig = NotifyConfig()

    @property
    def batch_size(self) -> int:
        """Environment steps in a rollout: N × T."""
        return self.rollout.num_envs * self.rollout.steps

    @property
    def minibatch_size(self) -> int:
        return self.batch_size // self.ppo.minibatches

    @property
    def compares_distributions(self) -> bool:
        """Whether the learner needs whole action distributions, for their exact KL."""
        adaptive_rate = self.optim.learning_rate_schedule == "kl-adaptive"
        return self.ppo.surrogate in ("kl", "kl-adaptive") or (
            adaptive_rate and self.optim.kl_adaptive_every == "update"
        )

    @property
    def num_updates(self) -> int:
        """Updates until `run.total_steps` are done; a minimum with whole episodes."""
        return -(-self.run.total_steps // self.batch_size)

    @property
    def planned_steps(self) -> int:
        """`run.total_steps` rounded up to whole updates of known length."""
        if self.rollout.whole_episodes:
            return self.run.total_steps
        return self.num_updates * self.batch_size


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting by its dotted name, with its declaration."""

    key: str
    type: Any
    description: str
    on_resume: OnResume
    live: Live | None
    outside: Outside | None
    duration: bool

    @property
    def most(self) -> float:
        """The upper bound of a number; infinite without one."""
        return next((meta.le for meta in self.type.__metadata__ if meta.le is not None), float("inf"))


@functools.cache
def all_settings() -> Mapping[str, Setting]:
    """Dotted name → setting, in the order of the schema."""
    return {found.key: found for found in _walk(Config, "")}


@functools.cache
def short_names() -> Mapping[str, str]:
    """Short name → dotted name: last part or alias."""
    last = {key.rpartition(".")[2]: key for key in all_settings()}
    return last | {alias: key for key, found in all_settings().items() if found.live for alias in found.live.aliases}


def full_name(text: str) -> str | None:
    """The dotted name of the setting called `text`; None without one.

    Spaces, ``-`` and ``_`` are the same: ``Learning rate`` means ``optim.learning_rate``, as ``lr`` does.
    """
    wanted = "_".join(text.lower().replace("-", " ").replace("_", " ").split())
    return wanted if wanted in all_settings() else short_names().get(wanted)


def _walk(section: type[msgspec.Struct], prefix: str) -> Iterator[Setting]:
    for name, field in section_fields(section).items():
        if nested := nested_section(field.type):
            yield from _walk(nested, f"{prefix}{name}.")
            continue
        (meta,) = (meta for meta in getattr(field.type, "__metadata__", ()) if meta.extra)
        yield Setting(key=prefix + name, type=field.type, description=meta.description, **meta.extra)


@functools.cache
def section_fields(section: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """Name → field of a section.

    Cached, because msgspec evaluates all annotations again whenever it is asked, which takes longer than the rest.
    """
    return {field.name: field for field in msgspec.structs.fields(section)}


def nested_section(field_type: Any) -> type[Section] | None:
    """The section in a field, or None.

    It is there directly, or as ``Section | None``; a section that is one of a setting's values is no such one.
    """
    options = typing.get_args(field_type) if isinstance(field_type, types.UnionType) else (field_type,)
    return next((option for option in options if isinstance(option, type) and issubclass(option, Section)), None)
