"""Updates of the learner, as seen from within."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .base import Event, Whole


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of numbers in bins of equal width; NaN is in none.

    Attributes:
        low, high: the lower edge of the first bin, and the upper edge of the last.
        counts: one a bin.
        below, above: of the numbers beyond the edges.
    """

    low: float
    high: float
    counts: Annotated[tuple[Whole, ...], msgspec.Meta(min_length=1)]
    below: Whole = 0
    above: Whole = 0


class LayerReading(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of the networks in an update.

    Attributes:
        grad_norm: of its gradient before clipping, mean over the minibatches of the epoch.
        units, dead: units of the nonlinearity behind it, and how many of them were dead in the newest minibatch; None
            where they are not counted.
    """

    name: str
    grad_norm: float | None
    units: Whole | None = None
    dead: Whole | None = None


class MinibatchColumns(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of the minibatches of an update, in order.

    Each column has one entry a minibatch.

    Attributes:
        epoch: from 1.
        approx_kl, clip_fraction, policy_loss, value_loss, entropy: before the optimiser's step; None if not finite.
        grad_norm: before clipping.
    """

    epoch: tuple[Whole, ...] = ()
    approx_kl: tuple[float | None, ...] = ()
    clip_fraction: tuple[float | None, ...] = ()
    policy_loss: tuple[float | None, ...] = ()
    value_loss: tuple[float | None, ...] = ()
    entropy: tuple[float | None, ...] = ()
    grad_norm: tuple[float | None, ...] = ()


class ClipCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Steps by probability ratio r and sign of the advantage Â.

    Attributes:
        steps: all of them.
        outside: those with r beyond a bound; the counts below are parts of it.
        risen: Â > 0 and r above the upper bound: it has become as likely as it may.
        fallen: Â < 0 and r below the lower bound: it has become as unlikely as it may.
        astray: beyond the bound on the other side, against the advantage.
        capped: Â < 0 and r beyond the dual clip.
    """

    steps: Whole = 0
    outside: Whole = 0
    risen: Whole = 0
    fallen: Whole = 0
    astray: Whole = 0
    capped: Whole = 0


class UpdateInspected(Event, frozen=True, kw_only=True, tag="update-inspected"):
    """Transient: an update as the learner sees it.

    Measured on request (see `WatchUpdate`). Published after the update, and between two minibatches while it is stepped
    through. Of those after an update some are recorded, so that a replay has them.

    Attributes:
        epoch, epochs, minibatch, minibatches: of the newest minibatch, from 1.
        done: the update has ended.
        surrogate: as ``ppo.surrogate``.
        clip_low, clip_high: 1 − ε and 1 + ε; None where the surrogate has no bounds.
        ratio_up, ratio_down: probability ratios of this epoch's steps so far, of those with Â ≥ 0 and with Â < 0, Â as
            in the loss.
        clip: the same steps by bound and advantage.
        advantages, log_probs: of all steps of the rollout, before any normalisation and of the policy that acted.
        better: share (0..1) of the steps with an advantage above 0.
        values, returns: V(s) of the critic that acted and its target, of a few hundred steps.
        explained_variance: of all steps.
        choices: of discrete actions: the share of each action (0..1), for each choice of a step. The last share is
            that of all `other_actions` together, if there are any.
        action_names: of the first choice; empty where the environment names none.
        means, stds: of each dimension of continuous actions, as the policy counts them.
        layers: from observation to head.
        columns: of the minibatches measured.
        every: one of so many minibatches is in `columns`.
    """

    update: Whole
    epoch: Whole
    epochs: Whole
    minibatch: Whole
    minibatches: Whole
    done: bool
    surrogate: str
    clip_low: float | None = None
    clip_high: float | None = None
    ratio_up: Histogram
    ratio_down: Histogram
    clip: ClipCounts
    advantages: Histogram
    advantage_mean: float | None
    advantage_std: float | None
    better: float | None = None
    log_probs: Histogram
    log_prob_mean: float | None
    values: tuple[float | None, ...]
    returns: tuple[float | None, ...]
    explained_variance: float | None
    choices: tuple[Annotated[tuple[float, ...], msgspec.Meta(min_length=1)], ...] = ()
    other_actions: Whole = 0
    action_names: tuple[str, ...] = ()
    means: tuple[float | None, ...] = ()
    stds: tuple[float | None, ...] = ()
    layers: tuple[LayerReading, ...] = ()
    columns: MinibatchColumns
    every: Whole = 1

    def __post_init__(self) -> None:
        """Refuse parts of different lengths in one place.

        Raises:
            ValueError: naming them; of a line of JSON, msgspec makes it a ValidationError.
        """
        columns = (getattr(self.columns, name) for name in self.columns.__struct_fields__)
        for names, parts in (
            ("ratio_up and ratio_down", (self.ratio_up.counts, self.ratio_down.counts)),
            ("means and stds", (self.means, self.stds)),
            ("columns", tuple(columns)),
        ):
            if len({len(part) for part in parts}) > 1:
                raise ValueError(f"{names} differ in length")
