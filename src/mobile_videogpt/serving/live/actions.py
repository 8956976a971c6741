"""Commands that are run on events: without a shell, beside the watching, one run at a time."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any

_LOG = logging.getLogger(__name__)
PREFIX = "MOBILE_VIDEOGPT_"
# A command that takes longer is ended.
TIMEOUT_S = 60.0
_KILL_S = 2.0


class Action:
    """A command with its arguments.

    Args:
        command: as in a shell's line, quotes included; but no shell reads it, so that nothing an
            answer or an address holds can become a command. On Windows it is taken as it stands.

    Raises:
        ValueError: it is empty, its quotes are open, or there is no such program.
    """

    def __init__(self, command: str, timeout_s: float = TIMEOUT_S) -> None:
        try:
            words = shlex.split(command, posix=os.name != "nt")
        except ValueError as error:
            raise ValueError(f"the command {command!r} cannot be read: {error}") from error
        if not words:
            raise ValueError("the command is empty; give a program and its arguments")
        program = words[0].strip('"')
        if shutil.which(program) is None:
            raise ValueError(
                f"there is no program {program!r} to run; give its path, or "
                "'sh -c \"...\"' for a line that a shell should read"
            )
        self.command = command
        self._call: str | list[str] = command if os.name == "nt" else words
        self._timeout_s = timeout_s
        self._thread: threading.Thread | None = None

    def start(self, facts: dict[str, Any]) -> bool:
        """Run it, unless the last run is not over; whether it was started.

        Args:
            facts: given to the command as one JSON document on its standard input, and one by one
                as environment variables: `question` is MOBILE_VIDEOGPT_QUESTION.
        """
        if self._thread is not None and self._thread.is_alive():
            _LOG.warning("%s is still running: it is not started again now.", self.command)
            return False
        self._thread = threading.Thread(target=self._run, args=(facts,), daemon=True)
        self._thread.start()
        return True

    def wait(self, timeout_s: float) -> None:
        """Let a run come to its end, for so long."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self, facts: dict[str, Any]) -> None:
        variables = {f"{PREFIX}{name.upper()}": str(value) for name, value in facts.items()}
        try:
            process = subprocess.Popen(
                self._call,
                stdin=subprocess.PIPE,
                stdout=2,  # standard output is for the answers
                env={**os.environ, **variables},
                # Ctrl-C ends the watching; a message that is being sent may be finished.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            _LOG.warning("%s cannot be run: %s.", self.command, error)
            return
        try:
            process.communicate(json.dumps(facts, ensure_ascii=False).encode(), self._timeout_s)
        except subprocess.TimeoutExpired:
            _end(process)
            _LOG.warning("%s took longer than %g s and was ended.", self.command, self._timeout_s)
            return
        if process.returncode:
            _LOG.warning("%s ended with exit code %d.", self.command, process.returncode)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command, and on POSIX all that it started."""
    for sign in ("SIGTERM", "SIGKILL"):
        if sys.platform == "win32":
            process.kill()
        else:
            try:
                os.killpg(process.pid, getattr(signal, sign))
            except ProcessLookupError:
                return
        try:
            process.wait(_KILL_S)
            return
        except subprocess.TimeoutExpired:
            continue
