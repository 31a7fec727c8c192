"""Take one private name or system call away, in whichever process imports this: a pool's parent or its fork server.

The environment variable ``MISSING`` says which one.
"""

from __future__ import annotations

import os
from multiprocessing import connection, forkserver
from types import SimpleNamespace

from ppo_tui.system import processes
from ppo_tui.workers import process
from tests.workers.envs import Counter


class Without:
    """The fork server's object, where one attribute is not to be found."""

    def __init__(self, name: str) -> None:
        self.__dict__["name"] = name

    def __getattr__(self, name: str):
        if name == self.name:
            raise AttributeError(name)
        return getattr(forkserver._forkserver, name)

    def __setattr__(self, name: str, value) -> None:
        setattr(forkserver._forkserver, name, value)


def take_away(name: str) -> None:
    if name == "prctl":
        processes.c_function = lambda _: None
    elif name == "Connection":  # its methods, and with them how it frames messages
        for method in ("send", "recv", "send_bytes", "recv_bytes"):
            delattr(connection._ConnectionBase, method)
    else:
        public = {key: getattr(forkserver, key) for key in forkserver.__all__}
        private = {} if name == "_forkserver" else {"_forkserver": Without(name)}
        process.forkserver = SimpleNamespace(**public, **private)
    Counter.missing = name


take_away(os.environ["MISSING"])
