"""Write ``docs/metrics.md``, and the table of healthy values in ``docs/mathematics.md``.

Run it as ``python docs/write_metrics.py``. Both come from `ppo_tui.explanations`, as the cards of the screen do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ppo_tui.explanations import METRICS, Explanation, groups

PAGE = Path(__file__).with_name("metrics.md")
MATHEMATICS = Path(__file__).with_name("mathematics.md")

BEGIN, END = "<!-- Written by docs/write_metrics.py. -->\n", "<!-- End of what docs/write_metrics.py writes. -->\n"
"""The ends of the table in the mathematics."""

_FIRST = (
    "train/approx_kl",
    "train/clip_fraction",
    "train/explained_variance",
    "train/entropy_loss",
    "train/std",
    "train/dead_units",
    "rollout/ep_rew_mean",
)
"""What to look at first."""

_HEAD = """# What the numbers mean

<!-- Written by docs/write_metrics.py. -->

On the screen `i` opens this as a card: for a tile, a chart, a row, a field of the head, a setting or an event, with its
value now and a verdict (`✓` ok, `▲` high, `▼` low; `+` `^` `v` in ASCII). In the card `←` `→` go to the neighbours,
`/` finds any other, `F` drafts the edit that an alarm advises, and `esc` closes. A click on a tile or on the head opens
its card too.

The ranges are those of healthy runs of the presets, and of the literature that [the diagnostics](diagnostics.md) cite.
An alarm is raised only far beyond them.

## Metrics

| metric | on the screen | what it is | healthy, or usual |
|---|---|---|---|
"""


def page() -> str:
    """The page as Markdown."""
    return "".join([_HEAD, *map(_row, METRICS.values()), "\n", *_formulas(), *_signs()])


def table() -> str:
    """The table for the mathematics: the metrics to look at first."""
    rows = (f"| `{METRICS[key].key}` | {_cell(METRICS[key].text)} | {_cell(METRICS[key].range)} |\n" for key in _FIRST)
    return "".join(["| metric | what it measures | healthy |\n|---|---|---|\n", *rows])


def with_table(text: str) -> str:
    """The mathematics with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _row(one: Explanation) -> str:
    return f"| `{one.key}` | {one.name} | {_cell(one.text)} | {_cell(one.range)} |\n"


def _formulas() -> Iterator[str]:
    yield "## Formulas\n\n```text\n"
    widest = max(len(key) for key, one in METRICS.items() if one.formula)
    for key, one in METRICS.items():
        if one.formula:
            yield f"{key:<{widest}}  {one.formula}\n"
    yield "```\n\n## What to try\n\n"
    for one in METRICS.values():
        if one.advice:
            yield f"- `{one.key}`: {one.advice} [More]({one.link})\n"


_TITLES = {
    "header": "The head of the screen",
    "workers": "Workers",
    "game": "The game",
    "marks": "Marks on the charts",
    "events": "Events",
}


def _signs() -> Iterator[str]:
    for name, title in _TITLES.items():
        yield f"\n## {title}\n\n| | |\n|---|---|\n"
        for one in groups()[name]:
            usual = f" Usual: {one.range}." if one.range else ""
            yield f"| {_cell(one.name)} | {_cell(one.text + usual)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    MATHEMATICS.write_text(with_table(MATHEMATICS.read_text("utf-8")), "utf-8")
