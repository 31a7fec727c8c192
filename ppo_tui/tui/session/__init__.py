"""Sessions: the screen polls one for events and sends it commands.

Any `Session` can stand behind the screen: an engine in a thread of this process (`LocalSession`),
one behind a socket (`AttachedSession`), or the file of a run that ended last week (`ReplaySession`).
"""

from .attached import AttachedSession
from .base import HistoryRestarted, Mailbox, Session
from .local import Engine, LocalSession, WatchSession
from .replay import ReplaySession

__all__ = [
    "AttachedSession",
    "Engine",
    "HistoryRestarted",
    "LocalSession",
    "Mailbox",
    "ReplaySession",
    "Session",
    "WatchSession",
]
