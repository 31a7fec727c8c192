"""Formats of numbers and durations for screens, logs, tables and reports.

There is one notation for numbers, so that a value reads alike in a tile, a table and a chart, and stands still while it
changes:

- `number`, three significant digits, wherever a value is glanced at: tiles, tables, legends, axes. It never takes
  more than `NUMBER_CELLS`; pad it to them (``f"{number(value):<{NUMBER_CELLS}}"``) where something follows on its line.
- `exact`, five significant digits in the same notation, where a value is read off on purpose: under a chart's cursor.
- `count` for whole numbers (steps, episodes), `setting` for hyper-parameters, `score` for tables of results.
"""

from __future__ import annotations

import math
import time

NOTHING = "–"
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"))


NUMBER_CELLS = 8
"""The widest `number` of three digits: ``-0.00512``, ``-5.1e-12``."""

_SMALL = 1e-3
"""Below this, zeros behind the point would take more room than an exponent."""


def number(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` significant digits; a dash for none.

    Such as 57.3, 0.00512, 412, 1,220, 1.25M, 3.2e-6: from 1,000 on as a count, below 0.001 with an exponent.
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    rounded = float(f"{value:.{digits - 1}e}")
    size = abs(rounded)
    if size == 0:
        return f"{0:.{digits - 1}f}"
    if size >= 1e15 or size < _SMALL:
        return _power(value, max(2, digits - 1))
    if size >= 1_000:
        return count(value, digits)
    return _decimals(rounded, digits)


def exact(value: float) -> str:
    """`value` with five significant digits; a dash for NaN.

    To be read off a curve: 57.313, 0.0045124, 1.5000e-7; above 10,000 with all digits before the point, 120,064.
    """
    if not math.isfinite(value) or value == 0 or abs(value) >= 1e15:
        return number(value)
    if abs(value) < _SMALL:
        return _power(value, 5)
    return f"{value:,.0f}" if abs(value) >= 10_000 else _decimals(value, 5)


def _decimals(value: float, digits: int) -> str:
    """`digits` significant digits without an exponent: 57.3, 1,234.5."""
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def _power(value: float, digits: int) -> str:
    """Scientific notation, zeros included: 5.0e-4.

    A power of three digits leaves room for one digit before it.
    """
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa}e{int(power)}" if abs(int(power)) < 100 else f"{value:.0e}".replace("e+", "e")


def exponent(value: float, digits: int = 2) -> str:
    """Scientific notation without needless characters: 2.5e-4, 1e20."""
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(power)}"


def count(value: float, digits: int = 3) -> str:
    """A count: exact below 10,000, then 12.3K, 1.25M, 10.0M; ∞ beyond all."""
    if not math.isfinite(value):
        return number(value)
    if abs(value) < 10_000:
        return f"{value:,.0f}"
    rounded = float(f"{value:.{digits - 1}e}")  # before the choice of a suffix: 999,999 is 1.00M
    for scale, suffix in _SUFFIXES:
        if abs(rounded) >= scale:
            scaled = rounded / scale
            whole = len(str(int(abs(scaled))))
            return f"{scaled:.{max(0, digits - whole)}f}{suffix}"
    raise AssertionError("10,000 and more has a suffix")


def score(value: float | None, decimals: int = 2) -> str:
    """A return, or a mean of returns; a dash for none.

    Such as 487.25 and 1,234.50.
    """
    if value is None or math.isnan(value):
        return NOTHING
    if abs(value) >= 1e15:  # hundreds of digits would take the room of a whole table
        return number(value)
    return f"{value:,.{decimals}f}"


def interval(low: float | None, high: float | None, decimals: int = 2) -> str:
    """The two ends of a confidence interval; a dash for none.

    Such as [471.10, 499.00].
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return NOTHING
    return f"[{score(low, decimals)}, {score(high, decimals)}]"


def setting(value: object) -> str:
    """The value of a hyper-parameter, to three significant digits.

    Those near 1, such as a discount of 0.9995, have four, and whole numbers all: 0.0125, 2.5e-4, 4, 200,000, off.
    """
    if value is None:
        return "off"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if value and abs(value) < _SMALL:
        return exponent(value, 3)
    if abs(value) >= 1_000:
        return f"{value:,.0f}" if abs(value) < 1e9 else exponent(value, 3)
    return f"{value:.4g}" if abs(value) >= 0.1 else f"{value:.3g}"


_SHORT_NAMES = {
    "ppo.clip_range_upper": "clip upper",
    "stop.at": "stop at",
    "stop.plateau": "stop plateau",
    "stop.after": "stop after",
}


def setting_name(key: str) -> str:
    """A setting's name without its section: ``optim.learning_rate`` → learning rate.

    It fits into a narrow column.
    """
    return _SHORT_NAMES.get(key) or key.rpartition(".")[2].replace("_", " ")


def date(seconds: float, form: str = "%Y-%m-%d %H:%M") -> str:
    """A local time for seconds since 1970; a dash for none."""
    try:
        return time.strftime(form, time.localtime(seconds)) if seconds else NOTHING
    except (OverflowError, ValueError, OSError):  # beyond the years that the C library knows
        return NOTHING


def duration(seconds: float | None) -> str:
    """A duration on a clock: 0:31:12; a dash for none.

    From a day on 2d 03:11.
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    minutes, second = divmod(int(max(0.0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02}:{minute:02}"
    return f"{hours}:{minute:02}:{second:02}"


def clock(seconds: float | None) -> str:
    """A duration on a clock, in few characters; a dash for none.

    Such as 3:13, 4:18:42, 2d 13h.
    """
    text = duration(seconds)
    day, _, rest = text.partition("d ")
    return f"{day}d {int(rest[:2])}h" if rest else text.removeprefix("0:").removeprefix("0") or text


def span(seconds: float | None) -> str:
    """A duration in its two largest units; a dash for none.

    Such as 0.21s, 2.5s, 45s, 3m 20s, 2h 5m, 6d 1h.
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.2f}s" if seconds < 0.995 else f"{seconds:.1f}s"
    minutes, second = divmod(round(seconds), 60)
    if not minutes:
        return f"{second}s"
    hours, minute = divmod(minutes, 60)
    if not hours:
        return f"{minute}m {second}s"
    return f"{hours // 24}d {hours % 24}h" if hours >= 24 else f"{hours}h {minute}m"


def about(seconds: float | None) -> str:
    """A duration as a guess; a dash for none.

    Rounded up: 10 s, 80 s, 6 min, 90 min, 5 h, 3 d.
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    for unit, size, most in (("s", 10, 90), ("min", 60, 5_400), ("h", 3_600, 129_600)):
        if seconds <= most:
            return f"{max(1, math.ceil(seconds / size)) * (10 if unit == 's' else 1)} {unit}"
    return f"{math.ceil(seconds / 86_400):,} d"


def percent(share: float) -> str:
    """A share of 0..1 as 4 characters: ' 38%'."""
    return f"{100 * min(max(share, 0.0), 1.0):3.0f}%"
