"""The front page keeps its promises: the example runs, commands exist, numbers are committed.

That its tables are those of the committed results is tested in benchmark/test_page_tables.py.
"""

import ast
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
for folder in ("docs", "examples", "benchmarks"):
    PAGES += sorted((ROOT / folder).rglob("*.md"))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def shell_lines(text: str) -> list[str]:
    """Commands in the shell blocks: continued lines joined, comments dropped."""
    joined = "\n".join(blocks(text, "(?:bash|sh)")).replace("\\\n", " ")
    lines = (line.strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def help_of(*command: str) -> str:
    """The help text of a subcommand; empty when there is no such subcommand."""
    code = "import sys; from mobile_videogpt.cli.main import main; sys.exit(main(sys.argv[1:]))"
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "--help"],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    return done.stdout if done.returncode == 0 else ""


# --- the Python example


def test_the_python_example_is_the_example_script():
    (example,) = blocks(README, "python")
    script = (ROOT / "examples" / "ask.py").read_text(encoding="utf-8")
    code = script.split('"""', 2)[2].strip()
    assert example.strip() == code
    assert len([line for line in code.splitlines() if line.strip()]) <= 6


def test_the_python_example_uses_public_names_only():
    import mobile_videogpt

    (example,) = blocks(README, "python")
    names = {
        node.attr
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "mv"
    }
    assert names and names <= set(mobile_videogpt.__all__)


def test_the_example_script_prints_an_answer(monkeypatch, capsys):
    needs_built_in_model()
    monkeypatch.chdir(ROOT)
    runpy.run_path("examples/ask.py", run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_the_demo_answers_are_right(monkeypatch, capsys):
    needs_built_in_model()
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path("examples/demo.py", run_name="__main__")
    printed = capsys.readouterr().out
    assert not stop.value.code, printed
    assert "3 of 3 right" in printed


def needs_built_in_model() -> None:
    if not list((ROOT / "src/mobile_videogpt/assets").rglob("*.safetensors")):
        pytest.skip("no built-in checkpoint in this checkout")


# --- commands and links


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_documented_commands_exist(page: Path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in shell_lines(page.read_text(encoding="utf-8")):
        words = shlex.split(line.split(" | ")[0].split(" > ")[0], comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words[:1] == ["make"]:
            targets = [word for word in words[1:] if "=" not in word]
            assert all(re.search(rf"^{t}:", makefile, re.MULTILINE) for t in targets), line
        elif words[:1] == ["mobile-videogpt"]:
            check_command(words[1:], line)
        elif "pip" in words and "install" in words:
            assert "constraints.txt" in words, f"unpinned: {line}"


def check_command(words: list[str], line: str) -> None:
    """The subcommand exists and its help knows each long option used."""
    positional = []
    for word in words:
        if word.startswith("-"):
            break
        positional.append(word)
    text = ""
    # `data moving-shapes OUT`, `eval moving-shapes`: the second word may be a subcommand too.
    for depth in (2, 1):
        text = text or (help_of(*positional[:depth]) if len(positional) >= depth else "")
    if positional:
        assert text, f"no such command: {line}"
    text = text or help_of()
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    missing = [option for option in options if option not in text]
    assert not missing, f"{line}: the help does not know {missing}"


CLI_PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
OPTION = r"(?<![\w-])--[a-z][\w-]+"


def cli_sections() -> dict[str, str]:
    """Heading -> text of the command line's page."""
    parts = re.split(r"^## (.*)$", CLI_PAGE, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def options_of_section(name: str) -> set[str]:
    """Options in a section's table, and in those of the shared sections it points to."""
    sections = cli_sections()
    text = sections[name]
    for heading in sections:
        if f"](#{heading.lower().replace(' ', '-')})" in text:
            text += sections[heading]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `--")]
    return set(re.findall(OPTION, "\n".join(rows)))


@pytest.mark.parametrize("section", [name for name in cli_sections() if name[0].islower()])
def test_the_command_line_page_lists_every_option(section: str):
    text = help_of(*section.split())
    assert text, f"docs/cli.md describes {section!r}, which is no command"
    shown = set(re.findall(r"^ +(?:-\w(?: \S+)?, )?(--[a-z][\w-]+)", text, flags=re.MULTILINE))
    assert options_of_section(section) == shown - {"--help", "--debug"}


def test_the_command_line_page_describes_every_command():
    commands = set(re.findall(r"^    (\w+)", help_of(), flags=re.MULTILINE))
    assert commands == {name.split()[0] for name in cli_sections() if name[0].islower()}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_leads_somewhere(page: Path):
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    # Mermaid boxes link to files, relative to the page's folder.
    links += re.findall(r'^\s*click \w+ "([^"]+)"', page.read_text("utf-8"), flags=re.MULTILINE)
    broken = []
    for link in links:
        target, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (path.suffix == ".md" and anchor and anchor not in anchors(path)):
            broken.append(link)
    assert not broken, f"{relative(page)}: {broken}"


def anchors(path: Path) -> set[str]:
    """Anchors that the headings of a page get on GitHub."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def test_the_training_page_lists_every_field_of_a_stage():
    from mobile_videogpt.training.media.recipe import MediaRecipe, MediaStage, ModelParts
    from mobile_videogpt.training.recipe import Stage

    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)[`:]", page))
    for kind in (Stage, MediaStage, MediaRecipe, ModelParts):
        missing = {field.name for field in fields(kind)} - {"path"} - named
        assert not missing, kind.__name__


# --- numbers


def test_results_say_how_they_were_measured():
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        missing = {"command", "commit", "versions", "machine"} - results.keys()
        assert not missing, f"{relative(path)} lacks {sorted(missing)}"


def test_a_recorded_result_says_how_it_was_measured(tmp_path):
    target = tmp_path / "results" / "x.json"
    command = [sys.executable, "-c", "print('{\"share\": 0.5}')"]
    script = ROOT / "benchmarks" / "record.py"
    done = subprocess.run([sys.executable, script, target, "--", *command], cwd=ROOT)
    assert done.returncode == 0
    recorded = json.loads(target.read_text(encoding="utf-8"))
    assert recorded["share"] == 0.5 and recorded["command"].endswith("'")
    assert {"commit", "versions", "machine", "date", "seconds"} <= recorded.keys()


def test_paper_rows_quote_the_paper():
    """Our column never repeats the paper's numbers as if they were measured here."""
    for row in re.findall(
        r"^\| (?:MVBench|EgoSchema|MLVU|NExT-QA|PerceptionTest).*$", README, re.M
    ):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[-2:] == ["not run", "–"], row
