"""A run begins, or is stopped before: one of them, and at once."""

from __future__ import annotations

import threading
import time

import pytest

from ppo_tui.protocol import Event, RunFinished, RunState, StartProgress, StateChanged, Stop
from ppo_tui.sinks.starting import NOT_STARTED, StartWatch
from ppo_tui.sinks.wording import describe
from ppo_tui.training.hub import FunctionSink
from ppo_tui.training.inbox import Forestalled, Inbox
from ppo_tui.tui.view import RunView
from tests.waiting import wait_until


class Starting:
    """Workers, some of which are ready."""

    num_workers, ready = 4, 2


def watched(inbox: Inbox) -> tuple[StartWatch, list[Event]]:
    events: list[Event] = []
    watch = StartWatch(inbox, [FunctionSink(events.append)], workers=Starting())
    watch.start()
    return watch, events


def test_a_stop_before_the_beginning_ends_the_run_while_the_engine_still_loads():
    inbox = Inbox(start_watched=True)
    watch, events = watched(inbox)
    inbox.send(Stop(save=True, exit_code=143, by="SIGTERM"))
    end = watch.settle()
    assert end is not None
    assert events[-1] == end
    assert (end.state, end.exit_code, end.by, end.reason) == (RunState.STOPPED, 143, "SIGTERM", NOT_STARTED)
    assert describe(end) == "stopped before it had started"
    with pytest.raises(Forestalled):
        inbox.begin()


def test_once_the_training_has_begun_a_stop_is_the_engines_to_obey():
    inbox = Inbox(start_watched=True)
    watch, events = watched(inbox)
    inbox.begin()
    inbox.send(Stop())
    assert watch.settle() is None
    assert inbox.receive() == Stop()
    assert not any(isinstance(event, RunFinished) for event in events)


def test_whoever_comes_first_wins_and_only_one_of_them():
    for _ in range(200):
        inbox = Inbox(start_watched=True)
        barrier, begun = threading.Barrier(2), []

        def begin(inbox=inbox, barrier=barrier, begun=begun):
            barrier.wait()
            try:
                inbox.begin()
                begun.append(True)
            except Forestalled:
                begun.append(False)

        thread = threading.Thread(target=begin)
        thread.start()
        barrier.wait()
        inbox.send(Stop())
        thread.join()
        assert begun == [not inbox.forestalled]
        assert (inbox.await_start(1.0) is None) == begun[0]


def test_an_inbox_without_a_watcher_leaves_every_stop_to_the_engine():
    inbox = Inbox()
    inbox.send(Stop())
    inbox.begin()
    assert inbox.receive() == Stop()


def test_the_start_says_what_it_does_and_how_many_workers_are_ready():
    inbox = Inbox(start_watched=True)
    _, events = watched(inbox)
    wait_until(lambda: bool(events))
    progress = events[0]
    assert isinstance(progress, StartProgress)
    assert progress.text == "loading PyTorch … · starting 4 workers (2 ready)"
    inbox.begin()


def test_progress_that_is_published_late_does_not_take_a_training_run_back_to_its_start():
    """On a busy machine the watcher waits for its turn between looking and publishing."""
    inbox, events, published = Inbox(start_watched=True), [], threading.Event()

    class Overtaken:
        """Workers that are looked at while the training begins."""

        num_workers = 4

        @property
        def ready(self) -> int:
            inbox.begin()
            events.append(StateChanged(time=time.time(), state=RunState.TRAINING))
            return 4

    def emit(event: Event) -> None:
        events.append(event)
        published.set()

    StartWatch(inbox, [FunctionSink(emit)], workers=Overtaken()).start()
    assert published.wait(60)
    assert [type(event) for event in events] == [StateChanged, StartProgress]
    view = RunView()
    for event in events:
        view.apply(event)
    assert view.state is RunState.TRAINING
