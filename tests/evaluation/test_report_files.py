"""What lies in the folder after a report: text, page and pictures that show what they should."""

import io
import logging
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_runs import made_up, prediction, write_run
from PIL import Image

from mobile_videogpt.evaluation import published
from mobile_videogpt.evaluation.predictions import PredictionFolder
from mobile_videogpt.evaluation.report import write_report
from mobile_videogpt.evaluation.report.markdown import table_lines
from mobile_videogpt.evaluation.report.samples import choose_samples, draw_key_frames
from mobile_videogpt.evaluation.report.tables import Table
from mobile_videogpt.synthetic.dataset import write_clip
from mobile_videogpt.synthetic.world import make_clip

TIMES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
NASTY = "<script>alert(1)</script> | **x** _y_ `z` [a](b)"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    write_clip(make_clip(3), path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, clip) -> Path:
    """MVBench, NExT-QA and PerceptionTest, with real key frames and an ill-meaning answer."""
    rows = []
    for group, names in published.mvbench_groups().items():
        for name in names:
            kind = name.removeprefix("mvbench_")
            common = {"task": name, "sub_task": kind, "group": group}
            rows += made_up(6, 0.6, blind_share=0.3, **common)
    rows += made_up(40, 0.6, kinds=("CW", "CH", "TN"), video=str(clip), kept_times=TIMES)
    rows += made_up(10, 0.5, task="perceptiontest_val_mc")
    rows.append(prediction(99, right=False, output=NASTY, prediction=None, sub_task="CW"))
    lost = {"error": f"damaged {NASTY}", "output": "", "prediction": None}
    rows.append(prediction(100, right=False, video="broken.mp4", **lost))
    folder = write_run(tmp_path_factory.mktemp("runs") / "run", rows)
    write_report(folder)
    return folder


