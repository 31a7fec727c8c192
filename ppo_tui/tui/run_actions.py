"""Actions of the list of runs on a run.

For threads: they read disks and wait for processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from textual.content import Content

from ..errors import PPOTuiError, UsageError
from ..plotting import formats
from ..plotting.series import Series
from ..protocol import Stop
from ..runs import RunDirectory, RunSummary
from ..runs.background import resume_detached
from ..runs.client import steer
from ..runs.deletion import delete_run, weigh
from ..runs.history import recorded_metrics
from ..runs.select import saved_config
from ..text import one_line
from ..training.checkpoint.resume import changed_settings
from .cells import longest, padded
from .run_list import score_of
from .session import AttachedSession, ReplaySession, Session


def open_session(path: str, *, readonly: bool) -> Session:
    """A session with a run: attached while it trains, else replayed.

    Args:
        readonly: never steer it.

    Raises:
        UsageError: it does not answer, or there is no record.
    """
    run_dir = RunDirectory(Path(path))
    if run_dir.holder is not None:
        try:
            return AttachedSession(run_dir, readonly=readonly)
        except UsageError:
            if run_dir.holder is not None:
                raise
    return ReplaySession(run_dir.events)


def stop(path: str) -> str:
    """Save and stop the run; return its end in words.

    Raises:
        PPOTuiError: it has ended already, does not answer, or belongs to somebody else.
    """
    outcome = steer(RunDirectory(Path(path)), Stop(reason="stopped from the list of runs"))
    return f"{Path(path).name}: {outcome}"


def resume(path: str) -> str:
    """Continue an ended run in the background; return the outcome.

    Raises:
        PPOTuiError: it is running, or refuses to; the message is its own.
    """
    return resume_detached(RunDirectory(Path(path)))


def loss_of(path: str) -> str:
    """The loss by a deletion, in words.

    Raises:
        UsageError: it is no run directory, a link, or cannot be entered.
    """
    return weigh(Path(path)).words


def delete(path: str) -> str:
    """Delete an ended run; return the outcome.

    Raises:
        UsageError: it is not deleted, and why.
    """
    delete_run(Path(path))
    return f"{one_line(Path(path).name)} is deleted"


# ── Comparing ───────────────────────────────────────────────────────────────────────────────────────────────

_VALUE = 14
_NAME = 22
"""Cells of the name in a comparison, which with its numbers and its state has room in 76."""

_MOST_COLUMNS = 4


def settings_table(runs: Mapping[str, RunSummary]) -> Content:
    """The differing settings of runs, as configured.

    Args:
        runs: by the letters that they are known by.
    """
    configs, lines = {}, []
    for letter, run in runs.items():
        lines.append(Content.assemble((f"{letter} ", "bold $primary"), one_line(run.name)))
        try:
            configs[letter] = saved_config(RunDirectory(Path(run.path)))
        except (OSError, PPOTuiError) as error:
            lines.append(Content.assemble((f"  its settings cannot be read: {one_line(str(error))}", "$warning")))
    lines.append(Content(""))
    if len(configs) < 2:
        return Content("\n").join([*lines, Content("there are no two runs with readable settings")])
    (_, first), *others = configs.items()
    changes = {letter: changed_settings(first, config) for letter, config in others}
    keys = sorted({key for changed in changes.values() for key in changed})
    if not keys:
        return Content("\n").join([*lines, Content("their settings are the same")])
    width = max(map(len, keys))
    table = len(configs) <= _MOST_COLUMNS
    if table:
        lines.append(
            Content.assemble((f"{'':<{width}}" + "".join(f"{letter:>{_VALUE}}" for letter in configs), "bold $primary"))
        )
    for key in keys:
        old = next(changed[key][0] for changed in changes.values() if key in changed)
        values = [old, *(changed[key][1] if key in changed else old for changed in changes.values())]
        shown = [_written(value) for value in values]
        if table:
            lines.append(
                Content(f"{key:<{width}}" + "".join(f" {padded(text, _VALUE - 1, right=True)}" for text in shown))
            )
        else:
            pairs = " · ".join(f"{letter} {text}" for letter, text in zip(configs, shown, strict=True))
            lines.append(Content(f"{key:<{width}}  {pairs}"))
    return Content("\n").join(lines)


def _written(value: object) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if whole else one_line(formats.setting(value))


def comparison_table(runs: Mapping[str, RunSummary]) -> Content:
    """Returns, steps and time of runs, the best on top."""
    width = min(_NAME, max(len("name"), longest(one_line(run.name) for run in runs.values())))
    words = ("return", "best", "steps", "time", "steps/s")
    heading = f"   {'name':<{width}} {' '.join(f'{word:>7}' for word in words)}  state"
    lines = [Content.assemble((heading, "$quiet"))]
    ranked = sorted(runs.items(), key=lambda pair: -(score if (score := score_of(pair[1])) is not None else -1e300))
    for letter, run in ranked:
        pace = run.step / run.seconds if run.seconds else None
        numbers = [formats.number(score_of(run)), formats.number(run.best_return), formats.count(run.step)]
        numbers += [formats.span(run.seconds), formats.NOTHING if pace is None else formats.count(pace)]
        lines.append(
            Content.assemble(
                (f"{letter:<3}", "bold $primary"),
                f"{padded(one_line(run.name), width)} ",
                " ".join(f"{number:>7}" for number in numbers),
                f"  {one_line(run.state)}",
            )
        )
    envs = {run.env for run in runs.values() if run.env}
    if len(envs) > 1:
        lines += [Content(""), Content.assemble((_OF_DIFFERENT_KINDS, "$warning"))]
    return Content("\n").join(lines)


_OF_DIFFERENT_KINDS = "returns of different environments cannot be compared"


def damage(run: RunSummary) -> Content:
    """The damage of a run, and its remaining files."""
    try:
        with RunDirectory(Path(run.path)).opened() as directory:
            found = [(name, directory.stat(name)) for name in directory.names()]
            files = [f"{one_line(name):<24} {facts.st_size:>12,} bytes" for name, facts in found if facts]
    except OSError as error:
        files = [f"it cannot be entered: {error.strerror}"]
    lines = [
        Content.assemble((one_line(run.problem or "unknown"), "bold $warning")),
        Content(""),
        Content(one_line(run.path)),
        *(Content(f"  {line}") for line in files),
    ]
    return Content("\n").join(lines)


@dataclass(frozen=True)
class Curves:
    """The curves of a run, and the state of their file."""

    series: Mapping[str, Series] = field(default_factory=dict)
    read_at: tuple[int, int] = (0, 0)

    def renewed(self, path: str) -> Curves:
        """Read them again if the file has changed; none without a file."""
        run_dir = RunDirectory(Path(path))
        try:
            facts = run_dir.metrics.stat()
            if (at := (facts.st_mtime_ns, facts.st_size)) == self.read_at:
                return self
            return Curves(recorded_metrics(run_dir), at)
        except (OSError, UsageError):
            return Curves()
