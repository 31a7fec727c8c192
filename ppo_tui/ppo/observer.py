"""Observers of an update, minibatch by minibatch."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from torch import Tensor

from .minibatches import Minibatch

MEANS = ("policy_gradient_loss", "value_loss", "entropy_loss", "loss", "approx_kl", "clip_fraction")
"""Names of the means over a minibatch."""


class Learned(NamedTuple):
    """The results of one minibatch; no tensor has a gradient.

    Attributes:
        epoch, minibatch: its numbers, from 1.
        batch: the minibatch itself.
        log_probs, values: of the policy before the step, `[B]`; None where the objective is compiled.
        means: by `MEANS`, `[len(MEANS)]`.
        grad_norm: before clipping.
        finite: whether loss and gradient were finite, so that the optimiser took its step.
        ratio_error: the largest |rₜ − 1|.
    """

    epoch: int
    minibatch: int
    batch: Minibatch
    log_probs: Tensor | None
    values: Tensor | None
    means: Tensor
    grad_norm: Tensor
    finite: Tensor
    ratio_error: Tensor


class Observer:
    """An observer of an update; this one looks at nothing.

    Another one may read what it is given, and the policy with its gradients. It changes nothing and draws no random
    number, so that an update has the same bits whoever observes it.
    """

    def looking(self) -> contextlib.AbstractContextManager[None]:
        """Surround the forward pass and the step of each minibatch."""
        return contextlib.nullcontext()

    def learned(self, result: Learned) -> None:
        """Take in the results of a minibatch.

        It may wait, or raise to abandon the update; the optimiser steps before that remain.
        """


NOBODY = Observer()
