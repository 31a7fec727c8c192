"""The Typer app of `ppo-tui`: commands, and exit codes of errors.

Heavy imports happen inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys

import typer

from .commands.attach import attach, replay
from .commands.bench import bench
from .commands.compare import compare
from .commands.doctor import doctor
from .commands.evaluate import evaluate
from .commands.export import export
from .commands.import_sb3 import import_sb3
from .commands.options import GlobalOptions
from .commands.report import report
from .commands.runs import ctl, presets, runs
from .commands.serve import serve
from .commands.sweep import sweep
from .commands.train import resume, train
from .commands.watch import watch
from .errors import PPOTuiError

app = typer.Typer(
    name="ppo-tui",
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
    app.command(name)(command)


def run() -> int:
    """Run the command line and return the exit code.

    Errors of the user become messages on stderr.
    """
    options = GlobalOptions()
    try:
        # Without standalone mode click returns the code of `typer.Exit`, and commands return theirs.
        return app(standalone_mode=False, obj=options) or 0
    except PPOTuiError as error:
        if options.debug:
            raise
        print(f"ppo-tui: {_rank()}{_printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        # Errors of usage are click's, of which typer may bring its own copy.
        show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
        if show is None or not isinstance(code, int):
            raise
        show()
        return code


def _rank() -> str:
    """Name this process among torchrun's; empty for rank 0 and without torchrun."""
    rank = os.environ.get("RANK", "0") if "TORCHELASTIC_RUN_ID" in os.environ else "0"
    return "" if rank == "0" else f"rank {rank}: "


def _printable(text: str) -> str:
    """Replace control characters; names from files and environments may hold some."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
