"""Draw the documentation's Mermaid diagrams that have no picture yet, and delete pictures of none.

    python docs_hooks/draw_diagrams.py

Needs npm, which fetches Mermaid into a temporary folder, and Chromium (`--chromium` says where).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path

from diagrams import FOLDER, SCHEMES, diagrams, picture

DOCS = Path(__file__).parents[1] / "docs"
# Mermaid's variables: boxes, letters, lines, and what lies behind letters on a line.
COLORS = {
    "light": ("#eceef8", "#1f2233", "#3f51b5", "#5b6070", "#ffffff"),
    "dark": ("#2d3250", "#e8eaf6", "#7986cb", "#b4bad6", "#1e2129"),
}
PAGE = """<!doctype html><meta charset="utf-8"><script src="mermaid.min.js"></script><pre></pre>
<script>
mermaid.initialize({startOnLoad: false, theme: "base", themeVariables: %s, htmlLabels: false,
    flowchart: {htmlLabels: false, useMaxWidth: false}, fontFamily: "system-ui, sans-serif"});
mermaid.render("diagram", %s).then(drawn => {
    document.querySelector("pre").textContent = drawn.svg;
});
</script>"""


def main() -> int:
    """Draw what is missing; returns 1 if something could not be drawn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser")
    args = parser.parse_args()
    texts = [text for page in sorted(DOCS.rglob("*.md")) for text in diagrams(page.read_text())]
    wanted = {DOCS / picture(text, scheme): (text, scheme) for text in texts for scheme in SCHEMES}
    for path in (DOCS / FOLDER).glob("*.svg"):
        if path not in wanted:
            path.unlink()
    missing = {path: case for path, case in wanted.items() if not path.exists()}
    if not missing:
        return 0
    (DOCS / FOLDER).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fetch_mermaid(folder)
        for path, (text, scheme) in missing.items():
            path.write_text(draw(text, scheme, folder, args.chromium), encoding="utf-8")
            print(path)
    return 0


def fetch_mermaid(folder: Path) -> None:
    """Mermaid's own bundle for browsers, from npm."""
    subprocess.run(["npm", "install", "--silent", "--prefix", folder, "mermaid"], check=True)
    shutil.copy(folder / "node_modules/mermaid/dist/mermaid.min.js", folder)


def draw(text: str, scheme: str, folder: Path, chromium: str) -> str:
    """A diagram as SVG.

    Raises:
        SystemExit: Mermaid does not understand it.
    """
    page = folder / "page.html"
    page.write_text(PAGE % (json.dumps(variables(scheme)), json.dumps(text)), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000")
    command = [chromium, *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom", str(page)]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    found = re.search(r"<pre>(.*?)</pre>", dom, flags=re.DOTALL)
    if not (found and found.group(1)):
        sys.exit(f"this cannot be drawn:\n{text}")
    return unescape(found.group(1)) + "\n"


def variables(scheme: str) -> dict[str, str | bool]:
    """Mermaid's theme variables for a colour scheme."""
    box, letters, border, line, behind = COLORS[scheme]
    return {
        "darkMode": scheme == "dark",
        **dict.fromkeys(("primaryColor", "mainBkg"), box),
        **dict.fromkeys(("primaryTextColor", "nodeTextColor", "textColor", "titleColor"), letters),
        **dict.fromkeys(("primaryBorderColor", "nodeBorder", "clusterBorder"), border),
        "lineColor": line,
        **dict.fromkeys(("edgeLabelBackground", "clusterBkg"), behind),
    }


if __name__ == "__main__":
    sys.exit(main())
