"""Constructors of environments on their way to a worker, by value.

With them travel the environments registered in ``__main__``, as in a notebook's cell: no worker can import these.
"""

from __future__ import annotations

from typing import Any

import cloudpickle
import gymnasium
from gymnasium.envs.registration import EnvSpec


def dumps(value: Any) -> bytes:
    """Pickle `value`; unpickled, it knows the environments of ``__main__``."""
    specs = [spec for spec in gymnasium.registry.values() if _is_of_main(spec.entry_point)]
    return cloudpickle.dumps(_Carried(specs, value) if specs else value)


def _is_of_main(entry_point: Any) -> bool:
    return callable(entry_point) and getattr(entry_point, "__module__", None) == "__main__"


class _Carried:
    """A value on its way with registrations of environments."""

    def __init__(self, specs: list[EnvSpec], value: Any) -> None:
        self._specs, self._value = specs, value

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._specs, self._value)


def _arrived(specs: list[EnvSpec], value: Any) -> Any:
    """Register environments; return the value."""
    gymnasium.registry.update({spec.id: spec for spec in specs})
    return value
