"""The page as its users have it: show a video, ask, look at frames, stop, keep the conversation."""

import json
import re

from playwright.sync_api import Page, expect
from running_server import RunningServer, running, twin

QUESTIONS = ["What happens?", "How many objects are moving?"]


def show(page: Page, path) -> None:
    page.set_input_files("#file", path)
    expect(page.locator(".frame.kept").first).to_be_visible()


def ask(page: Page, question: str) -> str:
    """Ask, and the text of the answer once it is complete."""
    number = page.locator(".turn").count()
    page.get_by_label("Question about the video").fill(question)
    page.keyboard.press("Enter")
    turn = page.locator(".turn").nth(number)
    expect(turn.locator(".cost")).to_be_visible()
    return turn.locator(".answer-text").inner_text()


def wait_until(page: Page, condition) -> None:
    """Wait for something that the page does not show."""
    for _ in range(600):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it does not happen")


def current_time(page: Page) -> float:
    return page.evaluate("() => document.getElementById('player').currentTime")


def test_a_video_is_uploaded_and_its_frames_are_shown(open_page, shared_server, miniature, clip):
    page = open_page(shared_server)
    show(page, clip)
    seen = miniature.open(str(clip))
    expect(page.locator(".video-name")).to_have_text("my clip.mp4")
    expect(page.locator(".frame")).to_have_count(len(seen.frame_times))
    kept = page.locator(".frame").evaluate_all(
        "frames => frames.flatMap((f, at) => f.classList.contains('kept') ? [at] : [])"
    )
    assert kept == seen.kept_frames
    expect(page.locator(".curve .dot")).to_have_count(len(seen.frame_times))
    highest = page.locator(".curve .dot").evaluate_all(
        "dots => dots.map(dot => Number(dot.getAttribute('cy')))"
    )
    assert highest.index(min(highest)) == seen.frame_scores.index(max(seen.frame_scores))
    expect(page.locator("#seen-facts")).to_contain_text(f"{seen.num_visual_tokens} tokens")
    page.wait_for_selector("#player")
    assert page.locator("#player").evaluate(
        "v => new Promise(r => v.readyState ? r(true) : v.onloadeddata = () => r(true))"
    )


def test_answers_are_the_models_and_follow_ups_say_what_they_reused(
    open_page, shared_server, miniature, clip
):
    conversation = miniature.conversation(str(clip))
    page = open_page(shared_server)
    show(page, clip)
    for question in QUESTIONS:
        assert ask(page, question) == conversation.ask(question).text
    for number in range(2):
        turn = page.locator(".turn").nth(number)
        expect(turn.locator(".facts-line")).to_contain_text("first token")
        # The video was read when it was shown: both questions begin after it.
        said = turn.locator(".reuse").inner_text()
        was_read, all_tokens = re.search(r"(\d+) of (\d+) tokens", said).groups()
        assert 100 < int(was_read) < int(all_tokens)
    expect(page.locator(".turn").nth(1).locator(".facts-line")).to_contain_text("token")


def test_an_answer_streams_in_and_can_be_stopped(open_page, lively_server: RunningServer, clip):
    page = open_page(lively_server)
    show(page, clip)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest answer (tokens)").fill("1500")
    page.get_by_role("button", name="Done").click()
    page.get_by_label("Question about the video").fill("What happens?")
    page.get_by_role("button", name="Ask", exact=True).click()
    answer = page.locator(".answer-text")
    expect(answer).to_have_class(re.compile("growing"))
    first = answer.inner_text()
    expect(answer).not_to_have_text(first)  # more of it
    scheduler = lively_server.service.scheduler
    assert scheduler.num_running == 1
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".note")).to_have_text("Stopped.")
    stopped = answer.inner_text()
    assert stopped.startswith(first)
    page.wait_for_timeout(100)
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()
    wait_until(page, lambda: not scheduler.num_running)
    assert answer.inner_text() == stopped


def test_a_key_frame_seeks(open_page, shared_server, miniature, clip):
    page = open_page(shared_server)
    show(page, clip)
    seen = miniature.open(str(clip))
    for number in (seen.kept_frames[-1], seen.kept_frames[0]):
        page.locator(".frame").nth(number).click()
        expect(page.locator(".frame[aria-current]")).to_have_count(1)
        expect(page.locator(".frame").nth(number)).to_have_attribute("aria-current", "true")
        assert abs(current_time(page) - seen.frame_times[number]) < 0.1
        assert page.locator("#player").evaluate("video => video.paused")


def test_what_cannot_be_read_is_said_in_words(open_page, shared_server, tmp_path, clip):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:900])
    page = open_page(shared_server)
    for path in (broken, clip):
        page.set_input_files("#file", path)
        if path is broken:
            expect(page.locator("#start-error")).to_contain_text("broken.mp4: ")
            expect(page.locator("#start-error")).to_contain_text("whole file")
            expect(page.locator("#work")).to_be_hidden()
    expect(page.locator(".frame.kept").first).to_be_visible()
    expect(page.locator("#start-error")).to_be_hidden()


def test_the_conversation_is_downloaded_as_json(open_page, shared_server, clip):
    page = open_page(shared_server)
    show(page, clip)
    answers = [ask(page, question) for question in QUESTIONS]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the conversation as JSON").click()
    kept = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert [turn["question"] for turn in kept["turns"]] == QUESTIONS
    assert [turn["answer"] for turn in kept["turns"]] == answers
    assert kept["model"] == "moving-shapes" and kept["video"]["name"] == "my clip.mp4"
    assert len(kept["video"]["frame_times"]) == 16 and "frames" not in kept["video"]
    assert all(turn["usage"]["total_tokens"] > 100 for turn in kept["turns"])


