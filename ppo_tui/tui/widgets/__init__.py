"""Widgets: the panels of the screens, their charts and lists."""
