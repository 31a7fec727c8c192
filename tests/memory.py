"""A bound for the memory that a block takes at once."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator


@contextlib.contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Fail if the block ever has `limit` bytes of its own, or more.

    Those of Python's objects and of NumPy's arrays count.

    Raises:
        AssertionError: it had so many.
    """
    tracemalloc.start()
    try:
        yield
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < limit, f"{most:,} bytes at once"
