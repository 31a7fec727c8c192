"""Settings of the documentation's site.

``make docs`` builds it; then open ``docs/_build/html/index.html``.
"""

from __future__ import annotations

import ppo_tui

project = "ppo-tui"
author = "the ppo-tui developers"
release = version = ppo_tui.__version__
extensions = ["myst_parser", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "ppo-tui"
exclude_patterns = ["_build"]
