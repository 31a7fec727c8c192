"""Rows of hostile inputs: stop rules, sources of first weights, and checkpoints to go back to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from .hostile import FILES, NUMBERS, RUNS, WORDS, ZIPS, Row, Spoil, make

_TRAIN = ["--preset", "cartpole", "--headless", "--quiet", "--name", "new", "--total-steps", "256", "--workers", "1"]
_REFUSED = [*_TRAIN, "--device", "cuda:99"]

PLACES: dict[str, Callable[[str], list[str]]] = {
    "until": lambda word: [*_REFUSED, "--until", word],
    "until-metric": lambda word: [*_REFUSED, "--until", f"env/{word}=1"],
    "until-value": lambda word: [*_REFUSED, "--until", f"rollout/ep_rew_mean={word}"],
    "until-resume": lambda word: ["resume", "ok", "--headless", "--until", f"{word},"],
    "init": lambda word: [*_REFUSED, "--init-from", word],
    "init-at": lambda word: [*_REFUSED, "--init-from", f"ok@{word}"],
    "init-zip": lambda word: [*_REFUSED, "--init-from", f"{word}.zip"],
    "back": lambda word: ["resume", "ok", "--headless", "--yes", "--checkpoint", f"{word}-"],
    "back-at": lambda word: ["resume", f"ok@{word}", "--headless"],
}
"""Where a word may stand."""

TIMES = ("0s", "-5min", "1d1d", "1h2d", "1.5.5h", "99999999d", "9" * 400 + "d", "1e5min", "1_0s", "\u0661\u0662min")

SETTINGS = (
    "stop.metric", "stop.at", "stop.better", "stop.window", "stop.held", "stop.plateau", "stop.gain", "stop.after",
    "run.init_from",
)  # fmt: skip


def _links(name: str, target: str) -> Spoil:
    def change(run: Path) -> None:
        link = run / "checkpoints" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    return change


def _in_place_of_checkpoint(put: Spoil) -> Spoil:
    def change(run: Path) -> None:
        newest = (run / "checkpoints" / "latest").resolve()
        shutil.move(newest, run.parents[1] / "elsewhere")
        put(newest)

    return change


OTHERS: dict[str, Spoil] = {
    "best-outside": _links("best", "../../../victim"),
    "best-loop": _links("best", "best"),
    "best-escapes": _links("best", "\x1b[31m\u202e"),
    "checkpoint-link": _in_place_of_checkpoint(lambda path: path.symlink_to(path.parents[3] / "elsewhere")),
    "checkpoint-pipe": _in_place_of_checkpoint(os.mkfifo),
    "checkpoint-file": _in_place_of_checkpoint(Path.touch),
    "checkpoint-empty": _in_place_of_checkpoint(Path.mkdir),
}
"""Further ways to spoil a run."""

COMMANDS = {
    "init": [*_TRAIN, "--init-from", "bad"],
    "init-best": [*_TRAIN, "--init-from", "bad@best"],
    "back": ["resume", "bad", "--headless", "--quiet", "--yes", "--total-steps", "512", "--checkpoint", "256"],
    "back-best": ["resume", "bad", "--headless", "--quiet", "--yes", "--total-steps", "512", "--checkpoint", "best"],
    "export": ["export", "bad", "--output", "out"],
    "watch": ["watch", "bad", "--record", "out.gif", "--episodes", "1"],
}


def words() -> Iterator[Row]:
    """Rows of words, numbers and times on the command line."""
    for place, argv in PLACES.items():
        for word, text in WORDS.items():
            yield Row(f"{place} {word}", argv(text))
    for time in (*TIMES, *NUMBERS):
        yield Row(f"until time {time[:20]} of {len(time)}", PLACES["until"](time))
    yield Row("until many", [*_REFUSED, *["--until", "1"] * 2_000])
    for key in SETTINGS:
        for number in (*NUMBERS, "[" + "1," * 20_000 + "1]", '"torn\udc80"'):
            yield Row(f"{key} {number[:20]}", [*_REFUSED, "--set", f"{key}={number}"])


def files() -> Iterator[Row]:
    """Rows of files that are no models, as sources."""
    for name, content in {**FILES, **ZIPS}.items():
        yield Row(
            f"init file {name}",
            [*_REFUSED, "--init-from", "x\x1b[31m.zip"],
            lambda world, c=content: make(world / "x\x1b[31m.zip", c),
            heavy=True,
        )


def runs() -> Iterator[Row]:
    """Rows of spoilt runs, as sources and to go back in."""
    for spoilt, spoil in {**RUNS, **OTHERS}.items():
        for command, argv in COMMANDS.items():

            def prepare(world: Path, spoil: Spoil = spoil) -> None:
                shutil.copytree(world / "runs" / "ok", world / "runs" / "bad", symlinks=True)
                spoil(world / "runs" / "bad")

            yield Row(f"source {spoilt} {command}", argv, prepare, heavy=True)


def table() -> list[Row]:
    """All rows."""
    return [*words(), *files(), *runs()]
