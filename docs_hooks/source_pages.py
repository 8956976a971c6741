"""A hook of MkDocs: pages for the files outside docs/ that the documentation links to.

The pages are written for readers of the repository, where `../src/...` is a file. On the site such
a link leads to a page with the file's text below `source/`, wherever the site lies and whatever
becomes of the repository's address: code with colours, folders as lists, Markdown as it is, data as
a file.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LANGUAGES = {
    **{".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "bash"},
    **{".sbatch": "bash", ".service": "ini", ".txt": "text", "": "text"},
    **{".html": "html", ".css": "css", ".js": "javascript"},
}
# Front matter: what the site's search leaves out; code takes the place of the side bars as well.
NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
CODE = "---\nsearch:\n  exclude: true\nhide: [navigation, toc]\n---\n\n"
_FENCE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1$|`[^`\n]+`", flags=re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r'(?<=<img src=")[^":]+(?=")')
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")

# Path of a page below the site's sources -> the file that it shows.
_shown: dict[str, Path] = {}


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each file that is linked to, and for what those link to."""
    _shown.clear()
    waiting = [(DOCS / page.src_uri, page.content_string) for page in files.documentation_pages()]
    known = {DOCS, ROOT}
    while waiting:
        place, text = waiting.pop()
        for path in linked(text, place):
            if path in known or path.is_relative_to(DOCS):
                continue
            known.add(path)
            uri = source_uri(path)
            _shown[uri] = path
            if is_page(path):
                content = page_text(path)
                files.append(File.generated(config, uri, content=content))
                waiting.append((path, content))
            else:
                files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to files become links to their pages."""
    uri = page.file.src_uri
    place = _shown.get(uri, DOCS / uri)

    def on_site(path: Path) -> str:
        target = source_uri(path)
        if path.is_relative_to(DOCS):
            target = path.relative_to(DOCS).as_posix()
        return posixpath.relpath(target, posixpath.dirname(uri) or ".")

    markdown = with_links(markdown, place, on_site)
    if not place.is_relative_to(DOCS):
        return markdown
    # MkDocs leaves HTML alone, whose addresses are seen from the page's own: docs/page.md is page/.
    there = posixpath.dirname(uri)
    return _PICTURE.sub(
        lambda match: posixpath.relpath(posixpath.join(there, match.group()), page.url or "."),
        markdown,
    )


def source_uri(path: Path) -> str:
    """Where a file's page, or the file itself, is among the site's sources."""
    # MkDocs leaves out what begins with a dot (.github, .ci).
    parts = [part.lstrip(".") for part in path.relative_to(ROOT).parts]
    # A page named index.html would stand where its folder's own page is.
    uri = posixpath.join("source", *parts).replace(".html", "-html")
    return f"{uri}.md" if is_page(path) else uri


def is_page(path: Path) -> bool:
    """Whether a file is shown as a page; others are copied."""
    return path.is_dir() or path.suffix == ".md" or path.suffix in LANGUAGES


def page_text(path: Path) -> str:
    """The page that shows a file or folder."""
    title = f"# `{path.relative_to(ROOT).as_posix()}`\n\n"
    if path.is_dir():
        return CODE + title + "\n".join(entries(path)) + "\n"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text if path.parent == ROOT else NOT_SEARCHED + text
    fence = "`" * max(4, 1 + max(map(len, re.findall("`+", text)), default=0))
    language = LANGUAGES[path.suffix]
    return f'{CODE}{title}{fence} {{ .{language} linenums="1" }}\n{text}\n{fence}\n'


def entries(folder: Path) -> Iterator[str]:
    """A folder's list: folders first, each file with the first line of what it says of itself."""
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        if path.name.startswith((".", "__pycache__")):
            continue
        about = summary(path / "__init__.py" if path.is_dir() else path)
        name = f"{path.name}/" if path.is_dir() else path.name
        yield f"- [`{name}`]({path.name}) {about}".rstrip()


def summary(path: Path) -> str:
    """The first line of a module's docstring; empty for other files."""
    if path.suffix != ".py" or not path.exists():
        return ""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    # Angle brackets would be HTML.
    return text.partition("\n")[0].replace("<", "&lt;")


def linked(markdown: str, place: Path) -> list[Path]:
    """The existing files that the text of a file links to."""
    found: list[Path] = []

    def keep(path: Path) -> str:
        found.append(path)
        return ""

    with_links(markdown, place, keep)
    return found


def with_links(markdown: str, place: Path, rewrite: Callable[[Path], str]) -> str:
    """The text with its links to files of the repository rewritten, those in code left alone.

    Args:
        markdown: the text.
        place: the file, or folder, that it is the text of.
        rewrite: makes a link of the file that one leads to.
    """
    # A folder's list names what is in it.
    folder = place if place.is_dir() else place.parent

    def link(match: re.Match[str]) -> str:
        path = (folder / match.group(1)).resolve()
        outside = "://" in match.group(1) or not path.is_relative_to(ROOT) or not path.exists()
        return match.group() if outside else rewrite(path) + (match.group(2) or "")

    pieces, end = [], 0
    for code in _FENCE.finditer(markdown):
        pieces += [_LINK.sub(link, markdown[end : code.start()]), code.group()]
        end = code.end()
    return "".join([*pieces, _LINK.sub(link, markdown[end:])])