def test_an_example_brings_questions_and_the_truth(open_page, shared_server):
    page = open_page(shared_server)
    page.locator(".example").first.click()
    expect(page.locator(".frame.kept").first).to_be_visible()
    page.get_by_text("What really happens").click()
    expect(page.locator("#truth p")).to_contain_text("bounces two times")
    question = page.locator(".chip").first
    text = question.inner_text()
    question.click()
    expect(page.locator(".cost")).to_be_visible()
    expect(page.locator(".question-text")).to_have_text(text)
    expect(page.locator(".chip").filter(has_text=text)).to_have_count(0)


def test_fewer_frames_are_looked_at_when_the_settings_say_so(open_page, shared_server, clip):
    page = open_page(shared_server)
    show(page, clip)
    page.get_by_role("button", name="Settings").click()
    expect(page.locator("#facts")).to_contain_text("torch")
    page.locator("#frames").fill("4")
    page.get_by_label("From (s)").fill("1")
    page.get_by_role("button", name="Done").click()
    expect(page.locator("#seen-facts")).to_contain_text("4 frames")
    expect(page.locator(".frame")).to_have_count(4)
    expect(page.locator(".frame .when").first).to_have_text("1.0")
    ask(page, QUESTIONS[0])


def test_an_upload_that_the_server_forgot_is_sent_again(open_page, shared_server, clip):
    page = open_page(shared_server)
    show(page, clip)
    uploads = shared_server.service.uploads
    for upload in uploads.of("address 127.0.0.1"):
        uploads.delete(upload.id, upload.owner)
    assert ask(page, QUESTIONS[0])
    assert len(uploads.of("address 127.0.0.1")) == 1


def test_an_answer_is_copied(open_page, shared_server, clip):
    page = open_page(shared_server, permissions=["clipboard-read", "clipboard-write"])
    show(page, clip)
    answer = ask(page, QUESTIONS[0])
    page.get_by_role("button", name="Copy the answer").click()
    expect(page.locator("#announcer")).to_have_text("Copied")
    assert page.evaluate("() => navigator.clipboard.readText()") == answer


def test_a_film_from_the_camera_is_asked_about(open_page, shared_server):
    page = open_page(shared_server, permissions=["camera"])
    page.get_by_role("button", name="Record").click()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#recorder-time")).to_have_text(re.compile("Recording: 0:0[2-9]"))
    page.get_by_role("button", name="Stop and use").click()
    expect(page.locator(".frame.kept").first).to_be_visible()
    expect(page.locator(".video-name")).to_contain_text("Recording")
    assert ask(page, QUESTIONS[0])


def test_a_video_is_dropped_on_the_page(open_page, shared_server):
    page = open_page(shared_server)
    expect(page.locator(".example").first).to_be_visible()
    page.evaluate(
        """async () => {
          const response = await fetch("/page/examples/a-turn.mp4");
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([await response.blob()], "dropped.mp4"));
          for (const name of ["dragenter", "dragover"])
            document.body.dispatchEvent(new DragEvent(name, { dataTransfer, bubbles: true }));
          window.wasHinted = !document.getElementById("drop-hint").hidden;
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        }"""
    )
    assert page.evaluate("() => window.wasHinted")
    expect(page.locator("#drop-hint")).to_be_hidden()
    expect(page.locator(".frame.kept").first).to_be_visible()
    expect(page.locator(".video-name")).to_have_text("dropped.mp4")


def test_a_film_that_the_browser_cannot_play_is_shown_by_its_frames(
    open_page, shared_server, tmp_path, clip_file
):
    path = tmp_path / "<b>old.mp4"
    path.write_bytes(clip_file.read_bytes())  # MPEG-4's second part: no browser has it
    page = open_page(shared_server)
    show(page, path)
    expect(page.locator(".video-name")).to_have_text(path.name)  # as text, whatever it says
    expect(page.locator("#unplayable")).to_be_visible()
    page.locator(".frame").nth(9).click()
    picture = page.locator(".frame img").nth(9).get_attribute("src")
    expect(page.locator("#still")).to_have_attribute("src", picture)
    expect(page.locator(".frame").nth(9)).to_have_attribute("aria-current", "true")


def test_a_file_that_is_too_large_is_refused_in_words(open_page, miniature, tmp_path):
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(3_000_000))
    with running(twin(miniature), max_body_bytes=1_000_000) as server:
        page = open_page(server)
        page.set_input_files("#file", large)
        # Which of the two depends on whether the refusal comes before all was sent.
        refused = re.compile("more than 1000000 bytes|broke off")
        expect(page.locator("#start-error")).to_contain_text(refused)


def test_another_video_ends_the_answer_about_the_last(open_page, lively_server, clip):
    page = open_page(lively_server)
    show(page, clip)
    page.get_by_label("Question about the video").fill("What happens?")
    page.keyboard.press("Enter")
    expect(page.locator(".answer-text")).to_have_class(re.compile("growing"))
    uploads = lively_server.service.uploads
    before = uploads.of("address 127.0.0.1")[-1]
    page.get_by_role("button", name="Another video").click()
    show(page, clip)
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()
    wait_until(page, lambda: before not in uploads.of("address 127.0.0.1"))
