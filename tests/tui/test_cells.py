"""Names of any script in columns of cells: cut and filled up, never pushing what follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.content import Content

from ppo_tui.protocol import UpdateFinished
from ppo_tui.runs import RunSummary
from ppo_tui.tui.cells import cut, longest, padded
from ppo_tui.tui.run_actions import comparison_table
from ppo_tui.tui.run_list import Columns, run_row
from ppo_tui.tui.widgets.metrics_table import MetricsTable
from tests.tui.desk import desk
from tests.tui.fake import recorded

NAMES = ("plain", "学习-平衡杆-一", "🚀rocket-🚀🚀-run", "e\u0301\u0301te\u0301", "学" * 60, "")


@given(st.text("ab学🚀é\u0301", max_size=20), st.integers(0, 20), st.booleans())
def test_a_text_takes_exactly_the_cells_of_its_column(text, width, right):
    assert cell_len(padded(text, width, right=right)) == width
    assert cell_len(cut(text, width)) <= width
    if cell_len(text) <= width:
        assert padded(text, width, right=right).strip(" ") == cut(text, width).strip(" ") == text.strip(" ")
    else:
        assert not width or "…" in cut(text, width)
    assert longest([text, "abc"]) == max(3, cell_len(text))


def summary(name: str) -> RunSummary:
    return RunSummary(
        name=name, path=f"/runs/{name}", state="finished", preset="cartpole", env="CartPole-v1", step=100_096,
        total_steps=100_096, last_return=482.5, best_return=500.0, seconds=60.0, started=1.7e9,
        age_seconds=90.0, pid=None, seed=1,
    )  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 120])
def test_numbers_of_the_list_and_of_a_comparison_stand_below_one_another(width):
    runs = [summary(name) for name in NAMES]
    columns = Columns.of(width, (run.name for run in runs))
    rows = [run_row(run, columns, Content(""), ()) for run in runs]
    assert len({cell_len(row.plain.partition("✓")[0]) for row in rows}) == 1
    _, *rows = comparison_table({str(index): run for index, run in enumerate(runs)}).split("\n")
    assert len({cell_len(row.plain.partition(" 482")[0]) for row in rows}) == 1
    assert max(row.cell_length for row in rows) <= 76, "one line each in a small terminal"


async def test_values_of_the_table_of_metrics_stand_below_one_another():
    numbers = {f"env/{name}": 482.5 for name in NAMES[:4]}
    async with desk(*recorded(2), UpdateFinished(update=3, step=3_072, metrics=numbers), size=(120, 40)) as it:
        table = it.app.main.query_one(MetricsTable)
        lines = [line for line in table.draw(100, 60).split("\n") if "env/" in line.plain]
        assert len(lines) == 4
        assert len({cell_len(line.plain.partition(" 482")[0]) for line in lines}) == 1