class Reader(HTMLParser):
    """Collects tags, pictures and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.sources.append(dict(attrs)["src"])

    def handle_data(self, data):
        self.words += f"{data} "


def test_markdown_links_only_to_pictures_that_are_there(run):
    text = (run / "report.md").read_text(encoding="utf-8")
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert len(links) > 6 and all((run / link).is_file() for link in links)
    assert {"radar.png", "bars-mvbench.png", "radar-mvbench.png"} <= set(links)


def test_tables_of_the_markdown_have_as_many_cells_as_columns(run):
    text = (run / "report.md").read_text(encoding="utf-8")
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_the_page_needs_nothing_else_and_shows_every_picture(run):
    page = Reader((run / "report.html").read_text(encoding="utf-8"))
    assert page.sources and all(source.startswith("data:image/") for source in page.sources)
    pictures = [*run.glob("*.png"), *run.glob("samples/*.jpg")]
    assert len(page.sources) == len(pictures)
    assert "link" not in page.tags


def test_nothing_that_a_model_wrote_becomes_code_or_markup(run):
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page
    text = (run / "report.md").read_text(encoding="utf-8")
    assert "<script" not in text.replace("\\<script", "") and "\\*\\*x\\*\\*" in text


def test_all_the_papers_models_stand_beside_the_run(run):
    for name in ("report.md", "report.html"):
        text = (run / name).read_text(encoding="utf-8")
        for column in published.benchmark_columns():
            assert column in text
            assert all(model in text for model in published.table1(column))
        assert all(model in text for model in published.mvbench_average())
        assert "not run" in text, "EgoSchema, MLVU and ActivityNet-QA"


def test_every_figure_of_the_page_is_in_the_markdown(run):
    page = Reader((run / "report.html").read_text(encoding="utf-8")).words
    text = (run / "report.md").read_text(encoding="utf-8")
    intervals = re.findall(r"\d+\.\d to \d+\.\d", page)
    assert len(intervals) > 20 and set(intervals) <= set(re.findall(r"\d+\.\d to \d+\.\d", text))


def test_charts_are_pictures_of_a_sensible_size_with_something_on_them(run):
    for path in run.glob("*.png"):
        picture = Image.open(path)
        assert 600 <= picture.width <= 1600 and 150 <= picture.height <= 2400, path
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20, path


def test_the_same_answers_give_the_same_files(run):
    before = {p: p.read_bytes() for p in run.rglob("*") if p.suffix in {".png", ".jpg", ".md"}}
    write_report(run)
    assert before == {p: p.read_bytes() for p in before}


def test_pictures_of_an_earlier_report_are_forgotten(run, clip, tmp_path):
    folder = write_run(tmp_path / "run", made_up(8, 1.0, video=str(clip), kept_times=TIMES))
    write_report(folder)
    assert len(list(folder.glob("samples/*.jpg"))) == 4
    only = prediction(0, right=False, video="gone.mp4", kept_times=TIMES)
    PredictionFolder(folder / only.task).write({only.id: only}, [only.id])
    write_report(folder)
    assert not list(folder.glob("samples/*.jpg"))


def test_without_matplotlib_the_report_is_written_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    folder = write_run(tmp_path / "run", made_up(30, 0.5))
    with caplog.at_level(logging.WARNING):
        report = write_report(folder)
    assert report["pictures"] == [] and (folder / "report.html").is_file()
    assert "pip install 'mobile-videogpt[eval]'" in caplog.text


# --- samples


def test_samples_are_of_both_kinds_and_of_many_kinds_of_questions():
    rows = made_up(200, 0.5, kinds=("a", "b", "c", "d"))
    chosen = choose_samples(rows)
    assert [r.score for r in chosen] == [1, 1, 1, 1, 0, 0, 0, 0]
    for part in (chosen[:4], chosen[4:]):
        assert {r.sub_task for r in part} == {"a", "b", "c", "d"}
        assert len({r.video for r in part}) == 4


def test_samples_are_drawn_not_picked():
    rows = made_up(200, 0.5)
    assert choose_samples(rows) == choose_samples(list(rows))
    assert choose_samples(rows) != choose_samples(rows, seed=1)


def test_what_could_not_be_read_is_no_sample():
    rows = [prediction(i, right=False, error="damaged") for i in range(5)]
    rows += [prediction(i, right=True, score=None) for i in range(5, 10)]
    assert choose_samples(rows) == []


def picture_of(result) -> Image.Image:
    content = draw_key_frames(result)
    assert content is not None
    return Image.open(io.BytesIO(content))


def test_key_frames_are_those_of_the_clip_at_their_times(clip):
    """Each cell of the picture is the frame that a reader finds at that second."""
    times = (0.5, 3.5)
    strip = np.asarray(picture_of(prediction(0, right=True, video=str(clip), kept_times=times)))
    frames = make_clip(3).frames(32, 128)
    for place, seconds in enumerate(times):
        wanted = Image.fromarray(frames[round(seconds * 8)]).resize((150, 150))
        shown = strip[:150, place * 156 : place * 156 + 150].astype(float)
        gap = [np.abs(shown - np.asarray(wanted)).mean()]
        other = Image.fromarray(frames[round(times[1 - place] * 8)]).resize((150, 150))
        gap.append(np.abs(shown - np.asarray(other)).mean())
        assert gap[0] < 4 and gap[0] < gap[1]


def test_eight_frames_stand_in_two_rows(clip):
    picture = picture_of(prediction(0, right=True, video=str(clip), kept_times=TIMES))
    assert picture.size == (4 * 156 - 6, 2 * 172)


def test_clips_that_are_made_on_demand_are_shown_too():
    for name in ("moving-shapes-test-00000005", "moving-shapes-test-00000005.mp4"):
        assert picture_of(
            prediction(0, right=True, task="moving-shapes", video=name, kept_times=(1.0,))
        ).size == (150, 172)


def test_frames_of_a_folder_are_found_by_its_clock(tmp_path):
    for number in range(6):
        Image.new("RGB", (40, 20), (40 * number, 0, 0)).save(tmp_path / f"{number:05d}.png")
    result = prediction(0, right=True, video=str(tmp_path), fps=3.0, kept_times=(1.0, 5 / 3))
    strip = np.asarray(picture_of(result))
    assert abs(int(strip[30, 70, 0]) - 120) < 6 and abs(int(strip[30, 230, 0]) - 200) < 6


def test_a_video_that_is_gone_has_no_picture(caplog):
    gone = prediction(0, right=True, video="gone.mp4", kept_times=(1.0,))
    assert draw_key_frames(gone) is None and "gone.mp4" in caplog.text


def test_without_key_frames_the_stretch_in_question_is_shown(tmp_path):
    for number in range(30):
        Image.new("RGB", (40, 20), (8 * number, 0, 0)).save(tmp_path / f"{number:05d}.png")
    asked = {"video": str(tmp_path), "fps": 3.0, "start": 2.0, "end": 5.0}
    strip = np.asarray(picture_of(prediction(0, right=True, **asked)))
    shades = [int(strip[top, left, 0]) for top in (30, 130) for left in (70, 226, 382, 538)]
    assert abs(shades[0] - 48) < 6 and abs(shades[-1] - 120) < 6
    assert shades == sorted(shades) and len(set(shades)) == 8


def test_markdown_tables_escape_bars_and_mark_what_is_strong():
    lines = table_lines(Table(("a", "b"), [("x|y", "1"), ("whole", "2")], strong=(1,)))
    assert lines == ["| a | b |", "| :--- | ---: |", "| x\\|y | 1 |", "| **whole** | **2** |"]


def test_how_another_model_was_asked_is_said(tmp_path):
    remote = {"media": "frames", "instruction": "Answer with the letter."}
    folder = write_run(tmp_path / "run", made_up(4, 0.5), engine="endpoint", remote=remote)
    write_report(folder)
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "Answer with the letter." in text and "endpoint" in text
