"""Probes that misbehave the way decoders do; the workers import them by name."""

import ctypes
import os
import signal
import time

from mobile_videogpt.training.data.probe import Probe, Task, probe_file


def misbehaving(task: Task) -> Probe:
    """Looks into a file, unless its name asks for trouble."""
    name = task.path.name
    if "killed" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "segfaults" in name:
        ctypes.string_at(0)
    if "exits" in name:
        os._exit(3)
    if "hangs" in name:
        time.sleep(3600)
    if "unlucky" in name and not (flag := task.path.with_suffix(".tried")).exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "bug" in name:
        raise KeyError("frame")
    return probe_file(task)


def must_not_be_called(task: Task) -> Probe:
    """For checks that have seen everything already."""
    raise AssertionError(f"{task.path} was looked at again")
