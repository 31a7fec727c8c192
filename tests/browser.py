"""A real browser for the pages that this program makes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest


@pytest.fixture
def chromium() -> Iterator[object]:
    """Headless Chromium, driven by Playwright.

    For one test alone: while it is there, an event loop counts as running, which asynchronous tests would stumble over.
    """
    api = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser: pip install playwright")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        message = "there is no Chromium here: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        )
        yield browser
        browser.close()
