"""Write ``docs/settings.md`` from the schema of settings.

Run it as ``python docs/write_settings.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import inspect as types

from ppo_tui.config import SCHEDULED, Config, Live, ScheduleConfig, all_settings

PAGE = Path(__file__).with_name("settings.md")

_HEAD = """# Settings

<!-- Written by docs/write_settings.py. -->

A preset is a TOML file of these tables; `ppo-tui presets NAME` prints one to start from. On the command line each is
`--set KEY=VALUE`, with the value as in TOML. KEY is the whole name (`ppo.gamma`), the name alone (`gamma`), or a short
name from the tables below: `--set lr=1e-4` sets `optim.learning_rate`. Unknown settings and values out of range are
refused with the rule and a remedy before anything starts.

Settings with a ⚡ may be changed while a run trains: with `e` on the screen, in the palette (`ctrl+p`, then `lr 1e-4`),
or from a script, `ppo-tui ctl RUN set lr 1e-4`. The short names work everywhere. The range after the ⚡ is what the
editor offers.

The column *on resume* says what `ppo-tui resume RUN --set …` may change: *fixed* settings belong to the checkpoint and
are refused; *harmless* ones change no number; after a change of an *inexact* one the run continues, but not bit for
bit as it would have, and says so.

A ☏ marks settings that can name an outside party: code to import, a command to run, an address to send or write to.
Named in a file (a preset, a run's `config.toml`, a checkpoint), it needs your consent: see
[consent](commands.md#consent).
"""

_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def page() -> str:
    """The page as Markdown."""
    return "\n".join([_HEAD, *_tables(Config, ""), *_schedules()])


def _tables(section: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    """A table of the settings of `section`, then of its nested sections."""
    info = types.type_info(section)
    assert isinstance(info, types.StructType)
    fields = info.fields
    own = [field for field in fields if f"{prefix}.{field.name}" in all_settings()]
    if own:
        yield f"## {prefix}\n\n{inspect.cleandoc(section.__doc__ or '')}\n"
        yield "| setting | values | default | on resume | |\n|---|---|---|---|---|"
        yield from (_row(field, prefix) for field in own)
        yield ""
    for field in fields:
        if field not in own and (nested := _section(field.type)):
            yield from _tables(nested, f"{prefix}.{field.name}" if prefix else field.name)


_SCHEDULES = f"""## Schedules

{", ".join(f"`{key}`" for key in SCHEDULED[:-1])} and `{SCHEDULED[-1]}` may change over the run. The name of a kind
stands for the table with nothing else:

```toml
[optim]
learning_rate = 7e-4
learning_rate_schedule = "linear"       # to 0, over the run

[ppo]
entropy_coef = 0.02
entropy_coef_schedule = {{ kind = "cosine", final = 1e-3, steps = 500_000 }}
```

`--set optim.learning_rate_schedule=cosine` replaces the whole schedule;
`--set optim.learning_rate_schedule.final=1e-5` adds to it. All are *inexact* on resume.
"""

_AFTER_SCHEDULES = """
Each update uses the value at its first step. A warm-up begins at 0: the first update then learns nothing (of a clip
range, nothing beyond its first minibatches; of a coefficient, its term counts nothing). It takes its steps from those
of the schedule: a cosine over the run with a warm-up of 10,000 steps ends with the run.

A live edit rescales what remains: the new value holds from the next update on, keeps its place on the way (half of a
cosine done stays half done) and reaches the same `final` at the same step. An edit during the warm-up ends it, and the
value holds until the warm-up would have been over. An edit after the end stays. The line of the edit, the editor, and
the chart of the value (`train/learning_rate`, `train/clip_range`, and `train/value_coef` and `train/entropy_coef` where
they have a schedule) say where the value goes from here.

After `resume --total-steps N` a schedule over the run ends with the new last step, as if it had been planned so; one
with `steps` stays as it was, bit for bit.
"""


def _schedules() -> Iterator[str]:
    """The parts of a schedule, with an example and their effects."""
    info = types.type_info(ScheduleConfig)
    assert isinstance(info, types.StructType)
    yield _SCHEDULES
    yield "| part | values | default | |\n|---|---|---|---|"
    for field in info.fields:
        assert isinstance(field.type, types.Metadata)
        values = " or ".join(map(_values, _alternatives(field.type)))
        default = "the setting's" if field.required else _default(field)
        yield f"| `{field.name}` | {values} | {default} | {(field.type.extra_json_schema or {})['description']} |"
    yield _AFTER_SCHEDULES


def _section(kind: types.Type) -> type[msgspec.Struct] | None:
    """The section in a field, if it has one."""
    for one in _alternatives(kind):
        if isinstance(one, types.StructType):
            return one.cls
    return None


def _alternatives(kind: types.Type) -> tuple[types.Type, ...]:
    kind = kind.type if isinstance(kind, types.Metadata) else kind
    return kind.types if isinstance(kind, types.UnionType) else (kind,)


def _row(field: types.Field, prefix: str) -> str:
    setting = all_settings()[f"{prefix}.{field.name}"]
    values = " or ".join(map(_values, _alternatives(field.type)))
    live = setting.live
    text = setting.description + (f" ⚡ {live.low:g} to {live.high:g}{_aliases(live)}" if live else "")
    text += " ☏" if setting.outside else ""
    cells = (f"`{field.name}`", values, _default(field), setting.on_resume, text)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _aliases(live: Live) -> str:
    return f", short: {', '.join(f'`{name}`' for name in live.aliases)}" if live.aliases else ""


def _values(kind: types.Type) -> str:
    """The allowed values of a type, in words."""
    kind = kind.type if isinstance(kind, types.Metadata) else kind
    match kind:
        case types.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case types.NoneType():
            return "`none`"
        case types.BoolType():
            return "`true`, `false`"
        case types.IntType() | types.FloatType():
            name = "integer" if isinstance(kind, types.IntType) else "number"
            bounds = [f"{sign} {getattr(kind, key):g}" for key, sign in _BOUNDS if getattr(kind, key) is not None]
            return " ".join([name, ", ".join(bounds)]).strip()
        case types.StrType():
            return "text"
        case types.VarTupleType(item_type=item) | types.ListType(item_type=item):
            return f"list of {_values(item)}"
        case types.DictType() | types.StructType():
            return "table"
    return "any value"


def _default(field: types.Field) -> str:
    if field.required:
        return "required"
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory()
    if value is None:
        return "`none`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
