"""Random events of the right types and odd contents, as a record of any origin may hold them."""

from __future__ import annotations

import copy
import random
from typing import Any, get_args

import msgspec
from msgspec import inspect

from ppo_tui.config import all_settings
from ppo_tui.protocol import Event, MinibatchColumns, RunStarted, UpdateInspected, decode_event, encode
from ppo_tui.protocol.events import AnyEvent

KINDS: tuple[type[Event], ...] = get_args(AnyEvent)

INTEGERS = (0, 1, -1, 2, 7, 255, 2**31, 2**53, -(2**63), 2**63 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e308, -1e308, 5e-324, 1e-300, 1e30, 123.456)
TEXTS = (
    "", "x", "[red]", "[/]", "a\nb", "\u202e\x1b[31m", "é漢字", "x" * 3_000, "\t\r", "{x}%s", "train/value_loss",
    "rollout/ep_rew_mean", "eval/ep_rew_mean", "ppo.gamma", "optim.learning_rate",
)  # fmt: skip
ANYTHING = (None, 1, -5, 2.5, 1e308, "x", "a\nb", True, [1, "a"], {"id": "x"}, {"id": 7}, [])


class OddEvents:
    """Events, always the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def next(self) -> Event:
        """An event that its own decoder accepts."""
        return self.of(self.random.choice(KINDS))

    def of(self, kind: type[Event]) -> Event:
        while True:
            try:
                return decode_event(encode(self._struct(kind)))
            except (ValueError, TypeError):
                continue

    def _struct(self, kind: type[msgspec.Struct]) -> Any:
        fields = inspect.type_info(kind).fields  # type: ignore[union-attr]
        given = {
            field.name: self._value(field.type) for field in fields if field.required or self.random.random() < 0.7
        }
        if kind is MinibatchColumns:
            length = self.random.choice((0, 1, 3, 30))
            given = {field.name: self._values(field.type, length) for field in fields}
        if kind is UpdateInspected:
            given["ratio_down"] = given["ratio_up"]
            given["stds"] = given["means"] = given.get("means", ())
        if kind is RunStarted and self.random.random() < 0.7:
            given["config"] = self._config()
        return kind(**given)

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {}
        for key in all_settings():
            section, _, name = key.partition(".")
            table = config.setdefault(section, copy.copy(self.random.choice([{}, {}, self.random.choice(ANYTHING)])))
            if isinstance(table, dict) and self.random.random() < 0.5:
                table[name] = self.random.choice(ANYTHING)
        return config

    def _values(self, kind: Any, length: int) -> tuple[Any, ...]:
        return tuple(self._value(kind.item_type) for _ in range(length))

    def _value(self, kind: inspect.Type) -> Any:
        choose = self.random.choice
        match kind:
            case inspect.IntType():
                return choose(INTEGERS)
            case inspect.FloatType():
                return choose(FLOATS)
            case inspect.BoolType():
                return choose((True, False))
            case inspect.StrType():
                return choose(TEXTS)
            case inspect.BytesType():
                return self.random.randbytes(choose((0, 1, 8)))
            case inspect.EnumType():
                return choose(list(kind.cls))
            case inspect.LiteralType():
                return choose(kind.values)
            case inspect.UnionType():
                return self._value(choose(kind.types))
            case inspect.Metadata():
                return self._value(kind.type)
            case inspect.TupleType():
                return tuple(map(self._value, kind.item_types))
            case inspect.VarTupleType():
                return self._values(kind, max(kind.min_length or 0, choose((0, 1, 2, 5, 40))))
            case inspect.DictType():
                return {self._value(kind.key_type): self._value(kind.value_type) for _ in range(choose((0, 1, 3)))}
            case inspect.StructType():
                return self._struct(kind.cls)
            case inspect.AnyType():
                return choose(ANYTHING)
        return None
