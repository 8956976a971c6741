"""How much memory a run may take here."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_SHARE = 0.8  # the rest is left to libraries, the allocator and other programs
_CGROUP = Path("/sys/fs/cgroup")


def usable_bytes() -> tuple[int, str]:
    """Bytes that a step may take, and of what: the GPU if there is one, else the main memory."""
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        return int(_SHARE * free), torch.cuda.get_device_name()
    return int(_SHARE * min(_available(), _left_in_container())), "main memory"


def _available() -> int:
    """What the system could give without swapping; half of all memory where it does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    except (ValueError, OSError, AttributeError):
        return 8 * 2**30


def _left_in_container() -> int:
    """What a container's limit leaves; plenty where there is none."""
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        return max(int(limit) - used, 0) if limit != "max" else 2**62
    except (OSError, ValueError):
        return 2**62
