"""A server in a process of its own, and what it takes of the machine, for the scripts beside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Served:
    """`mobile-videogpt serve` on a free port, until the block ends.

    Args:
        options: of the command.
        program: what Python runs instead of the package.
    """

    def __init__(self, *options: str, program: Sequence[str] = ("-m", "mobile_videogpt")) -> None:
        start = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, *program, "serve", "--port", "0", *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        said = ""
        while "is served at" not in said:
            line = self._process.stderr.readline()
            if not line:
                raise RuntimeError(f"the server does not start: {said}")
            said += line
        found = re.search(r"http://[\d.:]+", said)
        assert found is not None
        self.url = found.group()
        self.start_up_s = round(time.perf_counter() - start, 2)
        self.log: list[str] = []
        # A log that nobody reads would fill the pipe, and the server would wait.
        threading.Thread(target=self._read_log, daemon=True).start()

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line.rstrip())

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.terminate()
        self.exit_code = self._process.wait(60)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def process_id(self) -> int:
        """Of the server's own process."""
        return self._process.pid

    def usage(self) -> dict[str, float]:
        """Memory in MB, open files and threads of the server's own process (Linux)."""
        folder = Path(f"/proc/{self._process.pid}")
        pages = int((folder / "statm").read_text().split()[1])
        return {
            "rss_mb": round(pages * PAGE / 1e6, 1),
            "files": len(list((folder / "fd").iterdir())),
            "threads": len(list((folder / "task").iterdir())),
        }

    def cpu_s(self) -> float:
        """Seconds of processor that the server's process has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metrics(self) -> dict[str, float]:
        """The server's own figures, those without labels."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        plain = (line.split() for line in lines if "{" not in line and not line.startswith("#"))
        return {name.removeprefix("mobile_videogpt_"): float(value) for name, value in plain}
