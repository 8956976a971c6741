"""What installing the package promises: dependencies declared, core imports alone, cheap --help."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
# Import names that differ from the name on PyPI.
IMPORT_NAME = {"pillow": "PIL", "pyyaml": "yaml", "pytest-xdist": "xdist"}
# Used when somebody has them, in no extra: mamba_ssm for speed alone, llama_cpp as a reader of what
# was exported; both are compiled when they are installed.
OPTIONAL = {"mamba_ssm", "llama_cpp"}
# These are made of what their extra brings: classes of the web framework, loops for the compiler.
MADE_OF_EXTRA = {
    "src/mobile_videogpt/serving/api/": "serve",
    "src/mobile_videogpt/serving/page/": "serve",
    "src/mobile_videogpt/models/scan_loops.py": "fast",
    "src/mobile_videogpt/engines/loops/": "fast",
}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def distribution(requirement: str) -> str:
    return re.split(r"[\s<>=!~;\[]", requirement.strip(), maxsplit=1)[0].lower()


def import_names(requirements: list[str]) -> set[str]:
    names = {distribution(r) for r in requirements}
    return {IMPORT_NAME.get(name, name.replace("-", "_")) for name in names}


def imported(tree: ast.AST, *, on_import_only: bool) -> Iterator[str]:
    """Top names of the third-party modules a file imports, with or without those in functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif not (on_import_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            yield from imported(node, on_import_only=on_import_only)


def undeclared(declared: set[str], *, on_import_only: bool) -> list[str]:
    allowed = declared | set(sys.stdlib_module_names) | {"mobile_videogpt"} | OPTIONAL
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = set(imported(tree, on_import_only=on_import_only)) - allowed
        found += [f"{path.relative_to(ROOT)} imports {name}" for name in sorted(names)]
    return found


def run_python(*arguments: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_importing_a_module_needs_only_core_dependencies():
    core = import_names(project()["dependencies"])
    found = undeclared(core, on_import_only=True)
    assert not [line for line in found if not line.startswith(tuple(MADE_OF_EXTRA))]


@pytest.mark.parametrize(("where", "extra"), MADE_OF_EXTRA.items())
def test_what_is_made_of_an_extra_needs_only_that_extra(where, extra):
    declared = project()["dependencies"] + project()["optional-dependencies"][extra]
    found = undeclared(import_names(declared), on_import_only=True)
    assert not [line for line in found if line.startswith(where)]


def test_every_third_party_import_is_declared_by_the_core_or_an_extra():
    declared = list(project()["dependencies"])
    for requirements in project()["optional-dependencies"].values():
        declared += requirements
    assert not undeclared(import_names(declared), on_import_only=False)


def test_every_module_imports():
    done = run_python(str(ROOT / ".ci" / "import_every_module.py"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_direct_dependency_is_pinned_once():
    wanted = {distribution(r) for r in project()["dependencies"]}
    for extra in ("train", "eval", "ray", "export", "onnx", "fast", "serve", "docs", "dev"):
        wanted |= {distribution(r) for r in project()["optional-dependencies"][extra]}
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted |= {distribution(r) for r in groups["dependency-groups"]["release"]}
    wanted.discard("mobile-videogpt")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in pin for pin in pins)
    pinned = [distribution(pin) for pin in pins]
    assert sorted(pinned) == sorted(wanted)


def test_one_version_everywhere():
    import mobile_videogpt

    assert "version" not in project() and project()["dynamic"] == ["version"]
    version = mobile_videogpt.__version__
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version


@pytest.mark.parametrize(
    "argv",
    [[], ["ask"], ["bench"], ["train"], ["finetune"], ["doctor"], ["serve"]],
    ids=lambda a: " ".join(a),
)
def test_help_imports_no_torch(argv: list[str]):
    code = (
        "import sys\n"
        "from mobile_videogpt.cli.main import main\n"
        "try:\n"
        f"    main({[*argv, '--help']!r})\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'av', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert "usage: mobile-videogpt" in done.stdout


def test_importing_the_package_imports_no_torch():
    done = run_python("-c", "import mobile_videogpt, sys; assert 'torch' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_a_package_that_calls_itself_typed_tells_type_checkers():
    assert "Typing :: Typed" in project()["classifiers"]
    assert (SOURCE / "mobile_videogpt" / "py.typed").exists()


def test_the_built_in_checkpoint_is_small_and_shipped():
    assets = SOURCE / "mobile_videogpt" / "assets"
    if not assets.is_dir():
        pytest.skip("no built-in checkpoint in this checkout")
    files = [path for path in assets.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10 * 1024 * 1024
    assert {".safetensors", ".json", ".md"} <= {path.suffix for path in files}
    if (ROOT / ".git").exists():
        # What git ignores is left out of the wheel as well.
        names = [str(path) for path in files if "__pycache__" not in path.parts]
        done = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True)
        assert done.returncode == 1, done.stdout.decode()
