"""The global random generators of a process, one set for each environment.

An environment may draw from numpy's, Python's or PyTorch's global generator, and from those of its spaces. Each
environment of a worker has states of its own for them, so that none shares its numbers with another, whatever the
number of workers, and all can be saved. PyTorch is looked at only where an environment has imported it.
"""

from __future__ import annotations

import copy
import ctypes
import os
import random
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Dict, Space, Tuple

_STREAM = 0x6C75636B
"""Keeps these seeds apart from those of the environments' own generators."""

_WORDS = 624
_MERSENNE_BYTES = 4 * (_WORDS + 1)
_GAUSS = struct.Struct("<?d")
_GLOBAL_BYTES = _MERSENNE_BYTES + _GAUSS.size + _MERSENNE_BYTES

_PYTHON: Any = random.random.__self__  # pyright: ignore[reportFunctionMemberAccess]
"""The instance behind the functions of the module `random`."""

_NUMPY: Any = np.random
"""With `get_bit_generator` and `set_bit_generator`, which numpy's own types lack."""


class _PythonMemory:
    """The state of Python's generator, in its memory or by ``getstate``.

    ``getstate`` and ``setstate`` take longer than a step of a small environment; copying 2,500 bytes takes no time.
    CPython keeps them behind the object's header, the position first. Where they are not found there, the slow way
    is taken.
    """

    def __init__(self, generator: random.Random) -> None:
        self._generator = generator
        self._memory: ctypes.Array[ctypes.c_char] | None = None
        if type(generator).__mro__[1].__basicsize__ >= object.__basicsize__ + _MERSENNE_BYTES:
            memory = (ctypes.c_char * _MERSENNE_BYTES).from_address(id(generator) + object.__basicsize__)
            position, words = memory.raw[:4], memory.raw[4:]
            if words + position == self._slow_words():
                self._memory = memory

    def read(self) -> bytes:
        if self._memory is None:
            words = self._slow_words()
            return words[-4:] + words[:-4]
        return self._memory.raw

    def write(self, state: bytes) -> None:
        if self._memory is None:
            position, *words = np.frombuffer(state, np.uint32).tolist()
            self._generator.setstate((self._generator.VERSION, (*words, position), None))
        else:
            self._memory.raw = state

    def _slow_words(self) -> bytes:
        return np.array(self._generator.getstate()[1], np.uint32).tobytes()


_python_memory = _PythonMemory(_PYTHON)


class LuckError(ValueError):
    """These bytes are no state of global generators."""


def capture_luck() -> bytes:
    """The states of the present global generators.

    One that an environment has put in the place of numpy's own cannot be captured: random bytes stand for it.
    """
    gauss = _PYTHON.gauss_next
    parts = [
        _python_memory.read(),
        _GAUSS.pack(gauss is not None, gauss or 0.0),
        _numpy_state(_NUMPY.get_bit_generator()),
    ]
    if torch := _torch():
        parts.append(torch.get_rng_state().numpy().tobytes())
    return b"".join(parts)


def apply_luck(state: bytes) -> None:
    """Restore the states from `capture_luck`.

    Raises:
        LuckError: these are no such states.
    """
    python, rest = state[:_MERSENNE_BYTES], state[_MERSENNE_BYTES:]
    numpy_state = rest[_GAUSS.size : _GAUSS.size + _MERSENNE_BYTES]
    if len(state) < _GLOBAL_BYTES:
        raise LuckError("the states of the global generators are cut short")
    if int.from_bytes(python[:4], "little") > _WORDS or int.from_bytes(numpy_state[-4:], "little") > _WORDS:
        raise LuckError("the states of the global generators are damaged")
    _set_numpy_state(numpy_state)
    has_gauss, gauss = _GAUSS.unpack_from(rest)
    _python_memory.write(python)
    _PYTHON.gauss_next = gauss if has_gauss else None
    if (torch := _torch()) and len(state) > _GLOBAL_BYTES:
        try:
            torch.set_rng_state(torch.frombuffer(bytearray(state[_GLOBAL_BYTES:]), dtype=torch.uint8))
        except RuntimeError as error:
            raise LuckError(str(error)) from None


def seed_luck(seed: int, env: gymnasium.Env) -> None:
    """Seed the present global generators, and those of the spaces of `env`."""
    of_numpy, of_python, of_torch = np.random.SeedSequence([seed, _STREAM]).spawn(3)
    _set_numpy_state(_numpy_state(np.random.MT19937(of_numpy)))
    random.seed(_number(of_python))
    if torch := _torch():
        torch.manual_seed(_number(of_torch))
    seed_spaces(env, seed)


def seed_spaces(env: gymnasium.Env, seed: int) -> None:
    """Seed the generators of the spaces of `env`, each apart."""
    for number, space in enumerate(spaces_of(env)):
        space.seed(_number(np.random.SeedSequence([seed, _STREAM, number])) >> 32)


def forget_second_normal() -> None:
    """Forget the second of each pair of numpy's normal numbers.

    It is no part of the generator's state, and would be lost whenever that is restored.
    """
    _NUMPY.set_bit_generator(_NUMPY.get_bit_generator())


def draw_seed() -> int:
    """A seed of 31 bits from the present global generators."""
    return int(_NUMPY.get_bit_generator().random_raw()) >> 1


