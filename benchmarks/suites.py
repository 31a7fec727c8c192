"""The suites of benchmarks, and their cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ppo_tui.errors import UsageError, did_you_mean

RATE = "steps_per_second"
"""The figure of the ratios: agent steps a second, of all environments together."""


@dataclass(frozen=True)
class Case:
    """One contender at one kind of work.

    Attributes:
        function: ``module:name`` of the measurement: from an `Effort` and `arguments` to figures.
        needs: the measured distribution, unless it is one of our own dependencies.
    """

    name: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    needs: str | None = None


@dataclass(frozen=True)
class Suite:
    """Cases with the same work, measured in turns.

    Attributes:
        reference: the case to compare with: ratios are its rate divided by another's; None for no ratios.
        one_round: a single round is enough, because the figures do not drift.
    """

    name: str
    title: str
    cases: tuple[Case, ...]
    reference: str | None = None
    one_round: bool = False


_BF16, _OVERLAP = ("policy.precision=bf16",), ("run.overlap=true",)
_SB3, _ENVPOOL = "stable-baselines3", "envpool"

SUITES = (
    Suite(
        "training",
        "Training, Breakout, 8 envs × 128 steps",
        (
            Case("ours", "benchmarks.ours:training"),
            Case("ours-bf16", "benchmarks.ours:training", {"overrides": _BF16}),
            Case("ours-overlap", "benchmarks.ours:training", {"overrides": _OVERLAP}),
            Case("ours-overlap-bf16", "benchmarks.ours:training", {"overrides": (*_OVERLAP, *_BF16)}),
            Case("sb3-dummy", "benchmarks.sb3:training", {"vec_env": "DummyVecEnv"}, needs=_SB3),
            Case("sb3-subproc", "benchmarks.sb3:training", {"vec_env": "SubprocVecEnv"}, needs=_SB3),
            Case("envpool-cleanrl", "benchmarks.envpool_peer:training", needs=_ENVPOOL),
            Case("limit", "benchmarks.limit:limit"),
        ),
        reference="ours",
    ),
    Suite(
        "arithmetic",
        "The learner's layers, one thread",
        (Case("layers", "benchmarks.arithmetic:arithmetic"),),
    ),
    Suite(
        "sampling",
        "Sampling with random actions, 8 envs",
        (
            Case("ours-pool", "benchmarks.ours:sampling"),
            Case("gymnasium-async", "benchmarks.samplers:gymnasium_async"),
            Case("ale-vector", "benchmarks.samplers:ale_vector"),
            Case("envpool", "benchmarks.envpool_peer:sampling", needs=_ENVPOOL),
            Case("raw-emulator", "benchmarks.samplers:raw_emulator"),
            Case("raw-same-frames", "benchmarks.samplers:emulator_by_the_rules"),
        ),
        reference="ours-pool",
    ),
    Suite(
        "envs",
        "Training, by environments",
        tuple(Case(f"ours-{n}-envs", "benchmarks.ours:training", {"num_envs": n}) for n in (1, 2, 4, 8, 16)),
        reference="ours-8-envs",
    ),
    Suite(
        "workers",
        "Sampling with 8 envs, by workers",
        tuple(Case(f"ours-{w}-workers", "benchmarks.ours:sampling", {"num_workers": w}) for w in (1, 2, 4)),
        reference="ours-2-workers",
    ),
    Suite(
        "screen",
        "Training behind the screen, 120×40",
        (
            Case("screen-on", "benchmarks.screen:training", {"screen": True}),
            Case("screen-no-game", "benchmarks.screen:training", {"screen": True, "fps": 0.0}),
            Case("screen-off", "benchmarks.screen:training", {"screen": False}),
        ),
        reference="screen-on",
    ),
    Suite(
        "screen-within",
        "Training behind the screen, within one run",
        (Case("screen-cost", "benchmarks.dimmed:cost"),),
        one_round=True,
    ),
    Suite(
        "screen-mechanisms",
        "What of a screen costs the training, within one run",
        (Case("screen-mechanisms", "benchmarks.dimmed:mechanisms"),),
        one_round=True,
    ),
    Suite(
        "charts",
        "Painting 4 curves of 20,000 points at 120×40",
        (Case("chart-paint", "benchmarks.charts:paint"),),
    ),
    Suite("keys", "A key while training, 120×40", (Case("key-reaction", "benchmarks.keys:reaction"),), one_round=True),
    Suite("memory", "Memory of a training run", (Case("memory", "benchmarks.memory:memory"),), one_round=True),
    Suite(
        "startup",
        "Start-up",
        (
            Case("help", "benchmarks.startup:show_help"),
            Case("workers-ready", "benchmarks.startup:workers_ready"),
            Case("first-frame", "benchmarks.startup:first_frame"),
        ),
    ),
)


def find_suites(names: list[str]) -> tuple[Suite, ...]:
    """The suites of these names, in order; all without names.

    Raises:
        UsageError: there is no such suite.
    """
    known = [suite.name for suite in SUITES]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, otherwise=f"suites: {', '.join(known)}")
            raise UsageError(f"unknown suite {name!r}", hint=hint)
    return tuple(suite for suite in SUITES if not names or suite.name in names)


def find_case(name: str) -> Case:
    """The case of this name.

    Raises:
        UsageError: there is no such case.
    """
    known = {case.name: case for suite in SUITES for case in suite.cases}
    if name not in known:
        hint = did_you_mean(name, known, otherwise=f"cases: {', '.join(known)}")
        raise UsageError(f"unknown case {name!r}", hint=hint)
    return known[name]
