"""The declaration of a setting: type, range, help, moment of change.

A field's `setting` is the single definition that validation, ``--set``, the screen's editor, resuming and the
documentation read.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec
from msgspec import Meta


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen, strict table of settings."""


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """Range and steps for editing a live setting.

    Attributes:
        low, high: the editor's range; the setting's own may be wider.
        step: added by one nudge, or multiplied with on a log scale.
        optional: whether None, for "off", is a value.
        typed: it changes only as typed: a single step could do harm.
        unit: of the number.
        aliases: short names, besides the setting's own.
    """

    low: float
    high: float
    step: float
    scale: Literal["linear", "log"] = "linear"
    optional: bool = False
    typed: bool = False
    unit: str = ""
    aliases: tuple[str, ...] = ()


OnResume = Literal["fixed", "harmless", "inexact"]
"""Whether a resumed run may change a setting:

- ``fixed``: it may not; the checkpoint's tensors and states have the setting's shape, or were drawn from it;
- ``harmless``: it may, and no number changes, or only through what the checkpoint's `Origin` compares anyway;
- ``inexact``: it may, and the run says that it no longer continues bit for bit.
"""


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """The power of a setting to name an outside party.

    Without consent no file, run or checkpoint may make the program import code, run a command, or send and write to
    an address.

    Attributes:
        party: the kind of outside party.
        pattern: of the values that name one, anywhere in the text.
        leave_out: a ``--set`` for a run without it; empty where there is none.
    """

    party: Literal["code", "command", "address"]
    pattern: str = ""
    leave_out: str = ""

    def names(self, value: Any) -> bool:
        """Whether `value`, perhaps of a wrong type, names an outside party."""
        return isinstance(value, str) and re.search(self.pattern, value) is not None


def setting(
    description: str,
    *,
    on_resume: OnResume,
    live: Live | None = None,
    outside: Outside | None = None,
    duration: bool = False,
    **limits: Any,
) -> Meta:
    """Declare one setting: help, limits, and when it may change.

    Args:
        description: one sentence of help.
        live: how it is edited while the run trains; None where it may not change then.
        outside: for settings with values that name code, a command or an address.
        duration: it counts seconds, and takes a time such as 2h too.
        limits: as `Meta` takes them, such as ``ge=0``.
    """
    extra = {"on_resume": on_resume, "live": live, "outside": outside, "duration": duration}
    return Meta(description=description, extra=extra, **limits)
