"""Views of the event stream that are not a screen: files and the headless console."""

from .event_log import EventLog
from .wording import describe

__all__ = ["EventLog", "describe"]
