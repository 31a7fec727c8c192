"""The commands that score runs, show them at play and compare them. Heavy imports happen inside them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

PlayedArgument = Annotated[
    str, typer.Argument(metavar="RUN|CHECKPOINT", help="A run's name, its directory, `latest`, or a checkpoint's.")
]
CheckpointOption = Annotated[
    str, typer.Option(metavar="latest|best|NAME", help="Which checkpoint of the run.", show_default=True)
]
GreedyOption = Annotated[
    bool | None,
    typer.Option(
        "--greedy/--sampled",
        help="Always the most probable action, or sampled ones as in training. By default sampled on Atari, as its "
        "published scores are, and greedy elsewhere.",
        show_default=False,
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, max=2**31 - 1, metavar="N", help="Which games are played.")]
AllowImportOption = Annotated[
    bool, typer.Option("--allow-import", help="Let the checkpoint name code to import: module:Id, module:Class.")
]
DeviceOption = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the networks live.")]


def evaluate(
    run: PlayedArgument,
    episodes: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="Full games to play.")] = 100,
    greedy: GreedyOption = None,
    checkpoint: CheckpointOption = "latest",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the score, and each game's, as JSON.")] = False,
    allow_import: AllowImportOption = False,
) -> None:
    """Score a trained policy: raw returns of full games, with a 95 % confidence interval."""
    from .runs.chosen import find_checkpoint

    chosen = find_checkpoint(run, checkpoint)
    _say_skipped(chosen.skipped)
    from .sinks.evaluation_table import evaluation_progress, print_evaluation
    from .training.evaluation import evaluate as score

    with evaluation_progress(episodes) as on_game:
        evaluation = score(
            chosen.path,
            episodes=episodes,
            seed=seed,
            greedy=greedy,
            device=device,
            allow_import=allow_import,
            on_game=on_game,
        )
    print_evaluation(chosen.run.name if chosen.run else chosen.path.name, evaluation, as_json=as_json)


def _say_skipped(problems: tuple[str, ...]) -> None:
    for problem in problems:
        print(f"passed over: {problem}", file=sys.stderr)
