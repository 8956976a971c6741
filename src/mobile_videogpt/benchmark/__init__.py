"""How fast, how large, and compared with whom: `mobile-videogpt bench`.

Whatever is timed is a *contestant* and lives in a process of its own (`worker.py`), so that its
peak memory is its own; they take turns (`turns.py`), so that a machine that slows down slows down
all of them. `run.run_benchmark` puts it together, and imports no torch: only workers need it.
"""

from mobile_videogpt.benchmark.settings import PEERS, Settings

__all__ = ["PEERS", "Settings"]
