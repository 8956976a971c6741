"""Runs a tutorial as its reader would, block by block, and compares what is printed."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ports import free_port

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
PORT = "8000"  # of the pages; a free one takes its place
SERVER = "mobile-videogpt serve"


@dataclass(frozen=True)
class Block:
    """Code of a page, and what the page says that it prints."""

    language: str
    code: str
    line: int
    expected: str | None


def blocks_of(page: Path) -> list[Block]:
    """The Python and shell blocks of a page; a `text` block after one is its output."""
    text = page.read_text(encoding="utf-8")
    found = list(BLOCK.finditer(text))
    blocks = []
    for match, following in zip(found, [*found[1:], None], strict=True):
        language, code = match.groups()
        if language not in ("python", "bash"):
            continue
        is_output = following is not None and following.group(1) == "text"
        line = text.count("\n", 0, match.start()) + 2
        blocks.append(Block(language, code, line, following.group(2) if is_output else None))
    return blocks


def matches(expected: str, printed: str) -> bool:
    """Whether a text is what was expected, in which `...` stands for anything."""
    pattern = re.escape(expected.strip()).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, printed.strip(), flags=re.DOTALL) is not None


class Reader:
    """Somebody who types a page's blocks, in a folder that looks like a checkout.

    Shell blocks run in processes of their own, Python blocks in this one with names in common, and
    a server stays until `close`. What installs something is left out: tests have it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._servers: list[subprocess.Popen[str]] = []
        self._port = str(free_port())
        shutil.copytree(ROOT / "examples", folder / "examples")
        self._environment = environment(folder / ".programs")

    def run(self, block: Block) -> str:
        """What a block prints on standard output; it must succeed."""
        code = block.code.replace(PORT, self._port)
        if code.startswith("pip install"):
            return ""
        if block.language == "python":
            return self._run_python(code, block.line)
        if code.startswith(SERVER):
            self._servers.append(self._start_server(code))
            return ""
        command = ["bash", "-e", "-o", "pipefail", "-c", code]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"line {block.line}: {done.stdout}{done.stderr}"
        return done.stdout

    def _run_python(self, code: str, line: int) -> str:
        printed = io.StringIO()
        # Line numbers of a traceback are those of the page.
        program = compile("\n" * (line - 1) + code, "tutorial", "exec")
        with contextlib.redirect_stdout(printed):
            exec(program, self._names)
        return printed.getvalue()

    def _start_server(self, code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {code}"],
            cwd=self.folder,
            env=self._environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = []
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "is served at" in line:
                # A log that nobody reads would fill the pipe, and the server would wait.
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return process
        raise AssertionError(f"the server does not start: {''.join(said)}")

    def close(self) -> None:
        """End what was started."""
        for process in self._servers:
            process.terminate()
        for process in self._servers:
            process.wait(60)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[Reader]:
    """A reader, until the block ends."""
    reader = Reader(folder)
    try:
        yield reader
    finally:
        reader.close()


def environment(programs: Path) -> dict[str, str]:
    """Variables with which `mobile-videogpt` and `python` are those of the tests."""
    programs.mkdir()
    for name, arguments in {"mobile-videogpt": "-m mobile_videogpt", "python": ""}.items():
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        script.chmod(0o755)
    search = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": search}
