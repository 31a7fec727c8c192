"""Resume from a checkpoint: its configuration, and changes since. Imports no torch."""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from ... import __version__
from ...config import (
    LIVE_FIELDS,
    SCHEDULED,
    Config,
    all_settings,
    apply_overrides,
    build_config,
    flat_settings,
    follows_the_run,
    get_value,
    is_rule,
    to_tables,
)
from ...directories import Place
from ...errors import UsageError
from ..stopping import Limits, refuse_reached
from .files import CheckpointState, OpenedCheckpoint, Origin, newest_checkpoint
from .fingerprint import code_fingerprint, same_numbers

_PACKAGES = ("torch", "numpy", "gymnasium", "ale-py", "opencv-python-headless")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of this program, Python and packages with numeric code."""
    found = {"ppo-tui": __version__, "python": platform.python_version()}
    return found | {package: metadata.version(package) for package in _PACKAGES}


class Abandoned(msgspec.Struct, frozen=True):
    """The branch left by a run resumed from an earlier checkpoint.

    Attributes:
        step: the last one recorded.
        seconds: of training recorded so far; the run's clock continues from there.
        best: the highest score so far, as of `CheckpointState`.
    """

    step: int
    seconds: float
    best: float | None


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint to resume from.

    Attributes:
        skipped: problems of newer checkpoints.
        abandoned: what came after the checkpoint; None where it is the newest.
    """

    checkpoint: OpenedCheckpoint
    skipped: tuple[str, ...] = ()
    abandoned: Abandoned | None = None

    @classmethod
    def newest(cls, checkpoints: Place) -> ResumePoint:
        """The newest whole checkpoint in this directory.

        Raises:
            RunFailedError: there is none.
        """
        checkpoint, skipped = newest_checkpoint(checkpoints)
        return cls(checkpoint, tuple(skipped))

    @classmethod
    def at(cls, path: Path) -> ResumePoint:
        """The checkpoint at this path.

        Raises:
            UsageError: there is no whole one.
        """
        return cls(OpenedCheckpoint.open(path))

    @property
    def path(self) -> Path:
        return self.checkpoint.path

    @property
    def state(self) -> CheckpointState:
        return self.checkpoint.state

    @property
    def seconds(self) -> float:
        """Seconds of training so far, for the run's clock."""
        return self.abandoned.seconds if self.abandoned else self.state.seconds

    def config(self, tables: dict[str, Any] | None = None, overrides: Iterable[str] = ()) -> Config:
        """The configuration to resume with: `tables` with `overrides` applied.

        Stop rules that were edited while the run trained are part of it, so that overrides replace them.

        Args:
            tables: by default the checkpoint's.

        Raises:
            UsageError: a fixed setting changes, or there are no steps left to train.
            ConfigError: an override is not valid.
        """
        tables = self._with_edited_rules(self.state.config if tables is None else tables)
        config = build_config(apply_overrides(tables, overrides))
        for key, (old, new) in changed_fixed_settings(build_config(self.state.config), config).items():
            raise UsageError(f"{key} = {new!r}: a resumed run keeps its {old!r}", hint="start a new run to change it")
        if config.planned_steps <= self.state.step:
            raise UsageError(
                f"the run has done {self.state.step:,} steps of {config.run.total_steps:,}",
                hint=f"extend it with --total-steps, for example {2 * self.state.step}",
            )
        limit = config.run.max_episodes
        if limit is not None and self.state.episodes >= limit:
            raise UsageError(
                f"the run has done {self.state.episodes:,} episodes of run.max_episodes = {limit:,}",
                hint=f"extend it with --set run.max_episodes={2 * limit}",
            )
        return config

    def _with_edited_rules(self, tables: dict[str, Any]) -> dict[str, Any]:
        """`tables` with the live edits of stop rules, unless it changes them."""
        before, after = build_config(self.state.config), build_config(tables)
        edited = {
            key.partition(".")[2]: saved.value
            for key, saved in self.state.settings.items()
            if is_rule(key) and saved.value != get_value(before, key) == get_value(after, key)
        }
        if not edited:
            return tables
        return {**tables, "stop": {**tables.get("stop", {}), **edited}}

    def refuse_reached(self, config: Config) -> None:
        """Refuse to continue under stop rules of `config` already holding.

        Raises:
            UsageError: with the rule, and how to continue.
        """
        stop = config.stop
        goal = stop.at if isinstance(stop.at, float) else None
        limits = Limits(rules=stop, goal=goal, plateau=stop.plateau, after=stop.after)
        refuse_reached(limits, self.state.stop, self.state.seconds)

    def check_code(self) -> None:
        """Refuse a checkpoint of a program with other numbers.

        Raises:
            UsageError: with both fingerprints.
        """
        if not same_numbers(self.state.origin.code, code := code_fingerprint()):
            raise UsageError(
                f"the program has changed since the checkpoint: code {self.state.origin.code} → {code}",
                hint="--force resumes with the present program; its numbers may differ from the old one's",
            )


def changed_settings(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted name → values before and after, of changed settings."""
    old, new = dict(flat_settings(to_tables(before))), dict(flat_settings(to_tables(after)))
    keys = dict.fromkeys([*old, *new])
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def changed_fixed_settings(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """As `changed_settings`, only those fixed by a checkpoint."""
    return {
        key: values
        for key, values in changed_settings(before, after).items()
        if all_settings()[key].on_resume == "fixed"
    }


def changed_experiment(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """As `changed_settings`, without the seed and harmless settings."""
    changes = changed_settings(before, after)
    return {key: values for key, values in changes.items() if key != "run.seed" and not _is_harmless(key)}


def _is_harmless(key: str) -> bool:
    return all_settings()[key].on_resume == "harmless"


def live_changes(before: Config, after: Config) -> dict[str, Any]:
    """Dotted name → value after, of changed live settings."""
    return {key: get_value(after, key) for key in LIVE_FIELDS if get_value(before, key) != get_value(after, key)}


def differences(saved: CheckpointState, config: Config, origin: Origin) -> tuple[str, ...]:
    """Differences from the saving process with an effect on numbers, in words."""
    before = build_config(saved.config)
    found = []
    for key, (old, new) in changed_settings(before, config).items():
        if key == "run.total_steps":
            if any(follows_the_run(config, setting) for setting in SCHEDULED):
                found.append(f"{key} {old:,} → {new:,}: annealing now ends there")
        elif not _is_harmless(key):
            found.append(f"{key} {old} → {new}")
    if config.run.algorithm == "a3c":
        found.append("workers begin new episodes, and learn in an order that depends on their timing")
    return (*found, *_differing_origin(saved.origin, origin))


def _differing_origin(before: Origin, after: Origin) -> Iterator[str]:
    for package in dict.fromkeys([*before.versions, *after.versions]):
        old, new = before.versions.get(package), after.versions.get(package)
        if old != new:
            yield f"{package} {old} → {new}"
    if not same_numbers(before.code, after.code):
        yield f"code {before.code} → {after.code}"
    for name, words in (
        ("cpu", "CPU"),
        ("device", "device"),
        ("act_threads", "threads while acting"),
        ("learn_threads", "threads while learning"),
        ("groups", "worker groups"),
        ("ranks", "processes that learn together"),
    ):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"{words} {old} → {new}"
