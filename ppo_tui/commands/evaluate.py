"""The commands that score runs, show them at play and compare them. Heavy imports happen inside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError, did_you_mean
from .options import AsciiOption, FpsOption, ThemeOption, has_screen, screen_options

SEEDED_GAMES = 1_000
"""Games that have a seed each where there is no end to them; those after them follow from the last."""

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
    from ..runs.select import find_checkpoint

    chosen = find_checkpoint(run, checkpoint)
    say_skipped(chosen.skipped)
    from ..training.evaluation.evaluate import evaluate as score
    from .evaluation_table import evaluation_progress, print_evaluation

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
    print_evaluation(chosen.run_dir.name if chosen.run_dir else chosen.path.name, evaluation, as_json=as_json)


def watch(
    run: PlayedArgument,
    episodes: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Full games; without end on the screen, 1 in a file.")
    ] = None,
    greedy: GreedyOption = None,
    checkpoint: CheckpointOption = "latest",
    seed: SeedOption = 0,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE.gif|.mp4", help="Record the games; needs no terminal.")
    ] = None,
    fps: FpsOption = None,
    device: DeviceOption = "auto",
    theme: ThemeOption = None,
    ascii: AsciiOption = False,
    allow_import: AllowImportOption = False,
) -> int:
    """Watch a trained policy play the games of eval, with its probabilities and values; nothing is learnt."""
    screen = has_screen()
    if record is None and not screen:
        raise UsageError("watch needs a terminal", hint="or a file: --record game.gif")
    from ..runs.select import find_checkpoint

    chosen = find_checkpoint(run, checkpoint)
    say_skipped(chosen.skipped)
    name = chosen.run_dir.name if chosen.run_dir else chosen.path.name
    if record is not None:
        from ..sinks.recording import check_recording

        check_recording(record)
    options = screen_options(theme, ascii, fps)
    from ..training.evaluation.setup import start_evaluation
    from .watch import watch_into_file, watch_on_screen

    stage = start_evaluation(
        chosen.path,
        episodes=episodes or SEEDED_GAMES,
        num_envs=1,
        steps=1,
        seed=seed,
        greedy=greedy,
        device=device,
        allow_import=allow_import,
    )
    board = chosen.run_dir.tensorboard if chosen.run_dir else None
    if screen:
        return watch_on_screen(stage, options, name=name, episodes=episodes, record=record, board=board)
    return watch_into_file(stage, record, name=name, episodes=episodes or 1, board=board)


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN…", help="Names or directories of runs, seeds of one another.")
    ],
    metric: Annotated[str, typer.Option(metavar="KEY", help="Which metric of metrics.jsonl.")] = "rollout/ep_rew_mean",
    by: Annotated[
        str, typer.Option(metavar="preset|name|env", help="Which runs are averaged.", show_default=True)
    ] = "preset",
    statistic: Annotated[str, typer.Option(metavar="mean|iqm", help="Which curves are drawn.")] = "mean",
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the curves as CSV.")] = None,
    figure: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png|.svg", help="Draw the curves into a file.")
    ] = None,
    ascii: AsciiOption = False,
) -> None:
    """Compare runs and seeds: mean and interquartile mean with 95 % bootstrap intervals, as curves and a table."""
    _one_of("--by", by, ("preset", "name", "env"))
    _one_of("--statistic", statistic, ("mean", "iqm"))
    from ..comparison.curves import group_curve
    from ..comparison.export import check_figure, write_csv, write_figure
    from ..comparison.groups import group_runs, read_run
    from ..runs import find_run
    from .compare import print_comparison

    if figure is not None:
        check_figure(figure)
    found = {run.path.resolve(): run for run in map(find_run, runs)}
    curves = [group_curve(group) for group in group_runs([read_run(run, metric) for run in found.values()], by)]
    if csv is not None:
        write_csv(csv, curves)
    if figure is not None:
        write_figure(figure, curves, metric=metric, statistic=statistic)
    print_comparison(curves, metric=metric, statistic=statistic, ascii=ascii)


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises: UsageError, where the value is none of the choices."""
    if value not in choices:
        hint = did_you_mean(value, choices, otherwise=f"choose one of {', '.join(choices)}")
        raise UsageError(f"{option} {value!r}: there is no such choice", hint=hint)


def say_skipped(problems: tuple[str, ...]) -> None:
    """Say on stderr what was wrong with newer checkpoints than the one that is used."""
    for problem in problems:
        print(f"passed over: {problem}", file=sys.stderr)
