"""The experiments of `benchmarks.results`, with published scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ppo_tui.errors import UsageError, did_you_mean

ZOO = "[rl-baselines3-zoo](https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/benchmark.md)"
MODEL_CARD = "[rl-baselines3-zoo's model](https://huggingface.co/sb3/ppo_lstm-CartPoleNoVel-v1)"
CLEANRL = "[CleanRL](https://docs.cleanrl.dev/rl-algorithms/ppo/)"


@dataclass(frozen=True)
class Experiment:
    """A preset, trained with several seeds and scored.

    Attributes:
        published: a published score with its number of steps, if there is one.
        source: of the published score.
        target: mean return to reach, or None.
        until: environment steps after which it is stopped, with the schedules of the preset's whole length; None
            trains to the end.
        atari: score sampled actions too, as the published scores do.
        one_core: train on one core: two such runs side by side take less time than one after the other.
    """

    preset: str
    published: str = "none"
    source: str = ""
    target: float | None = None
    until: int | None = None
    atari: bool = False
    one_core: bool = True


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment("cartpole", "500 ± 0 at 100k", ZOO, target=500),
    Experiment("cartpole-fast", target=500),
    Experiment("acrobot", "−73.5 ± 18.2 at 1M", ZOO, target=-80),
    Experiment("pendulum", "−172.2 ± 104.2 at 100k (with gSDE)", ZOO, target=-200),
    Experiment("mountaincar", "−110.4 ± 19.5 at 1M", ZOO),
    Experiment("lunarlander", "242.1 ± 31.8 at 1M", ZOO, target=240),
    Experiment("lunarlander-continuous", "270.9 ± 32.1 at 1M", ZOO),
    Experiment("bipedalwalker", "213.3 ± 129.5 at 5M", ZOO),
    Experiment("cartpole-masked", "500 ± 0 at 100k", MODEL_CARD, target=500),
    Experiment("cartpole-tutorial"),
    Experiment("a2c-cartpole", "500 ± 0 at 500k", ZOO),
    Experiment("a3c-cartpole", one_core=False),
    Experiment("breakout", "414.7 ± 28.1 at 10M", CLEANRL, until=212_000, atari=True, one_core=False),
    Experiment("pong", "20.36 ± 0.20 at 10M", CLEANRL, until=50_000, atari=True, one_core=False),
    Experiment("breakout-fast", target=100, atari=True, one_core=False),
    Experiment("pong-fast", target=18, atari=True, one_core=False),
    Experiment("pong-lstm", "19.81 ± 0.62 at 10M", CLEANRL, until=500_000, atari=True, one_core=False),
    Experiment("a3c-pong", until=500_000, atari=True, one_core=False),
)


def find_experiments(presets: Sequence[str]) -> list[Experiment]:
    """The experiments of these presets; all without names.

    In the order of `EXPERIMENTS`.

    Raises:
        UsageError: there is no experiment of that name.
    """
    known = {experiment.preset: experiment for experiment in EXPERIMENTS}
    for preset in presets:
        if preset not in known:
            hint = did_you_mean(preset, known, otherwise=f"there are {', '.join(known)}")
            raise UsageError(f"--presets {preset!r}: there is no such experiment", hint=hint)
    return [experiment for name, experiment in known.items() if not presets or name in presets]