class Luck:
    """One environment's own global generators.

    Args:
        seed: of all of them; None for one by chance.
    """

    def __init__(self, seed: int | None) -> None:
        of_numpy, of_python, self._torch_seed = np.random.SeedSequence(None if seed is None else [seed, _STREAM]).spawn(
            3
        )
        self._numpy: Any = np.random.MT19937(of_numpy)
        self._python: tuple[bytes, float | None] = _PythonMemory(random.Random(_number(of_python))).read(), None
        self._torch_state: Any = None
        self._torch_seeded = False

    def resume(self) -> None:
        """Make these the generators of the process, as `leave` left them."""
        _NUMPY.set_bit_generator(self._numpy)
        state, gauss = self._python
        _python_memory.write(state)
        _PYTHON.gauss_next = gauss
        if self._torch_state is not None:
            _torch().set_rng_state(self._torch_state)
        self.seed_torch()

    def seed_torch(self) -> None:
        """Seed PyTorch, once the environment has imported it."""
        if not self._torch_seeded and (torch := _torch()):
            torch.manual_seed(_number(self._torch_seed))
            self._torch_seeded = True

    def leave(self) -> None:
        """Keep the states while another environment's generators are used."""
        self._numpy = _NUMPY.get_bit_generator()
        self._python = _python_memory.read(), _PYTHON.gauss_next
        if torch := _torch():
            self._torch_state = torch.get_rng_state()


class LuckSwitch:
    """Switches between the generators of several environments.

    Args:
        lucks: those of each.
    """

    def __init__(self, lucks: Sequence[Luck]) -> None:
        self._lucks = lucks
        self._present: Luck | None = None

    def enter(self, index: int) -> None:
        """Make those of environment `index` the process's.

        Call it before each use of the environment.
        """
        luck = self._lucks[index]
        if luck is self._present:
            luck.seed_torch()
            forget_second_normal()
            return
        if self._present is not None:
            self._present.leave()
        luck.resume()
        self._present = luck


def spaces_of(env: gymnasium.Env) -> list[Space]:
    """The spaces of all layers of `env`, each once.

    Of a Dict or Tuple these are its entries, at any depth.
    """
    found: dict[int, Space] = {}
    layer = env
    while True:
        for space in (layer.action_space, layer.observation_space):
            found |= {id(leaf): leaf for leaf in _leaves(space)}
        if not isinstance(layer, gymnasium.Wrapper):
            return list(found.values())
        layer = layer.env


def own_spaces(env: gymnasium.Env) -> gymnasium.Env:
    """Give `env` copies of the spaces of its class.

    All instances share a class's spaces, and so their generators.
    """
    inner = env.unwrapped
    for name in ("action_space", "observation_space"):
        if name not in vars(inner) and isinstance(getattr(type(inner), name, None), Space):
            setattr(inner, name, copy.deepcopy(getattr(inner, name)))
    return env


def space_states(env: gymnasium.Env) -> list[Mapping[str, Any]]:
    """The states of the generators of the spaces of `env`, for JSON."""
    return [space.np_random.bit_generator.state for space in spaces_of(env)]


def set_space_states(env: gymnasium.Env, states: Sequence[Mapping[str, Any]]) -> None:
    """Restore the states from `space_states`."""
    for space, state in zip(spaces_of(env), states, strict=True):
        space.np_random.bit_generator.state = state


def _leaves(space: Space) -> Iterator[Space]:
    if isinstance(space, Dict | Tuple):
        for entry in space.spaces.values() if isinstance(space, Dict) else space.spaces:
            yield from _leaves(entry)
    else:
        yield space


def _torch() -> Any:
    """PyTorch, if this process has wholly imported it."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "set_rng_state") else None


def _number(seed: np.random.SeedSequence) -> int:
    return int(seed.generate_state(1, np.uint64)[0]) >> 1


# ── numpy's global generator ────────────────────────────────────────────────────────────────────────────────────


def _numpy_memory(generator: np.random.MT19937) -> ctypes.Array[ctypes.c_char]:
    return (ctypes.c_char * _MERSENNE_BYTES).from_address(generator.ctypes.state_address)


def _slow_numpy_state(generator: np.random.MT19937) -> bytes:
    state = generator.state["state"]
    return np.asarray(state["key"], np.uint32).tobytes() + int(state["pos"]).to_bytes(4, sys.byteorder)


def _memory_is_known() -> bool:
    generator = np.random.MT19937(1)
    return _numpy_memory(generator).raw == _slow_numpy_state(generator)


_MEMORY_IS_KNOWN = _memory_is_known()
"""Whether numpy's state lies in its memory as in its ``state``, which takes longer to read than a step."""


def _numpy_state(generator: Any) -> bytes:
    if not isinstance(generator, np.random.MT19937):
        return os.urandom(_MERSENNE_BYTES)
    return _numpy_memory(generator).raw if _MEMORY_IS_KNOWN else _slow_numpy_state(generator)


def _set_numpy_state(state: bytes) -> None:
    generator = _NUMPY.get_bit_generator()
    if not isinstance(generator, np.random.MT19937):
        generator = np.random.MT19937(0)
    words = np.frombuffer(state, np.uint32)
    generator.state = {"bit_generator": "MT19937", "state": {"key": words[:-1], "pos": int(words[-1])}}
    _NUMPY.set_bit_generator(generator)
