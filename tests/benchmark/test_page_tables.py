"""Every marked table of the documents is what a script makes of the committed results."""

import re
import subprocess
import sys

import pytest
from benchmark_scripts import BENCHMARKS, ROOT, load_script

# A script that fills in tables, whoever wrote it: it cannot be forgotten here.
SCRIPTS = sorted(
    path.stem
    for path in BENCHMARKS.glob("*.py")
    if "from page_tables import" in path.read_text("utf-8")
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_pages_show_what_was_recorded(name):
    tables = load_script("page_tables")
    assert tables.show(load_script(name).PAGES, check=True) == 0, f"run benchmarks/{name}.py"


def test_every_marked_table_is_one_scripts():
    owned = [
        (page, table)
        for name in SCRIPTS
        for page, tables in load_script(name).PAGES.items()
        for table in tables
    ]
    marked = [
        (str(path.relative_to(ROOT)), table)
        for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for table in re.findall(r"^<!-- begin ([\w-]+) -->$", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert marked and sorted(marked) == sorted(owned)


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("Before.\n<!-- begin one -->\nold\n<!-- end one -->\nAfter.\n")
    return path


def test_a_stale_page_is_told_and_left_alone(page, capsys):
    show, old = load_script("page_tables").show, page.read_text()
    assert show({page.name: {"one": lambda: "new\n"}}, check=True, root=page.parent) == 1
    assert capsys.readouterr().out == "stale: page.md\n" and page.read_text() == old


def test_a_page_is_filled_in_once(page, capsys):
    show = load_script("page_tables").show
    pages = {page.name: {"one": lambda: "new\n"}}
    assert show(pages, root=page.parent) == 0
    assert page.read_text() == "Before.\n<!-- begin one -->\nnew\n<!-- end one -->\nAfter.\n"
    assert capsys.readouterr().out == "changed: page.md\n"
    assert show(pages, check=True, root=page.parent) == show(pages, root=page.parent) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "text",
    [
        "no markers",
        "<!-- begin one -->\n",
        "<!-- end one -->\n<!-- begin one -->\n",
        2 * "<!-- begin one -->\n<!-- end one -->\n",
    ],
)
def test_a_page_without_the_place_of_a_table_is_named_not_guessed(text):
    with pytest.raises(ValueError, match="must hold '<!-- begin one -->'"):
        load_script("page_tables").filled(text, {"one": lambda: "new\n"})


def test_a_script_checks_from_the_command_line():
    command = [sys.executable, BENCHMARKS / "front_page.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
