"""Write ``docs/diagnostics.md`` from the tables of alarms and checks.

Run it as ``python docs/write_diagnostics.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ppo_tui.checkup import CHECKS
from ppo_tui.explanations import ALARMS, MAX_BAD_UPDATES, NON_FINITE, AlarmText

PAGE = Path(__file__).with_name("diagnostics.md")

BAR = r"\|"
"""A bar within a table's cell."""

_HEAD = """# Diagnostics

<!-- Written by docs/write_diagnostics.py. -->

## While a run trains

Diagnostics follow each run and raise an alarm where something is wrong with the training: on the screen, in `run.log`
and the lines of a headless run, in the report, and as `Alarm` events with a `name`, the `value` and the `edit` in
`events.jsonl`, for scripts. Where a setting helps that can be changed while the run trains, the alarm ends with the
edit:

```
WARNING: the policy moved too far in one update: KL 1.4, more than ten times the usual; optim.learning_rate is 0.1;
try: set optim.learning_rate 0.012
```

`ppo-tui ctl RUN set optim.learning_rate 0.012` makes it from a script. On the screen a line stays as long as the alarm
holds, the most severe one first. `F` drafts the edit in the settings, where `a` applies it and `esc` discards it;
`enter` shows why, with everything below:

```
! the policy moved too far in one update: approx KL 1.40 · F: lr 0.1 → 0.012 · ⏎ why
```

Each alarm is raised once, and again only after the run was healthy in between, which a `Recovered` event reports. An
alarm is not raised while another one stands that explains it: after too large a step, much else looks ill too.
Diagnostics read the run's own events and change no bit of it; `--set run.diagnostics=false` turns them off.

| alarm | raised when | healthy again at |
|---|---|---|
"""

_SOURCES = """
Sources: Huang et al., 2022, [The 37 implementation details of
PPO](https://iclr-blog-track.github.io/2022/03/25/ppo-implementation-details/); Sokar et al., 2023, [The dormant neuron
phenomenon in deep reinforcement learning](https://arxiv.org/abs/2302.12902). “Healthy runs” are those of the presets
`acrobot`, `breakout`, `cartpole`, `cartpole-masked` and `pendulum`.
"""

_MACHINE = """
## This machine

`ppo-tui doctor` checks the installation and the machine before anything is trained, one line a check: `ok`, `warn`
where something is slower or plainer than it could be, `fail` where a training would fail too; each with what to do
about it. `--json` prints the same for scripts. The exit code is 0 where nothing has failed, else 3.

| check | |
|---|---|
"""


_SYMPTOMS = [text for text in ALARMS.values() if text.name != NON_FINITE]


def page() -> str:
    """The page as Markdown."""
    checks = (f"| {name} | {(check.__doc__ or '').splitlines()[0]} |\n" for name, check in CHECKS.items())
    return "".join([_HEAD, *map(_row, _SYMPTOMS), _NON_FINITE, _SOURCES, *_sections(), _MACHINE, *checks])


_NON_FINITE = (
    f"| `{NON_FINITE}` | losses or gradients of a minibatch are NaN or infinite: it is skipped; {MAX_BAD_UPDATES} "
    "whole updates in a row end the run, or pause it behind a screen ([reliability](reliability.md)) | any finite "
    "one |\n"
)


def _row(symptom: AlarmText) -> str:
    sign, better = (">", "≤") if symptom.above else ("<", "≥")
    updates = f", {symptom.patience} updates in a row" if symptom.patience > 1 else ""
    measured = symptom.measured.replace("|", BAR)
    return (
        f"| [`{symptom.name}`](#{symptom.name}) | {measured} {sign} {symptom.limit:g}{updates} | "
        f"{better} {symptom.well:g} |\n"
    )


def _sections() -> Iterator[str]:
    for symptom in _SYMPTOMS:
        yield f"\n({symptom.name})=\n### {symptom.title.capitalize()}: `{symptom.name}`\n\n"
        yield f"*Why this limit:* {symptom.source}.\n\n*What helps:* {symptom.remedy}.\n"
        if symptom.after:
            yield f"\nNot raised while {_either(symptom.after)} stands.\n"
    yield f"\n({NON_FINITE})=\n### Not a number: `{NON_FINITE}`\n\n*What helps:* {ALARMS[NON_FINITE].remedy}.\n"


def _either(names: tuple[str, ...]) -> str:
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} or {last}" if others else last


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
