"""Views of the event stream besides the screen: files, trackers, notifications, the headless console."""

from .event_log import EventLog
from .wording import describe

__all__ = ["EventLog", "describe"]
