"""The documentation's site builds strictly, and its pages load nothing from other hosts."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a browser fetches by itself; `a href` is the reader's own decision.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}

pytest.importorskip("mkdocs", reason="the site needs the extra `docs`")


class Fetched(HTMLParser):
    """Addresses that a page makes the browser fetch, and those that it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.links: list[str] = []
        self.classes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        address = values.get(FETCHED.get(tag, ""))
        # A page's own canonical address is named, not fetched.
        if address and values.get("rel") not in ("canonical", "prev", "next"):
            self.addresses.append(address)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        self.classes |= set((values.get("class") or "").split())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    found = {}
    for path in sorted(site.rglob("*.html")):
        found[path.relative_to(site).as_posix()] = page = Fetched()
        page.feed(path.read_text(encoding="utf-8"))
    return found


def test_no_page_fetches_anything_from_another_host(site, pages):
    foreign = {
        (name, address)
        for name, page in pages.items()
        for address in page.addresses
        if "//" in address
    }
    assert not foreign
    # The theme's script fetches Mermaid for diagrams that are not drawn.
    assert not any("mermaid" in page.classes for page in pages.values())
    for sheet in (site / "assets").rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), (
            sheet
        )


def test_everything_that_a_page_fetches_is_there(site, pages):
    for name, page in pages.items():
        for address in page.addresses:
            if name != "404.html" and not address.startswith("data:"):
                target = (site / name).parent / address.split("#")[0].split("?")[0]
                assert target.exists(), f"{name}: {address}"


def test_links_to_the_source_lead_to_pages_that_show_it(site, pages):
    links = [link for link in pages["architecture/index.html"].links if "/source/" in link]
    assert len(links) > 10
    for link in links:
        assert (site / "architecture" / link.split("#")[0] / "index.html").exists(), link
    shown = (site / "source/src/mobile_videogpt/config.py/index.html").read_text(encoding="utf-8")
    assert "MobileVideoGPTConfig" in shown
    assert "source/src/mobile_videogpt/models/projector.py/index.html" in pages


def test_the_reference_describes_every_public_name(site):
    import mobile_videogpt

    text = "".join(
        path.read_text(encoding="utf-8") for path in (site / "reference").rglob("*.html")
    )
    for name in set(mobile_videogpt.__all__) - {"__version__"}:
        assert f'id="mobile_videogpt.{name}"' in text, name


def test_search_finds_the_guide_and_not_the_source(site):
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    assert '"cli/' in index and '"source/src/' not in index
