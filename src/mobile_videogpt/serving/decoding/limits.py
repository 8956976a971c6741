"""What the system is asked to hold a process to that works on a client's data."""

from __future__ import annotations

import os


def limit_process(memory_bytes: int) -> None:
    """Let the system end this process before it takes the machine's memory or writes a file."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, amount in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        try:
            resource.setrlimit(kind, (amount, amount))
        except (OSError, ValueError):  # macOS has no limit of address space
            continue


def allow_seconds(seconds: float) -> None:
    """Let the system end this process some time after the server should have: it may be gone."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = used.ru_utime + used.ru_stime
    soft = int(spent + 2 * seconds * (os.cpu_count() or 1)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))
