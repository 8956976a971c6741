"""The report of a check: complete, escaped, and a cleaned set that trains."""

import json
from html.parser import HTMLParser

import pytest
import yaml

from mobile_videogpt.training.data import load_mixture, read_annotations
from mobile_videogpt.training.data.check import CheckOptions, check_data
from mobile_videogpt.training.data.check_report import build_report, write_report
from mobile_videogpt.training.data.cleaned import write_cleaned

ALL = CheckOptions(sample=None, workers=1)
ATTACK = "<script>alert('x')</script><img src=x onerror=alert(1)>\"&{{ 7*7 }}"


class Page(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def report(tmp_path):
    """Checks, writes everything to `out` and returns report and page."""

    def make(config):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        result = check_data(config, ALL)
        write_report(result, build_report(result, write_cleaned(result, out)), out)
        page = (out / "report.html").read_text(encoding="utf-8")
        return json.loads((out / "report.json").read_text(encoding="utf-8")), Page(page)

    return make


@pytest.fixture
def folder(tmp_path, clips):
    for number, content in enumerate(clips):
        (tmp_path / f"{number}.mp4").write_bytes(content)
    return tmp_path


def write(path, entries):
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def test_what_the_annotations_say_is_never_markup(report, folder, entry):
    odd = folder / "<b>odd<b>.mp4"
    odd.write_bytes((folder / "0.mp4").read_bytes())
    entries = [
        entry(odd.name, question=f"<video>{ATTACK}", answer=ATTACK, **{"<i>label": ATTACK}),
        entry("<u>missing.mp4", question=f"<video>{ATTACK}", answer=ATTACK, id=ATTACK),
        {"id": ATTACK, ATTACK: 1},
    ]
    document, page = report(write(folder / "<em>a.json", entries))
    seen = {tag for tag, _ in page.tags}
    assert not seen & {"script", "em", "u"} and not any(
        "onerror" in given for _, given in page.tags
    )
    assert all(given.get("src", "data:image/jpeg").startswith("data:") for _, given in page.tags)
    assert page.text.count(ATTACK) >= 4 and "49" not in page.text
    assert document["usable"] == 1 and document["entries"] == 3


def test_the_page_needs_no_other_file(report, folder, entry):
    _, page = report(write(folder / "a.json", [entry("0.mp4"), entry("1.mp4")]))
    assert sum(tag == "img" for tag, _ in page.tags) == 2
    assert not {"link", "iframe", "script"} & {tag for tag, _ in page.tags}
    assert "Every entry can be used." in page.text


def test_the_report_lists_every_finding_and_counts_the_labels(report, folder, entry):
    entries = [entry("0.mp4", answer="Left.", family="motion"), entry("1.mp4", answer="left")]
    entries += [entry("gone.mp4", id=f"g{number}", answer=str(number)) for number in range(70)]
    document, page = report(write(folder / "a.json", entries))
    assert len(document["found"]["missing"]) == 70 == document["problems"]
    assert document["found"]["missing"][0]["path"].endswith("gone.mp4")
    assert "and 10 more: see report.json" in page.text
    usable = document["usable_entries"]
    assert usable["commonest_answers"] == [{"text": "left", "count": 2, "share": 1.0}]
    assert usable["labels"] == {"family": {"motion": 1}}
    assert document["decoded_files"]["codecs"] == {"h264": 2}
    assert document["decoded_files"]["duration_s"]["p50"] == pytest.approx(4)


def test_the_cleaned_annotations_are_read_from_where_they_are(report, folder, entry):
    entries = [entry("0.mp4", start=0.5), entry("gone.mp4"), entry("1.mp4", note="kept")]
    document, _ = report(write(folder / "a.json", entries))
    records = read_annotations(document["cleaned"])
    assert [record.id for record in records] == ["0", "1"]
    assert all(media.path.exists() for record in records for media in record.media)
    assert records[0].media[0].start == 0.5 and records[1].details == {"note": "kept"}


def test_a_cleaned_mixture_keeps_weights_and_prompts(report, folder, entry):
    write(folder / "a.json", [entry("0.mp4"), entry("gone.mp4")])
    write(folder / "b.json", [entry("gone.mp4")])
    prompt = {"suffix": " Be brief."}
    sources = [
        {"annotations": "a.json", "name": "a/1 é", "weight": 2, "prompt": prompt, "system": "S"},
        {"annotations": "b.json", "weight": 1},
    ]
    config = folder / "mixture.yaml"
    config.write_text(yaml.safe_dump({"sources": sources, "samples_per_epoch": 5, "seed": 3}))
    document, _ = report(config)
    cleaned = load_mixture(document["cleaned"])
    assert [source.config.name for source in cleaned.sources] == ["a/1 é"]
    assert cleaned.samples_per_epoch == 5 and cleaned.seed == 3
    record = cleaned.record(0)
    assert [turn.text for turn in record.turns] == ["S", "What? Be brief.", "A shape."]
    assert record.media[0].path.exists()


def test_an_annotation_file_that_cannot_be_read_is_no_entry(report, folder, entry):
    write(folder / "a.json", [entry("0.mp4")])
    config = folder / "mixture.yaml"
    config.write_text(yaml.safe_dump({"sources": ["a.json", "none.json"]}))
    document, page = report(config)
    assert (document["entries"], document["usable"], document["problems"]) == (1, 1, 1)
    assert "1 annotation file cannot be read." in page.text


def test_nothing_usable_leaves_no_cleaned_file(report, folder, entry):
    document, page = report(write(folder / "a.json", [entry("gone.mp4")]))
    assert document["cleaned"] is None and not list((folder / "out").glob("cleaned*"))
    assert "1 of 1 entries cannot be used." in page.text
