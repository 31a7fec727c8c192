"""The HTML page of a report, with style, script and pictures inside."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import UsageError
from ..extras import install_command, is_installed
from ..files import check_output, write_file
from ..plotting.formats import NOTHING, date, duration, score
from ..text import printable
from .charts import COLOURS, draw
from .clips import ReportClip
from .record import Line, RunRecord

MOST_LINES = 1_000
"""Newest events of a run on the page; a run of days has more."""

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class ReportedRun:
    """A run with its colour and clip on the page.

    Attributes:
        clip: of an episode; None if there are no pictures.
        no_clip: the reason; empty if no clip was asked for.
    """

    record: RunRecord
    colour: str
    clip: ReportClip | None = None
    no_clip: str = ""

    @property
    def lines(self) -> list[Line]:
        return self.record.lines[-MOST_LINES:]

    @property
    def left_out(self) -> int:
        return len(self.record.lines) - len(self.lines)

    @property
    def steps_done(self) -> str:
        """The reason of a planned end, left out of the page."""
        return f"{self.record.summary.step:,} steps done"

    @property
    def figures(self) -> Iterator[tuple[str, str]]:
        """Labels and values of the most important numbers."""
        record, summary = self.record, self.record.summary
        total = f" of {summary.total_steps:,}" if summary.total_steps else ""
        yield "steps", f"{summary.step:,}{total}"
        yield "mean return", score(summary.last_return)
        yield "best return", score(summary.best_return)
        yield "episodes", f"{len(record.episodes):,}"
        if record.seconds:
            yield "time", duration(record.seconds)
            yield "steps per second", f"{summary.step / record.seconds:,.0f}"
        yield "seed", NOTHING if summary.seed is None else str(summary.seed)


def check_report(path: Path) -> None:
    """Check the libraries and the directory of a report.

    Raises:
        UsageError: a library is not installed, or there is no such directory.
    """
    missing = [name for name in ("bokeh", "jinja2") if not is_installed(name)]
    if missing:
        raise UsageError(
            f"reports need {' and '.join(missing)}, not installed here",
            hint=install_command("report"),
        )
    check_output("--output", path)


def render(runs: Sequence[ReportedRun]) -> str:
    """Render the page."""
    from bokeh.resources import Resources
    from jinja2 import Environment, FileSystemLoader

    charts, script = draw([run.record for run in runs])
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters |= {"date": _date, "count": "{:,}".format, "score": score}
    settings = _settings(runs)
    return environment.get_template("page.html").render(
        title=", ".join(run.record.name for run in runs) if len(runs) <= 3 else f"{len(runs)} runs",
        version=__version__,
        written=time.time(),
        nonce=secrets.token_urlsafe(16),
        css=(_HERE / "page.css").read_text("utf-8"),
        behaviour=(_HERE / "page.js").read_text("utf-8"),
        bokeh="\n".join(Resources(mode="inline", components=["bokeh"]).js_raw) if charts else "",
        script=script,
        groups=[(group, list(members)) for group, members in groupby(charts, key=lambda chart: chart.group)],
        runs=runs,
        games_apart=_games_apart(runs),
        games=any(run.clip or run.no_clip for run in runs),
        settings=settings,
        differing=[(key, values) for key, values in settings if len(set(values)) > 1],
        environment=_environment(runs),
    )


def write_report(path: Path, runs: Sequence[ReportedRun]) -> int:
    """Write the page to `path` and return its length in bytes.

    Raises:
        UsageError: the file cannot be written.
    """
    page = render(runs).encode("utf-8", "replace")
    try:
        write_file(path, page)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="choose another --output") from None
    return len(page)


def colour(index: int) -> str:
    """Colour of this run, the same as in the charts."""
    return COLOURS[index % len(COLOURS)]


def _games_apart(runs: Sequence[ReportedRun]) -> str:
    """The environments, if there are several; else nothing."""
    envs = list(dict.fromkeys(run.record.summary.env for run in runs))
    return "" if len(envs) < 2 else f"{', '.join(envs[:-1])} and {envs[-1]}"


def _settings(runs: Sequence[ReportedRun]) -> list[tuple[str, list[str]]]:
    keys = dict.fromkeys(key for run in runs for key in run.record.settings)
    return [(key, [_value(run.record.settings.get(key)) for run in runs]) for key in keys]


def _environment(runs: Sequence[ReportedRun]) -> list[tuple[str, list[Any]]]:
    """Rows about the machines and packages; empty rows are left out."""
    packages = dict.fromkeys(name for run in runs for name in run.record.versions)
    rows = [
        ("processor", [run.record.origin.cpu if run.record.origin else None for run in runs]),
        ("device", [run.record.facts.get("device") for run in runs]),
        ("threads while learning", [run.record.origin.learn_threads if run.record.origin else None for run in runs]),
        ("workers", [run.record.started.num_workers if run.record.started else None for run in runs]),
        ("weights", [f"{run.record.started.parameters:,}" if run.record.started else None for run in runs]),
        ("first weights", [run.record.facts.get("init_from") for run in runs]),
        ("preset", [run.record.facts.get("preset") for run in runs]),
        ("git commit", [run.record.facts.get("git") for run in runs]),
        ("code", [run.record.origin.code if run.record.origin else None for run in runs]),
        *((name, [run.record.versions.get(name) for run in runs]) for name in packages),
        ("started", [_date(run.record.summary.started) for run in runs]),
    ]
    return [(label, _dashed(values)) for label, values in rows if any(value is not None for value in values)]


def _dashed(values: Iterable[Any]) -> list[Any]:
    return [NOTHING if value is None else value for value in values]


def _value(value: Any) -> str:
    match value:
        case None:
            return NOTHING
        case bool():
            return str(value).lower()
        case int():
            return f"{value:,}"
        case list():
            return ", ".join(map(str, value)) or "none"
    return str(value)


def _shown(value: Any) -> Any:
    """The value of a template's expression, texts made printable."""
    return printable(value, lines=True) if type(value) is str else value


def _date(seconds: float) -> str:
    return date(seconds, "%Y-%m-%d %H:%M:%S")
