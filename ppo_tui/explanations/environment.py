"""The metrics of an environment's own numbers in words."""

from __future__ import annotations

import dataclasses

from .card import Explanation

_LINK = "extending.md#numbers-in-info"

ENVIRONMENT = (
    Explanation(
        key="rollout/success_rate",
        name="success rate",
        text="The share of the last 100 episodes that ended with `is_success` in the environment's info, as "
        "Stable-Baselines3 logs it; the same number as `env/end/is_success`.",
        formula="mean of is_success in the last step of each episode",
        usual="rises to 1 where the task can always be done",
        link=_LINK,
    ),
    Explanation(
        key="env/…",
        name="from the environment",
        text="A number of this name in the environment's info: its mean over the steps of the newest rollout that "
        "have it, all environments together. Parts of the reward are such numbers.",
        formula="Σ of the number / steps that have it",
        usual="what the environment's author says of it",
        link=_LINK,
    ),
    Explanation(
        key="env/end/…",
        name="at episode ends",
        text="A number of this name in the info of an episode's last step: its mean over the last 100 episodes that "
        "have it.",
        formula="mean of the number in the last step of each episode",
        usual="what the environment's author says of it",
        link=_LINK,
    ),
    Explanation(
        key="eval/env/end/…",
        name="at episode ends, evaluated",
        text="The same over the episodes of the newest evaluation.",
        formula="mean of the number in the last step of each evaluated episode",
        usual="what the environment's author says of it",
        link=_LINK,
    ),
)
"""The last three stand for all names."""


def of_environment(key: str) -> Explanation | None:
    """The explanation of a metric ``env/…``; None of other keys."""
    for pattern in sorted(ENVIRONMENT[1:], key=lambda pattern: -len(pattern.key)):
        if key.startswith(pattern.key.removesuffix("…")):
            return dataclasses.replace(pattern, key=key, name=key.removeprefix("eval/").removeprefix("env/"))
    return None
