"""The image, the service and the workflows say what the package promises.

Docker, systemd and GitHub are not needed; where systemd is installed it checks the unit itself.
`make dist-test` runs the linters.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from ports import free_port

from mobile_videogpt.cli.main import build_parser

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "mobile-videogpt.service"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: name and what follows, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def last_stage() -> dict[str, str]:
    found = instructions()
    start = max(i for i, (name, _) in enumerate(found) if name == "FROM")
    return dict(found[start:])


def unit_values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_image_runs_the_server_as_somebody_who_is_not_root():
    stage = last_stage()
    assert stage["USER"].split(":")[0] not in ("root", "0")
    command = [*yaml.safe_load(stage["ENTRYPOINT"]), *yaml.safe_load(stage["CMD"])]
    assert command[0] == "mobile-videogpt"
    assert build_parser().parse_args(command[1:]).host == "0.0.0.0"


def test_the_image_does_not_serve_strangers_unless_it_is_told_to():
    from mobile_videogpt.cli.serve import server_settings

    command = yaml.safe_load(last_stage()["CMD"])
    with pytest.raises(ValueError, match="no API keys"):
        server_settings(build_parser().parse_args(command))


def test_everything_that_the_image_copies_is_there_and_not_ignored():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = [line[1:] for line in lines if line.startswith("!")]
    for name, rest in instructions():
        if name != "COPY" or rest.startswith("--from"):
            continue
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(fnmatch(source, f"{kept}*") for kept in let_through), source


def test_the_images_packages_are_pinned_and_its_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    known = extras["project"]["optional-dependencies"]
    (install,) = [rest for name, rest in instructions() if name == "RUN" and ".[" in rest]
    assert "-c constraints.txt" in install
    wanted = re.search(r"\.\[(.*?)\]", install)
    assert wanted and set(wanted.group(1).split(",")) <= set(known)


@pytest.fixture
def health_check():
    """The image's check as it is, and one that asks another port."""
    words = last_stage()["HEALTHCHECK"].split("CMD", 1)[1]
    command = yaml.safe_load(words)
    assert command[0] == "python" and "8000" in command[2]

    def check(port: int) -> int:
        code = command[2].replace("8000", str(port))
        return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode

    return check


def test_the_health_check_tells_a_server_from_none(health_check, answering_port):
    port, answer_with = answering_port
    answer_with(200)
    assert health_check(port) == 0
    answer_with(503)
    assert health_check(port) != 0


def test_the_health_check_fails_where_nobody_listens(health_check):
    assert health_check(free_port()) != 0


def test_the_service_runs_a_command_that_exists_and_waits_for_its_end():
    (start,) = unit_values("ExecStart")
    args = build_parser().parse_args(shlex.split(start)[1:])
    assert args.command == "serve" and args.host == "127.0.0.1"
    (stop,) = unit_values("TimeoutStopSec")
    assert int(stop) > args.shutdown_timeout + 2


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_finds_nothing_wrong_with_the_service(tmp_path):
    # Its program is not installed here; any other stands for it.
    (start,) = unit_values("ExecStart")
    text = UNIT.read_text(encoding="utf-8").replace(start.split()[0], sys.executable)
    unit = tmp_path / UNIT.name
    unit.write_text(text, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_read_only_unless_a_job_says_more(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job or "uses" in job for job in workflow["jobs"].values())


def test_the_workflows_try_every_system_and_every_python_that_is_supported():
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["tests"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=")
    assert matrix["python"][0] == oldest and matrix["python"] == ["3.11", "3.12", "3.13"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_use_targets_of_the_makefile(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake ([a-z-]+)", path.read_text(encoding="utf-8")):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
