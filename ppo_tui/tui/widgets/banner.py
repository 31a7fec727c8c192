"""The end of the run, above everything else."""

from __future__ import annotations

from textual.content import Content

from ...expectations import MEAN_RETURN, SOLVING_EPISODES
from ...plotting import formats
from ...protocol import RunState
from ...text import counted, one_line
from .header import STATES
from .panel import Panel, fit


class Banner(Panel):
    """The end with its reason, the next steps, and a summary."""

    def draw(self, width: int, height: int) -> Content:
        finished = self.controller.view.finished
        if finished is None:
            return Content("")
        symbol, _ = STATES[finished.state]
        reason = one_line(finished.reason)
        first = f" {symbol} {finished.state.upper()}{f': {reason}' if reason else ''}"
        second = " w watches it play  " if self.controller.can_be_watched else ""
        second += " q leaves" + ("   t shows the traceback" if finished.details else "")
        if finished.state is RunState.FAILED:
            second += f"   exit code {finished.exit_code}"
        facts = self._facts()
        shown = facts[:3]
        while len(shown) > 1 and len(second) + 3 + len(" · ".join(shown)) > width:
            shown.pop()
        lines = [first, f"{second}   {' · '.join(shown)}"]
        if height > len(lines):
            lines = [first, f" {' · '.join(facts[:3])}", f" {' · '.join(facts[3:])}", second]
        contents = [Content.assemble((lines[0], "bold")), *map(Content, lines[1:])]
        return Content("\n").join(fit(line, width) for line in contents[:height])

    def _facts(self) -> list[str]:
        """The most telling ones first."""
        view = self.controller.view
        mean = view.series[MEAN_RETURN].last if MEAN_RETURN in view.series else None
        facts = [f"{formats.count(view.step)} steps in {formats.duration(view.elapsed)}"]
        if view.best:
            facts.append(f"best episode {formats.number(view.best.episode_return)}")
        if view.checkpoint:
            facts.append(f"checkpoint at {formats.count(view.checkpoint.step)} steps")
        else:
            facts.append("no checkpoint")
        facts += [
            f"return {formats.number(mean)}, {_episodes(view.episodes)}",
            f"{formats.count(view.step / view.elapsed if view.elapsed else 0)} steps/s",
            counted(view.update, "update"),
            counted(len(view.changes), "edit"),
        ]
        if view.started and view.started.run_dir:
            facts.append(view.started.run_dir)
        return facts


def _episodes(count: int) -> str:
    """The episodes behind the mean return, and all of them."""
    mean_of = f"mean of the last {SOLVING_EPISODES} of " if count > SOLVING_EPISODES else "mean of "
    return mean_of + counted(count, "episode")
