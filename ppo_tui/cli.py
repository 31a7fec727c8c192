"""The Typer app of `ppo-tui`: commands, and exit codes of errors.

Heavy imports happen inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import typer

from .boundary import guarded
from .commands.attach import attach, replay
from .commands.bench import bench
from .commands.compare import compare
from .commands.doctor import doctor
from .commands.evaluate import evaluate
from .commands.export import export
from .commands.group import PlainCommand, PresetGroup
from .commands.import_sb3 import import_sb3
from .commands.report import report
from .commands.runs import ctl, presets, runs
from .commands.serve import serve
from .commands.sweep import sweep
from .commands.train import resume, train
from .commands.watch import watch

app = typer.Typer(
    name="ppo-tui",
    cls=PresetGroup,
    subcommand_metavar="[PRESET | COMMAND …]",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.callback(invoke_without_command=True)(train)
for name, command in {
    "resume": resume,
    "attach": attach,
    "replay": replay,
    "runs": runs,
    "ctl": ctl,
    "presets": presets,
    "eval": evaluate,
    "watch": watch,
    "compare": compare,
    "report": report,
    "export": export,
    "import": import_sb3,
    "serve": serve,
    "sweep": sweep,
    "bench": bench,
    "doctor": doctor,
}.items():
    app.command(name, cls=PlainCommand)(command)


def run() -> int:
    """Run the command line and return the exit code; see `boundary`."""
    # Without standalone mode click returns the code of `typer.Exit`, and commands return theirs.
    return guarded(lambda: app(standalone_mode=False) or 0)
