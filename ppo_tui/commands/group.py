"""The shape of the command line: presets as words, help without types."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from typer.core import TyperCommand, TyperGroup

from ..errors import UsageError, nearest
from .options import chosen_preset


class _Item(NamedTuple):
    """A completion, as the shells' scripts of Click take it."""

    value: str
    help: str
    type: str = "plain"


class PlainCommand(TyperCommand):
    """A command with arguments in its help, without their types."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*(["[OPTIONS]"] if self.params else []), *_words_of_usage(self, ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _format_options(self, ctx, formatter)


class PresetGroup(TyperGroup):
    """The commands, and `ppo-tui PRESET` as short for `ppo-tui --preset PRESET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not ctx.resilient_parsing:
            args = self._with_option(ctx, list(args))
        return super().parse_args(ctx, args)

    def _with_option(self, ctx: Any, args: list[str]) -> list[str]:
        """`args` with ``--preset`` before the name of a preset."""
        before, rest, _ = self.make_parser(ctx).parse_args(args=list(args))
        if not rest or rest[0] in self.commands or not _is_preset(rest[0]) or args[-len(rest) :] != rest:
            return args
        behind, _, _ = self.make_parser(ctx).parse_args(args=rest[1:])
        for options in (before, behind):
            chosen_preset(rest[0], options.get("preset"))
        return [*args[: -len(rest)], "--preset", *rest]

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            raise _unknown_word(args[0], list(self.commands), bool(ctx.params.get("preset")))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        from .completion import presets

        found = super().shell_complete(ctx, incomplete)
        return [*found, *(_Item(name, text) for name, text in presets(incomplete))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _is_preset(word: str) -> bool:
    from ..config import list_presets

    if word in list_presets() or word.endswith(".toml"):
        return True
    try:
        return os.sep in word and Path(word).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def _unknown_word(word: str, commands: list[str], has_preset: bool) -> UsageError:
    """The error for a word in the place of a command."""
    from ..config import list_presets
    from ..runs import RUNS_DIR
    from ..runs.entries import holds_run
    from ..text import printable

    shown = repr(word if len(word) <= 100 else f"{word[:99]}…")
    if has_preset:
        return UsageError(
            f"{printable(shown)} after the preset: expected options alone", hint="ppo-tui --help has them"
        )
    if holds_run(RUNS_DIR / word):
        return UsageError(
            f"{word} is a run, not a preset", hint=f"ppo-tui attach {shlex.quote(word)}, or replay, or resume"
        )
    match = nearest(word, [*commands, *list_presets()])
    hint = f"did you mean {match!r}?" if match else "ppo-tui --help lists the commands, ppo-tui presets the presets"
    return UsageError(f"there is no command and no preset {printable(shown)}", hint=hint)


def _words_of_usage(command: Any, ctx: Any) -> Iterator[str]:
    for parameter in command.get_params(ctx):
        if parameter.param_type_name == "argument":
            yield _word(parameter) if parameter.required else f"[{_word(parameter)}]"


def _word(parameter: Any) -> str:
    return parameter.metavar or parameter.name.upper()


def _format_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Write the sections of arguments and options."""
    arguments, options = [], []
    for parameter in command.get_params(ctx):
        if parameter.param_type_name == "argument":
            arguments.append((_word(parameter), parameter.help or ""))
        elif (record := parameter.get_help_record(ctx)) is not None:
            options.append(record)
    for heading, rows in (("Arguments", arguments), ("Options", options)):
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)
