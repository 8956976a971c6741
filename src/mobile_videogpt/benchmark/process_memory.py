"""How much memory a process took at most, and how much the machine has left."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_rss_bytes() -> int | None:
    """Most memory that this process held at once (resident set); None where the system is silent.

    Pages of files that are mapped into memory count as well, as `top` shows them.
    """
    # Not getrusage on Linux: after fork and exec it still holds the peak of the parent.
    if (found := _proc_value(Path("/proc/self/status"), "VmHWM")) is not None:
        return found
    if sys.platform == "win32":
        return _peak_on_windows()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def available_bytes() -> int | None:
    """Memory that a new process can have without swapping; None where the system is silent."""
    return _proc_value(Path("/proc/meminfo"), "MemAvailable")


def _proc_value(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    row = next((line.split() for line in lines if line.startswith(f"{name}:")), None)
    return 1024 * int(row[1]) if row else None


def _peak_on_windows() -> int | None:
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = [
            ("cb", wintypes.DWORD),
            ("faults", wintypes.DWORD),
            *((name, ctypes.c_size_t) for name in ("peak", "now", "a", "b", "c", "d", "e", "f")),
        ]

    counters = Counters(cb=ctypes.sizeof(Counters))
    windll = getattr(ctypes, "windll", None)
    if windll is None:
        return None
    process = windll.kernel32.GetCurrentProcess
    process.restype = wintypes.HANDLE
    query = windll.psapi.GetProcessMemoryInfo
    query.argtypes = [wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD]
    return int(counters.peak) if query(process(), ctypes.byref(counters), counters.cb) else None
