"""Write session.md: a real session with a run on a server.

    python docs/take_session.py

starts a run of CartPole in a temporary folder, attaches to it in tmux, changes a setting, detaches, kills the run's
processes, resumes, evaluates and reports; what the terminal shows on the way is what the page shows. Needs tmux.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PAGE = Path(__file__).parent / "session.md"
COLUMNS, LINES = 118, 28
RUN = "server"
STEPS = 200_000
PATIENCE_SECONDS = 900.0

INTRODUCTION = """# A whole session

One run from its start on a server to its report: it is started in the background, steered, left alone, killed, resumed
and scored. `python docs/take_session.py` does all of this in a real terminal and writes this page; nothing below is
typed by hand.
"""


class Terminal:
    """A shell in tmux, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._server = ["tmux", "-L", f"session-{os.getpid()}"]
        shell = f"env PS1='$ ' PATH={Path(sys.executable).parent}:{os.environ['PATH']} bash --norc --noprofile"
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(folder), shell)
        self.wait_for(lambda: self.picture().endswith("$"))

    def close(self) -> None:
        self._tmux("kill-server")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def command(self, line: str) -> str:
        """Run a command line to its end, and return its output."""
        self.press("clear", "Enter")
        self.wait_for(lambda: self.picture() == "$")
        self.type(line)
        self.press("Enter")
        self.wait_for(lambda: self.picture().endswith("\n$"))
        return self.picture().removesuffix("\n$").rstrip()

    def picture(self) -> str:
        """The text of the terminal, without blank ends."""
        printed = subprocess.run([*self._server, "capture-pane", "-p"], capture_output=True, text=True, check=True)
        return "\n".join(line.rstrip() for line in printed.stdout.splitlines()).strip("\n")

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"this did not come to pass; the terminal shows\n{self.picture()}")
            time.sleep(0.1)

    def _tmux(self, *arguments: str) -> None:
        subprocess.run([*self._server, *arguments], check=True)


class Page:
    """The page as it is written."""

    def __init__(self) -> None:
        self._parts = [INTRODUCTION]

    def say(self, title: str, text: str) -> None:
        self._parts.append(f"## {title}\n\n{text}\n")

    def show(self, text: str) -> None:
        self._parts.append(f"```text\n{text}\n```\n")

    def write(self, path: Path) -> None:
        path.write_text("\n".join(self._parts), "utf-8")


def take(terminal: Terminal, runs: Path, page: Page) -> None:
    """Go through the session."""
    run = runs / RUN

    def recorded() -> str:
        return (run / "events.jsonl").read_text("utf-8")

    def updates() -> int:
        return (run / "metrics.jsonl").read_text("utf-8").count("\n") if (run / "metrics.jsonl").exists() else 0

    page.say("Start", "On a server, `--detached` starts the run in the background and opens the screen on it.")
    page.show(f"$ ppo-tui --preset cartpole --seed 1 --total-steps {STEPS} --name {RUN} --detached")
    terminal.type(f"ppo-tui --preset cartpole --seed 1 --total-steps {STEPS} --name {RUN} --detached")
    terminal.press("Enter")
    terminal.wait_for(lambda: updates() >= 120 and "steps/s" in terminal.picture())
    page.show(terminal.picture())

    page.say("Steer", "`ctrl+p` opens the palette, which takes settings such as `lr 1e-4`.")
    terminal.press("C-p")
    terminal.wait_for(lambda: "Search for commands" in terminal.picture())
    terminal.type("lr 1e-4")
    terminal.wait_for(lambda: "1e-4" in terminal.picture() and "learning" in terminal.picture())
    terminal.press("Enter")
    terminal.wait_for(lambda: '"event":"setting"' in recorded())
    change = next(json.loads(line) for line in recorded().splitlines() if '"event":"setting"' in line)
    terminal.press("A")
    terminal.wait_for(lambda: f"{change['key'].partition('.')[2]}" in terminal.picture())
    page.show(terminal.picture())
    terminal.press("A")
    terminal.wait_for(lambda: "Changes ·" not in terminal.picture())

    page.say("Leave", "`d` leaves the screen, and the run does not notice. Then somebody pulls the plug.")
    terminal.press("d")
    terminal.wait_for(lambda: terminal.picture().endswith("\n$"))
    page.show(terminal.command(f"ppo-tui ctl {RUN} status"))
    pid = json.loads((run / "run.json").read_text("utf-8"))["pid"]
    # Every process of the run at once, as when a machine goes down.
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    page.show(terminal.command("ppo-tui runs"))

    page.say("Resume", "The run continues from its newest checkpoint, bit for bit, on the same curves.")
    page.show(terminal.command(f"ppo-tui resume {RUN} --headless | cut -c-116 > log; head -4 log; tail -4 log"))

    page.say("Score", "A process of its own plays episodes that the training has never seen.")
    page.show(terminal.command(f"ppo-tui eval {RUN} --episodes 50"))

    page.say("Report", "One page of HTML: curves, settings and their changes, events, and pictures of an episode.")
    page.show(terminal.command(f"ppo-tui report {RUN} --output report.html && ls -sh report.html"))


def main() -> None:
    if not shutil.which("tmux"):
        raise SystemExit("needs tmux")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        terminal, page = Terminal(Path(directory)), Page()
        try:
            take(terminal, Path(directory) / "runs", page)
        finally:
            terminal.close()
        page.write(PAGE)
        text = PAGE.read_text("utf-8").replace(directory, "~")
        PAGE.write_text(re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE), "utf-8")


if __name__ == "__main__":
    main()
