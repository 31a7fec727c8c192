"""How the run ended, above everything else."""

from __future__ import annotations

from textual.content import Content

from ...protocol import RunState
from .. import formats
from .header import STATES
from .panel import Panel, fit


class Banner(Panel):
    """Two lines: the end with its reason, and what can be done now."""

    def draw(self, width: int, height: int) -> Content:
        finished = self.run.view.finished
        if finished is None:
            return Content("")
        symbol, _ = STATES[finished.state]
        reason = formats.one_line(finished.reason)
        first = f" {symbol} {finished.state.upper()}{f': {reason}' if reason else ''}"
        second = " q leaves" + ("   t shows the traceback" if finished.details else "")
        if finished.state is RunState.FAILED:
            second += f"   exit code {finished.exit_code}"
        return (
            fit(Content.assemble((first, "bold")), width)
            + Content("\n")
            + fit(Content(f"{second}   {self._summary()}"), width)
        )

    def _summary(self) -> str:
        view = self.run.view
        facts = [f"{formats.count(view.step)} steps in {formats.duration(view.elapsed)}"]
        if view.best:
            facts.append(f"best game {formats.number(view.best.episode_return)}")
        if view.checkpoint:
            facts.append(f"checkpoint at {formats.count(view.checkpoint.step)} steps")
        else:
            facts.append("no checkpoint")
        return " · ".join(facts)
