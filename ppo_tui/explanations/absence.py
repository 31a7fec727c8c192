"""Metrics and settings without a meaning for an algorithm."""

from __future__ import annotations

from .card import SettingsOfRun

_NOT_IN_A3C = frozenset({"ppo.epochs", "ppo.clip_range", "ppo.clip_range_upper", "ppo.target_kl"}) | {
    f"train/{name}"
    for name in (
        "approx_kl", "clip_fraction", "clip_range", "clip_range_upper", "dead_units", "kl", "kl_coef",
        "ratio_error_first", "std",
    )
}  # fmt: skip
"""Live settings and metrics of the other algorithms: each gradient of A3C is a single step of a worker's own policy."""


def several_steps(run: SettingsOfRun) -> bool:
    """Whether an update has several gradient steps.

    In the first one the policy is still the one that acted: no ratio differs from 1.
    """
    return (run.setting("ppo.epochs") or 1) * (run.configured("ppo.minibatches") or 1) > 1


def clips(run: SettingsOfRun) -> bool:
    """Whether ratios can leave 1 within an update, and are clipped then."""
    return run.configured("ppo.surrogate") == "clip" and several_steps(run)


def absence(key: str, run: SettingsOfRun) -> str:
    """The reason for the absence of a metric or setting, or nothing.

    Before the run's start nothing is known to be absent.
    """
    surrogate = run.configured("ppo.surrogate")
    if surrogate is None:
        return ""
    if run.configured("run.algorithm") == "a3c":
        return "A3C has none" if key in _NOT_IN_A3C else ""
    if key in ("train/approx_kl", "train/clip_fraction") and not several_steps(run):
        return "always 0: an update is a single step" + (" (A2C)" if surrogate == "none" else "")
    if key == "train/clip_fraction" and surrogate not in ("clip", "spo"):
        return f"the surrogate {surrogate!r} clips nothing"
    if key in ("ppo.clip_range", "train/clip_range"):
        used = surrogate in ("clip", "spo") or run.configured("ppo.clip_value_loss")
        return "" if used else f"the surrogate {surrogate!r} has none"
    if key in ("ppo.clip_range_upper", "train/clip_range_upper") and surrogate != "clip":
        return f"the surrogate {surrogate!r} has none"
    return ""
