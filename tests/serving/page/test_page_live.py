"""The live tab, with Chromium's fake camera playing a MovingShapes film."""

import json

import pytest
from playwright.sync_api import Page, expect


@pytest.fixture
def live(open_page, shared_server) -> Page:
    page = open_page(shared_server, permissions=["camera"])
    page.get_by_role("tab", name="Live").click()
    # Long beside an answer, also on a busy machine: windows must overlap.
    page.get_by_label("Seconds in view").fill("4")
    page.get_by_label("Ask every (s)").fill("0.5")
    return page


def test_answers_come_with_their_times_and_encode_each_picture_once(
    live, shared_server, monkeypatch
):
    encoded = count_encoded(shared_server, monkeypatch)
    live.get_by_role("button", name="Watch").click()
    expect(live.locator("#live-log li").nth(3)).to_be_visible()
    expect(live.locator("#on-air")).to_be_visible()
    expect(live.locator("#caption")).to_be_visible()
    live.get_by_role("button", name="Stop").click()
    expect(live.locator("#on-air")).to_be_hidden()
    assert live.locator("#camera").evaluate("camera => camera.srcObject === null")
    with live.expect_download() as download:
        live.get_by_role("button", name="Download the answers as JSON").click()
    answers = json.loads(download.value.path().read_text(encoding="utf-8"))["answers"]
    assert len(answers) == live.locator("#live-log li").count() >= 4
    assert all(entry["answer"] and entry["behind_s"] < 30 for entry in answers)
    times = [entry["at_s"] for entry in answers]
    assert times == sorted(times) and times[0] > 1
    # Windows overlap: only the first is all new, and what was seen is not encoded again.
    new = [entry["new_frames"] for entry in answers]
    assert new[0] == 16 and min(new) < 16
    # One more question may have been under way. Pictures that are equal are encoded once, too.
    assert 0 < sum(encoded) <= sum(new) + 16


def count_encoded(server, monkeypatch) -> list[int]:
    """How many pictures go through the image encoder from now on, by call."""
    engine = server.chat.engine
    encode = engine.encode_frames
    counted = []

    def counting(pixels, *args, **options):
        counted.append(pixels.shape[1])
        return encode(pixels, *args, **options)

    monkeypatch.setattr(engine, "encode_frames", counting)
    server.chat.forget()  # the film comes again and again: other tests have shown it
    return counted


def test_a_still_picture_is_asked_about_once(live):
    live.get_by_label("Seconds in view").fill("1")
    live.get_by_label("Only when the picture has changed").check()
    live.evaluate(
        "() => {"
        "  const canvas = document.createElement('canvas');"
        "  canvas.width = canvas.height = 64;"
        "  canvas.getContext('2d').fillRect(0, 0, 64, 64);"
        "  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(10);"
        "  setInterval(() => canvas.getContext('2d').fillRect(0, 0, 64, 64), 100);"
        "}"
    )
    live.get_by_role("button", name="Watch").click()
    expect(live.locator("#live-log li")).to_have_count(1)
    live.wait_for_timeout(2000)  # four more questions, were they asked
    expect(live.locator("#live-log li")).to_have_count(1)


def test_a_camera_that_is_refused_is_said_in_words(live):
    live.evaluate(
        "() => navigator.mediaDevices.getUserMedia = () =>"
        "  Promise.reject(new DOMException('no', 'NotAllowedError'))"
    )
    live.get_by_role("button", name="Watch").click()
    expect(live.locator("#live-error")).to_contain_text("The camera was not allowed")
    expect(live.get_by_role("button", name="Watch")).to_be_visible()
