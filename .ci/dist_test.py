"""Build the wheel and the sdist, and use each of them in an environment that held nothing.

    make dist-test

1. sdist and, from it, the wheel: `python -m build`, without a warning; `twine check --strict`.
2. The linters of what is shipped beside them: CITATION.cff, Dockerfile, workflows.
3. The wheel with what `serve` needs, in an empty environment outside the checkout: the built-in
   model answers a question rightly, the server answers on its health address and gives its page.
4. The sdist in its place, on the dependencies that are there by then: the same question.

What was built is left in `dist/`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.request
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
# For pip: more options from the command line, as `make` has them.
PIP_FLAGS = os.environ.get("PIP_FLAGS", "").split()
CONSTRAINTS = ["-c", str(ROOT / "constraints.txt"), *PIP_FLAGS]


def main() -> int:
    """Run all steps; the first that fails ends it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tools = environment(folder / "tools")
        group = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
        install(tools, *group["release"])
        wheel, sdist = build(tools)
        lint(tools)
        empty = environment(folder / "empty")
        install(empty, f"{wheel}[serve]")
        ask(empty, folder)
        serve(empty, folder)
        install(empty, "--force-reinstall", "--no-deps", str(sdist))
        ask(empty, folder)
    print(f"{wheel.name} and {sdist.name} are in {DIST.name}/ and answer")
    return 0


def environment(folder: Path) -> Path:
    """A new virtual environment; returns where its programs are."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if os.name == "nt" else "bin")


def install(programs: Path, *what: str) -> None:
    """Install with the pinned versions."""
    quiet = ("--quiet", "--disable-pip-version-check")
    run(programs / "python", "-m", "pip", "install", *quiet, *CONSTRAINTS, *what)


def build(tools: Path) -> tuple[Path, Path]:
    """The wheel, made from the sdist, and the sdist.

    Raises:
        SystemExit: the build warns, or a file that must be in them is not.
    """
    shutil.rmtree(DIST, ignore_errors=True)
    said = run(tools / "python", "-W", "error", "-m", "build", "--outdir", DIST, ROOT)
    if re.search("warning|deprecat", said, flags=re.IGNORECASE):
        sys.exit(f"the build warns:\n{said}")
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    run(tools / "twine", "check", "--strict", wheel, sdist)
    package = [str(path.relative_to(ROOT / "src")) for path in package_files()]
    missing = set(package) - set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        inside = {name.split("/", 1)[-1] for name in archive.getnames()}
    missing |= {f"src/{name}" for name in package} - inside
    missing |= {"pyproject.toml", "constraints.txt", "tests/test_packaging.py"} - inside
    if missing:
        sys.exit(f"not in the wheel or the sdist: {', '.join(sorted(missing))}")
    return wheel, sdist


def package_files() -> list[Path]:
    """What git knows of the package: modules, the built-in checkpoint, the page."""
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--", "src").split("\0")
    return [ROOT / name for name in listed if name and (ROOT / name).exists()]


def lint(tools: Path) -> None:
    """What is shipped beside the package."""
    run(tools / "cffconvert", "--validate", "-i", ROOT / "CITATION.cff")
    run(tools / "hadolint", ROOT / "Dockerfile")
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    run(tools / "jactionlint", "--profile", "correctness", "--shellcheck=", *workflows)


def ask(programs: Path, elsewhere: Path) -> None:
    """The built-in model is right about an example clip, run from outside the checkout."""
    clip = json.loads((ROOT / "examples" / "clips.json").read_text("utf-8"))[0]
    item = clip["questions"][0]
    video = ROOT / "examples" / clip["file"]
    said = run(programs / "mobile-videogpt", "ask", video, item["question"], cwd=elsewhere)
    if said.strip() != item["answer"]:
        sys.exit(f"{item['question']} {said.strip()!r}, but it is {item['answer']!r}")


def serve(programs: Path, elsewhere: Path) -> None:
    """The installed server answers on every address that needs a file of the package."""
    command = [programs / "mobile-videogpt", "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=elsewhere, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = ""
        while not (found := re.search(r"http://[\d.:]+", said)):
            line = process.stderr.readline()
            if not line:
                sys.exit(f"the server does not start:\n{said}")
            said += line
        for address in ("/healthz", "/", "/docs"):
            with urllib.request.urlopen(found.group() + address, timeout=30) as reply:
                reply.read()
    finally:
        process.terminate()
        process.wait(60)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a command says on standard output; it must succeed."""
    words = [str(word) for word in command]
    # Nothing of the checkout, and no model of the user's, may help.
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(words, cwd=cwd, env=inherited, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    print(f"+ {' '.join(words)}", file=sys.stderr)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
