"""Every fault that a run must survive, and the tests that inject it: ``python -m tests.faults.catalogue`` prints them.

``make test-faults`` runs them all, the slow and the long ones too.
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One row.

    Attributes:
        fault: what happens.
        promise: what the user sees, and how the run goes on.
        tests: the files, or tests in files, that inject it.
    """

    fault: str
    promise: str
    tests: tuple[str, ...]


WORKERS = "tests/faults/test_workers.py"
ENVS = "tests/faults/test_envs.py"
LEARNING = "tests/faults/test_learning.py"
PROCESSES = "tests/faults/test_processes.py"
COMMANDS = "tests/faults/test_commands_and_clocks.py"
CHECKPOINTS = "tests/training/checkpoint/test_files.py"
SERVER = "tests/runs/test_server.py"
BACKGROUND = "tests/commands/test_detached.py"
RESUME = "tests/commands/test_resume.py"
TERMINAL = "tests/commands/test_train.py"
RANKS = "tests/distributed/test_training.py"
A3C = "tests/training/test_a3c.py::TestRun"

CATALOGUE: dict[int, Fault] = {
    1: Fault(
        "kill -9 of a worker in the middle of a step",
        "named, replaced, its part of the rollout played again: the run ends with the bits of one without it",
        (
            WORKERS,
            f"{TERMINAL}::test_a_dead_worker_is_replaced_behind_the_screen_and_the_run_goes_on",
            f"{TERMINAL}::test_a_worker_beyond_recovery_shows_on_the_screen_and_in_the_exit_code",
            f"{A3C}::test_a_lost_worker_is_replaced_and_learns_on_with_episodes_of_its_own",
            f"{A3C}::test_a_worker_lost_too_often_ends_the_run_and_what_was_learnt_is_kept",
            f"{A3C}::test_with_no_restarts_allowed_the_run_ends",
            f"{A3C}::test_restarts_count_anew_after_the_steps_of_a_whole_round",
        ),
    ),
    2: Fault("a worker hangs", "named after workers.step_timeout, killed, then as 1", (WORKERS,)),
    3: Fault(
        "an environment raises", "its traceback, worker and seed; a new episode; the end after 5 in a row",
        (ENVS, f"{A3C}::test_an_environment_that_cannot_go_on_is_reported_with_its_error"),
    ),
    4: Fault(
        "NaN, infinity or a wrong shape from an environment",
        "named with its step; the episode is dropped, or the run stops (env.on_bad_value)",
        (ENVS,),
    ),
    5: Fault(
        "NaN losses or gradients",
        "the update is skipped; after three in a row back to the last good checkpoint and paused, or exit code 4",
        (LEARNING,),
    ),
    6: Fault("garbage, a huge length or half a message on a pipe", "protocol error, then as 1", (WORKERS,)),
    7: Fault("a full pipe", "nobody is blocked; then as 2", (WORKERS,)),
    8: Fault(
        "kill -9 of the run",
        "no process two seconds later, no shared memory; it can be resumed",
        (PROCESSES,
         f"{RESUME}::test_a_run_goes_on_after_sigterm_and_after_sigkill_with_the_numbers_of_one_that_was_left_alone",
         "tests/workers/test_pool.py::test_no_worker_survives_a_killed_parent_not_even_a_hung_or_stopped_one"),
    ),
    9: Fault(
        "kill -9 of the whole group, as when memory runs out", "listed as crashed, and resumed",
        (PROCESSES, f"{BACKGROUND}::test_a_killed_run_is_shown_as_crashed"),
    ),
    10: Fault(
        "SIGTERM", "saved, the terminal restored, exit code 143",
        ("tests/commands/test_runs.py::test_a_signal_saves_and_leaves_with_its_code",
         f"{BACKGROUND}::test_sigterm_while_pytorch_loads_is_recorded",
         f"{TERMINAL}::test_sigterm_saves_and_restores_the_terminal",
         "tests/tui/test_terminal.py::test_a_signal_while_a_lost_screen_is_taken_down_is_for_the_run"),
    ),
    11: Fault(
        "SIGINT once, twice, fifty times", "saved; at once; no storm of tracebacks",
        (PROCESSES, f"{TERMINAL}::test_ctrl_c_twice_stops_at_once",
         "tests/workers/test_pool.py::test_workers_ignore_an_interrupt_meant_for_the_parent"),
    ),
    12: Fault(
        "the terminal goes away", "the run goes on, and can be attached to",
        (f"{BACKGROUND}::test_a_run_outlives_its_terminal",
         f"{BACKGROUND}::test_a_paused_run_without_its_terminal_is_idle_and_one_who_watches_just_leaves"),
    ),
    13: Fault(
        "the disk is full",
        "an alarm that names what is kept; retried; what could not be recorded is recorded later",
        (PROCESSES, f"{CHECKPOINTS}::test_a_full_disk_is_an_alarm_that_names_what_is_kept_and_it_is_tried_again"),
    ),
    14: Fault(
        "a checkpoint is truncated, empty, bit-flipped",
        "the file is named, and the one before used; never from scratch",
        (CHECKPOINTS, f"{RESUME}::test_what_was_damaged_is_passed_over_aloud_and_nothing_starts_from_scratch"),
    ),
    15: Fault("kill -9 during a save", "the temporary one is ignored", (CHECKPOINTS,)),
    16: Fault("a pickle in a checkpoint's place", "refused, nothing is executed", (CHECKPOINTS,)),
    17: Fault(
        "two runs in one directory", "refused with the pid of the first",
        ("tests/runs/test_registry.py::test_two_runs_in_one_directory_are_refused_until_the_first_is_gone",),
    ),
    18: Fault("the clock jumps by a day", "no rate is negative or infinite", (COMMANDS,)),
    19: Fault("a storm of sizes", "redrawn, no traceback", ("tests/tui/test_app.py::test_a_storm_of_sizes",)),
    20: Fault(
        "10,000 keys", "one change of each setting an update",
        (COMMANDS, f"{SERVER}::test_commands_by_the_thousand_are_too_many"),
    ),
    21: Fault(
        "a bad preset", "file, key, what was expected and what was there; exit code 2",
        (COMMANDS, "tests/config/test_loading.py", "tests/commands/test_bad_input.py",
         "tests/faults/test_hostile.py", "tests/faults/test_limits.py", "tests/commands/test_hostile_texts.py"),
    ),
    22: Fault(
        "an unknown environment, an unsupported space", "the nearest names, what is supported; exit code 2",
        ("tests/envs/test_probing.py", "tests/envs/test_spaces.py"),
    ),
    23: Fault("a bogus ROM", "refused before anything starts", (ENVS,)),
    24: Fault(
        "an action out of range", "refused by ours before the emulator sees it",
        ("tests/envs/test_atari_rules.py::test_actions_out_of_range_are_refused",),
    ),
    25: Fault(
        "the socket is stale, or its path too long", "replaced; put elsewhere",
        (f"{SERVER}::test_a_socket_left_by_a_killed_process_is_replaced",
         f"{SERVER}::test_where_the_run_directory_will_not_do_the_socket_lies_in_a_private_one",
         f"{SERVER}::test_a_run_whose_socket_cannot_be_made_trains_all_the_same"),
    ),
    26: Fault("another user connects", "refused and logged", (f"{SERVER}::test_another_user_is_refused",)),
    27: Fault(
        "endless, malformed and slow messages, 200 clients", "answered, and dropped; the training goes on",
        (SERVER, "tests/runs/test_fuzz.py"),
    ),
    28: Fault(
        "an exception while learning", "exit code 3, its traceback in the log, a checkpoint of the update before",
        (LEARNING, "tests/tui/test_session.py"),
    ),
    29: Fault(
        "kill -9 of one of several processes that train together",
        "the others leave, torchrun starts all again, and the run goes on from its newest checkpoint",
        (
            f"{RANKS}::test_a_rank_that_is_killed_costs_a_restart_from_the_newest_checkpoint",
            f"{RANKS}::test_a_torchrun_that_is_killed_leaves_a_saved_run_and_no_process",
        ),
    ),
    30: Fault(
        "preset or program changed before resuming", "the difference is shown; refused, or --force",
        (f"{RESUME}::test_a_changed_config_file_is_refused_unless_forced_and_a_set_is_kept",
         "tests/training/checkpoint/test_resume.py"),
    ),
    31: Fault(
        "an exception of the screen, any byte from its terminal",
        "a lost terminal: the run goes on headless, run.log has the traceback, attach shows it again",
        ("tests/faults/test_screen.py", "tests/tui/test_guest.py",
         "tests/training/test_inspection.py::test_a_look_that_fails_costs_the_run_nothing"),
    ),
    32: Fault(
        "the reader of stdout goes away or stalls, a sink raises anything, a library's thread dies",
        "an alarm; the sink is detached, the exit code is the run's",
        ("tests/commands/test_readers.py", "tests/training/test_hub.py", "tests/test_guest_stream.py",
         "tests/sinks/test_readers.py", "tests/training/test_progress.py"),
    ),
    33: Fault(
        "run directory moved, removed, copied, without its lock; links and special files in it",
        "an alarm within seconds, or a refusal; held by descriptor, nothing is written elsewhere",
        ("tests/faults/test_directories.py", "tests/runs/test_directory.py",
         "tests/training/checkpoint/test_files.py"),
    ),
    34: Fault(
        "run.json, config.toml, metrics or a neighbour damaged", "shown as damaged; rebuilt when the run resumes",
        ("tests/runs/test_directory.py", "tests/runs/test_registry.py", "tests/tui/test_odd_records.py"),
    ),
    35: Fault(
        "control characters, markup and formulas in names and texts from others", "plain text, everywhere",
        ("tests/commands/test_hostile_texts.py", "tests/test_streams.py"),
    ),
    36: Fault(
        "the environment misbehaves while it is made, tried, masked or closed",
        "one sentence in Gymnasium's words; only ever in a process of its own, with time limits",
        ("tests/workers/test_probing.py", "tests/envs/test_probing.py", "tests/envs/test_masks.py"),
    ),
    37: Fault("a worker dies, hangs or stops before its first step", "as 1 and 2", ("tests/workers/test_start.py",)),
    38: Fault(
        "an episode of an evaluation that never ends", "ended at the limit, and counted as such",
        ("tests/training/evaluation/test_evaluate.py", "tests/training/evaluation/test_background.py"),
    ),
    39: Fault(
        "another process at the run's socket, a copy of a run, a reader that sends",
        "refused by both ends; the original is never reached through a copy",
        ("tests/runs/test_address.py", "tests/tui/test_attached.py"),
    ),
    40: Fault(
        "a foreign preset or run names code, a command or an address", "named, and refused without consent",
        ("tests/config/test_consent.py", "tests/commands/test_consent.py"),
    ),
    41: Fault(
        "no core for a worker or an evaluation, on a machine under load", "slow, and never taken for hung",
        (f"{WORKERS}::test_a_worker_without_a_core_to_run_on_does_not_hang",
         f"{A3C}::test_a_worker_without_a_core_to_run_on_does_not_hang",
         "tests/training/evaluation/test_background.py::test_what_an_evaluation_waits_for_a_core_is_no_silence"),
    ),
    42: Fault(
        "the process stopped and continued, with a shell between", "the screen drawn anew, the terminal given back",
        ("tests/tui/test_terminal.py::test_a_process_stopped_and_continued_by_others_takes_its_terminal_anew",),
    ),
}  # fmt: skip
"""By number."""


def all_tests() -> list[str]:
    """What to give pytest to inject every fault."""
    return list(dict.fromkeys(test for fault in CATALOGUE.values() for test in fault.tests))


if __name__ == "__main__":
    print(*all_tests())
