"""The platform: Linux's own means, each with a portable fallback.

What a system lacks is found out here, by the name that is missing. ``ppo-tui doctor`` lists the fallbacks in use, and
``make test-portable`` runs the tests without the names of Linux. Cores and memory are in `ppo_tui.machine`.
"""
