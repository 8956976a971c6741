"""A hook of MkDocs: Mermaid's diagrams as pictures that were drawn beforehand.

Material would load Mermaid from another host in the reader's browser. A diagram's two pictures,
for light and dark pages, are named by a hash of its text; `draw_diagrams.py` draws what is missing.
"""

from __future__ import annotations

import hashlib
import logging
import posixpath
import re
from pathlib import Path
from typing import Any

FOLDER = "images/diagrams"
SCHEMES = ("light", "dark")
_BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)

logger = logging.getLogger("mkdocs.hooks.diagrams")


def diagrams(markdown: str) -> list[str]:
    """The texts of the diagrams of a page."""
    return _BLOCK.findall(markdown)


def picture(text: str, scheme: str) -> str:
    """Where, below the documentation, a diagram's picture for a colour scheme is."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{FOLDER}/{digest}-{scheme}.svg"


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Each diagram becomes its two pictures; a warning where one is missing."""

    def pictures(block: re.Match[str]) -> str:
        shown = []
        for scheme in SCHEMES:
            path = picture(block.group(1), scheme)
            if not (Path(config.docs_dir) / path).exists():
                logger.warning("%s: %s is missing; run docs_hooks/draw_diagrams.py", page, path)
            link = posixpath.relpath(path, posixpath.dirname(page.file.src_uri) or ".")
            shown.append(f"![Diagram]({link}#only-{scheme})")
        return "\n".join(shown)

    return _BLOCK.sub(pictures, markdown)
