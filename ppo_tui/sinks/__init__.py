"""Sinks of the event stream: files, trackers, notifications, the headless console."""

from .event_log import EventLog
from .wording import describe, describe_next

__all__ = ["EventLog", "describe", "describe_next"]
