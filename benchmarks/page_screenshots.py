"""Pictures of the server's page, for docs/page.md and the README.

    python benchmarks/page_screenshots.py [FOLDER]

Starts a server with the built-in model and drives Chromium (`playwright`, and a Chromium of the
system's) through the page: light, dark, as a phone shows it, and the live tab with a MovingShapes
film as its camera. FOLDER is docs/images if none is given.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from chromium import find_chromium, launch_options, write_camera_film
from playwright.sync_api import Browser, Page, sync_playwright
from served import Served

from mobile_videogpt.synthetic import make_clip

IMAGES = Path(__file__).parents[1] / "docs" / "images"
DESKTOP = {"width": 1360, "height": 860}
PHONE = {"width": 390, "height": 844}
QUESTIONS = ("How many objects are moving?", "What change happens to the blue square?")
CAMERA_CLIP = 4  # of the split that no training sees


def main() -> int:
    """Take all pictures."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    if find_chromium() is None:
        print("Chromium is not installed: apt-get install chromium", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, Served() as server, sync_playwright() as tool:
        clip = make_clip(CAMERA_CLIP, "test")
        film = write_camera_film(clip, Path(folder) / "camera.mjpeg", side=480)
        browser = tool.chromium.launch(**launch_options(film))
        take_start(browser, server.url, out / "page-start.png")
        take_desktop(browser, server.url, out)
        take_phone(browser, server.url, out / "page-phone.png")
        take_live(browser, server.url, out / "page-live.png")
        browser.close()
    return 0


def take_start(browser: Browser, url: str, path: Path) -> None:
    """Before a video is there."""
    page = open_page(browser, url, viewport=DESKTOP)
    page.wait_for_timeout(1200)  # the examples move
    shoot(page, path)


def take_desktop(browser: Browser, url: str, out: Path) -> None:
    """A conversation, light and dark."""
    page = open_page(browser, url, viewport=DESKTOP)
    converse(page)
    page.locator(".frame.kept").nth(4).click()
    page.wait_for_timeout(600)
    shoot(page, out / "page-light.png")
    page.emulate_media(color_scheme="dark")
    shoot(page, out / "page-dark.png")


def take_phone(browser: Browser, url: str, path: Path) -> None:
    """The same, on a phone."""
    phone = {"viewport": PHONE, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
    page = open_page(browser, url, **phone)
    converse(page, QUESTIONS[:1])
    page.wait_for_timeout(600)
    shoot(page, path)


def take_live(browser: Browser, url: str, path: Path) -> None:
    """The camera, asked about again and again."""
    page = open_page(browser, url, viewport=DESKTOP, permissions=["camera"])
    page.get_by_role("tab", name="Live").click()
    page.get_by_label("Question to ask").fill("Describe the video.")
    page.get_by_role("button", name="Watch").click()
    page.locator("#live-log li").nth(4).wait_for()
    page.wait_for_timeout(700)
    shoot(page, path)
    page.get_by_role("button", name="Stop").click()


def open_page(browser: Browser, url: str, **options: object) -> Page:
    """The page, with its examples."""
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    page.goto(url)
    page.locator(".example video").last.wait_for()
    return page


def converse(page: Page, questions: tuple[str, ...] = QUESTIONS) -> None:
    """Take the first example, and ask."""
    page.locator(".example").first.click()
    page.locator(".frame.kept").first.wait_for()
    for number, question in enumerate(questions):
        page.get_by_label("Question about the video").fill(question)
        page.keyboard.press("Enter")
        page.locator(".turn").nth(number).locator(".cost").wait_for()


def shoot(page: Page, path: Path) -> None:
    """Keep what is seen, once nothing moves."""
    page.wait_for_timeout(400)
    page.screenshot(path=path)


if __name__ == "__main__":
    sys.exit(main())
