"""Every block of every tutorial runs, in order, and prints what the page says."""

import os
import shutil
from pathlib import Path

import pytest
from tutorial_page import BLOCK, ROOT, blocks_of, matches, reading

FOLDER = ROOT / "docs" / "tutorials"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "index.md")

unix_shell = pytest.mark.skipif(
    os.name == "nt" or not shutil.which("bash"), reason="the pages' commands are for a Unix shell"
)


@unix_shell
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tutorial_does_what_it_says(page: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with reading(tmp_path) as reader:
        for block in blocks_of(page):
            printed = reader.run(block)
            if block.expected is not None:
                assert matches(block.expected, printed), f"{page.name}, line {block.line}"


def test_the_first_page_leads_to_every_tutorial():
    text = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert all(f"]({page.name})" in text for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_tutorial_has_a_language_that_is_run_or_shown(page: Path):
    text = page.read_text(encoding="utf-8")
    languages = {match.group(1) for match in BLOCK.finditer(text)}
    assert languages <= {"python", "bash", "text", "csv"}
    assert text.count("\n```") == 2 * len(BLOCK.findall(text))


@unix_shell
def test_outputs_are_compared(tmp_path):
    assert matches("a ... c\n", "a b\nb c") and not matches("a ... c", "a b d")
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(6 * 7)\n```\n\n```text\n42\n```\n\n```bash\nfalse\n```\n")
    first, second = blocks_of(page)
    assert first.expected == "42\n" and second.expected is None and second.line == 10
    with reading(tmp_path) as reader:
        assert reader.run(first) == "42\n"
        with pytest.raises(AssertionError, match="line 10"):
            reader.run(second)
