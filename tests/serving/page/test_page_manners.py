"""The page for everybody: narrow, dark, by keyboard, with a screen reader, behind a key."""

import pytest
from playwright.sync_api import Page, expect
from running_server import running, twin

PHONE = {"viewport": {"width": 360, "height": 780}, "has_touch": True, "is_mobile": True}


def asked(page: Page, clip) -> Page:
    """The page with a video and an answer."""
    page.set_input_files("#file", clip)
    expect(page.locator(".frame.kept").first).to_be_visible()
    page.get_by_label("Question about the video").fill("What happens?")
    page.keyboard.press("Enter")
    expect(page.locator(".cost")).to_be_visible()
    return page


def widths(page: Page) -> tuple[int, int]:
    return tuple(page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]"))


def background(page: Page) -> list[int]:
    colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    return [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")[:3]]


def test_a_phone_needs_no_scrolling_sideways(open_page, shared_server, clip):
    page = open_page(shared_server, **PHONE)
    expect(page.locator(".example").first).to_be_visible()
    assert widths(page)[0] <= 360
    asked(page, clip)
    assert widths(page)[0] <= 360
    expect(page.locator(".answer-text")).to_be_in_viewport()
    page.get_by_role("tab", name="Live").click()
    assert widths(page)[0] <= 360
    page.get_by_role("button", name="Settings").click()
    assert widths(page)[0] <= 360


def test_dark_and_light_follow_the_system_and_the_switch(open_page, shared_server):
    page = open_page(shared_server, color_scheme="dark")
    assert max(background(page)) < 40
    page.emulate_media(color_scheme="light")
    assert min(background(page)) > 220
    switch = page.locator("#theme")
    switch.click()  # light
    page.emulate_media(color_scheme="dark")
    assert min(background(page)) > 220
    switch.click()  # dark
    page.emulate_media(color_scheme="light")
    assert max(background(page)) < 40
    page.reload()
    assert max(background(page)) < 40, "the choice is forgotten"
    expect(switch).to_have_attribute("aria-label", "Colours: dark. Change")


def test_everything_works_by_keyboard(open_page, shared_server):
    page = open_page(shared_server)
    expect(page.locator(".example").first).to_be_visible()
    tab_to(page, ".example")
    page.keyboard.press("Enter")
    expect(page.locator(".frame.kept").first).to_be_visible()
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.type("What happens?")
    page.keyboard.press("Enter")
    expect(page.locator(".cost")).to_be_visible()
    tab_to(page, ".frame", back=True)
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".frame").nth(3)).to_have_attribute("aria-current", "true")
    page.keyboard.press("k")
    expect(page.locator("#player")).to_have_js_property("paused", False)
    page.keyboard.press("/")
    expect(page.locator("#question")).to_be_focused()
    assert page.locator("#question").input_value() == ""
    tab_to(page, "[role=tab]", back=True)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-live")).to_be_focused()
    expect(page.locator("#panel-live")).to_be_visible()
    page.keyboard.press(",")
    expect(page.locator("#settings")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#settings")).to_be_hidden()


def tab_to(page: Page, selector: str, back: bool = False) -> None:
    """Press Tab until something of that kind has the focus."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"Tab never gets to {selector}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page, shared_server, clip, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # The checker is itself a script, which the page's policy would refuse.
    page = open_page(shared_server, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
    expect(page.locator(".example").first).to_be_visible()

    def check(where: str) -> None:
        results = axe.run(page)
        assert results.violations_count == 0, f"{where}: {results.generate_report()}"

    check("start")
    asked(page, clip)
    check("conversation")
    page.get_by_role("button", name="Settings").click()
    check("settings")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Live").click()
    check("live")
    page.goto(f"{shared_server.url}/docs")
    expect(page.locator(".operation").first).to_be_visible()
    page.locator(".operation summary").first.click()
    check("docs")


def test_a_server_that_wants_a_key_is_given_one(open_page, miniature, clip):
    with running(twin(miniature), api_keys=frozenset({"right"})) as server:
        page = open_page(server)
        expect(page.locator("#key-error")).to_have_text("This server wants an API key.")
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Done").click()
        expect(page.locator("#key-error")).to_have_text("The server does not know this key.")
        page.get_by_label("API key").fill("right")
        page.get_by_role("button", name="Done").click()
        expect(page.locator("#settings")).to_be_hidden()
        expect(page.locator("#model")).to_have_text("moving-shapes")
        asked(page, clip)
        page.goto(f"{server.url}/docs")  # this tab knows the key
        expect(page.locator(".path").filter(has_text="/v1/chat/completions")).to_be_visible()


def test_a_server_that_goes_away_is_said_in_words(open_page, miniature, clip):
    with running(twin(miniature)) as server:
        page = open_page(server)
        page.set_input_files("#file", clip)
        expect(page.locator(".frame.kept").first).to_be_visible()
    page.get_by_label("Question about the video").fill("What happens?")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .alert")).to_contain_text("The server cannot be reached")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_the_documentation_names_every_operation(open_page, shared_server):
    page = open_page(shared_server, "/docs")
    expect(page.locator(".operation").first).to_be_visible()
    paths = page.locator("#operations .path").all_inner_texts()
    assert {"/v1/chat/completions", "/v1/files/{file_id}/frames", "/healthz"} <= set(paths)
    page.get_by_text("POST/v1/chat/completions").click()
    page.get_by_role("link", name="ChatRequest").first.click()
    expect(page.locator("#form-ChatRequest table")).to_be_visible()
