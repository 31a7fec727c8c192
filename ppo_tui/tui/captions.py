"""Sentences on an inspected update, one for each of its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..plotting import formats
from ..protocol import UpdateInspected

_ROUNDING = 1e-9
"""Divergence below which the policy has not moved."""

FEW_LEFT = 0.95
"""Share of one action from which on hardly anything is explored."""


def on_ratios(event: UpdateInspected) -> str:
    """The clipped steps, by side."""
    clip = event.clip
    if not clip.steps:
        return "Not seen: with run.compile the learner has no ratios of single steps in hand."
    if event.clip_low is None or event.clip_high is None:
        return _without_bounds(event)
    bounds = f"{bound(event.clip_low)}–{bound(event.clip_high)}"
    if not clip.outside:
        return f"No ratio has left {bounds}: all {clip.steps:,} steps still push the policy."
    parts = [f"{_percent(clip.outside, clip.steps)} of {clip.steps:,} steps are outside {bounds}"]
    moved = clip.risen + clip.fallen + clip.capped
    if moved:
        what = "are led back by SPO" if event.surrogate == "spo" else "no longer push"
        sides = f"{_percent(clip.risen, clip.steps)} likelier, {_percent(clip.fallen, clip.steps)} less likely"
        capped = f", {_percent(clip.capped, clip.steps)} beyond the dual clip" if clip.capped else ""
        parts.append(f"{_percent(moved, clip.steps)} {what} ({sides}{capped})")
    if clip.astray:
        parts.append(f"{_percent(clip.astray, clip.steps)} moved against their advantage and still push back")
    return f"{parts[0]}: {', '.join(parts[1:])}." if parts[1:] else f"{parts[0]}, none of which pushes."


def _without_bounds(event: UpdateInspected) -> str:
    if event.surrogate == "none":
        return "No bounds: this surrogate is meant for one step, in which every ratio is 1."
    return "No bounds: a penalty on the divergence, not a clip, keeps the ratios near 1."


def on_advantages(event: UpdateInspected) -> str:
    """How many steps went better than expected."""
    if event.better is None:
        return "No advantage is a number."
    if not event.advantage_std:
        return "All advantages are equal: no action was better than another."
    mean, std = formats.number(event.advantage_mean), formats.number(event.advantage_std)
    return f"{_percent(event.better, 1)} of the steps went better than the critic expected; {mean} ± {std}."


def on_log_probs(event: UpdateInspected) -> str:
    """How sure the policy was of its actions."""
    mean = event.log_prob_mean
    if mean is None:
        return "No log-probability is a number."
    if event.means:
        return f"The mean is {formats.number(mean)}; these are densities, which may be above 0."
    probability = _percent(math.exp(min(mean, 0.0)), 1)
    return f"The mean is {formats.number(mean)}: a typical action had a probability of {probability}."


def on_values(event: UpdateInspected) -> str:
    """How well the critic foresees the returns."""
    share = event.explained_variance
    if share is None or math.isnan(share):
        return "All returns are equal: there is nothing to explain."
    if share < 0:
        return f"The critic is worse than a constant guess: explained variance {formats.number(share)}."
    word = "nearly all" if share > 0.9 else "most" if share > 0.5 else "little" if share > 0.1 else "nothing"
    return (
        f"The critic explains {word} of the returns' variance ({formats.number(share)}); on the diagonal a value is "
        "exactly right."
    )


def on_divergence(event: UpdateInspected) -> str:
    """How far the policy has moved in the update."""
    kl, clipped = _ends(event.columns.approx_kl), _ends(event.columns.clip_fraction)
    if kl is None or clipped is None:
        return "No minibatch was finite."
    if len(event.columns.epoch) == 1:
        which = "first" if event.epochs * event.minibatches > 1 else "only"
        return f"KL {formats.number(kl[1])}, {_percent(clipped[1], 1)} clipped, before the {which} step."
    return (
        f"From the first minibatch to the newest KL went from {_of_kl(kl[0])} to {_of_kl(kl[1])}, "
        f"clipped from {_percent(clipped[0], 1)} to {_percent(clipped[1], 1)}."
    )


def on_losses(event: UpdateInspected) -> str:
    """The course of the losses in the update."""
    columns = (
        ("policy loss", event.columns.policy_loss),
        ("value loss", event.columns.value_loss),
        ("entropy", event.columns.entropy),
    )
    parts = [
        f"{name} {formats.number(ends[0])} → {formats.number(ends[1])}"
        for name, column in columns
        if (ends := _ends(column)) is not None
    ]
    return f"First and newest minibatch: {', '.join(parts)}." if parts else "No minibatch was finite."


def on_layers(event: UpdateInspected) -> str:
    """The largest gradient, and the number of dead units."""
    known = [layer for layer in event.layers if layer.grad_norm is not None and math.isfinite(layer.grad_norm)]
    largest = max(known, key=lambda layer: layer.grad_norm or 0.0, default=None)
    parts = ["No gradient was finite" if largest is None else f"The gradient is largest in {largest.name}"]
    counted = [layer for layer in event.layers if layer.units]
    if counted:
        dead, units = sum(layer.dead or 0 for layer in counted), sum(layer.units or 0 for layer in counted)
        parts.append(f"{dead:,} of {units:,} units are dead" if dead else f"none of {units:,} units is dead")
    else:
        parts.append("dead units are counted for ReLU and tanh alone, and not with run.compile")
    return f"{'; '.join(parts)}."


def on_actions(event: UpdateInspected) -> str:
    """The action taken most."""
    if event.means:
        return f"{len(event.means)} dimensions, as mean ± standard deviation of the actions taken in this rollout."
    if not event.choices:
        return "No actions."
    shares = event.choices[0]
    best = max(range(len(shares)), key=lambda index: shares[index])
    name = action_name(event, 0, best)
    end = ": hardly any exploration is left." if shares[best] >= FEW_LEFT and len(shares) > 1 else "."
    return f"The action taken most is {name}, in {_percent(shares[best], 1)} of the steps{end}"


def bound(ratio: float) -> str:
    """A clip bound to two digits beyond 1: 0.8, 1.0012."""
    distance = abs(ratio - 1.0)
    decimals = max(2, 1 - math.floor(math.log10(distance))) if distance else 2
    return f"{ratio:.{decimals}f}".rstrip("0").rstrip(".")


def action_name(event: UpdateInspected, choice: int, action: int) -> str:
    """The name of an action, or its number."""
    if event.other_actions and action == len(event.choices[choice]) - 1:
        return f"{event.other_actions:,} others"
    if choice == 0 and action < len(event.action_names):
        return event.action_names[action]
    return f"{choice}:{action}" if len(event.choices) > 1 else f"action {action}"


def _of_kl(value: float) -> str:
    """A divergence, 0.00 for one of rounding alone."""
    return formats.number(value if abs(value) >= _ROUNDING else 0.0)


def _ends(column: Sequence[float | None]) -> tuple[float, float] | None:
    """The first and the last number."""
    numbers = [number for number in column if number is not None and math.isfinite(number)]
    return (numbers[0], numbers[-1]) if numbers else None


def _percent(part: float, whole: float) -> str:
    """A share, such as 4 % or 0.4 %."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.1f} %" if 0 < percent < 9.95 else f"{percent:.0f} %"
