"""The catalogue of faults names tests that exist."""

from __future__ import annotations

import re

from tests.conftest import ROOT
from tests.faults.catalogue import CATALOGUE, all_tests


def test_every_fault_is_injected_by_tests_that_exist():
    assert sorted(CATALOGUE) == list(range(1, 43))
    for test in all_tests():
        file, *names = test.split("::")
        source = (ROOT / file).read_text("utf-8")
        for name in names:
            assert re.search(rf"^ *(class|(async )?def) {name}\b", source, re.MULTILINE), test
