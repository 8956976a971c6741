"""Annotation files in every layout, well formed and not."""

import json
from pathlib import Path

import pytest

from mobile_videogpt.training.data import DataError, Media, Turn, read_annotations
from mobile_videogpt.training.data.annotations import scan_annotations
from mobile_videogpt.training.data.records import EntryError, Record


def write(path: Path, value) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def llava(question="<video>\nWhat?", answer="A shape.", **fields):
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": "a", "video": "a.mp4", "conversations": turns, **fields}


def only(path: Path, **options) -> Record:
    (record,) = read_annotations(path, **options)
    return record


def test_llava_entry_becomes_turns_with_the_video_in_its_place(tmp_path):
    entry = llava(start=1, end="2.5", family="motion")
    record = only(write(tmp_path / "a.json", [entry]))
    video = Media("video", tmp_path / "a.mp4", 1.0, 2.5)
    assert record.turns == (Turn("user", "What?", (video,)), Turn("assistant", "A shape."))
    assert record.id == "a" and record.details == {"family": "motion"}
    assert record.origin == f"{tmp_path / 'a.json'} entry 1"


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_json_lines_are_read_whatever_the_suffix(tmp_path, suffix):
    # U+2028 ends a line for Python's splitlines, not for JSON lines.
    lines = [json.dumps(llava(id=f"é{i}", answer="a\u2028b"), ensure_ascii=False) for i in range(3)]
    path = write(tmp_path / f"動画 .{suffix}", "\n".join(lines) + "\n\n")
    records = read_annotations(path)
    assert [record.id for record in records] == ["é0", "é1", "é2"]
    assert records[0].answers == ["a\u2028b"]


def test_messages_with_typed_content(tmp_path):
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Compare "},
                {"type": "video", "video": "one.mp4", "start": 1, "end": 2},
                {"type": "image_url", "image_url": {"url": "file:///tmp/two%20.png"}},
                {"type": "text", "text": "them."},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Same."}]},
    ]
    record = only(write(tmp_path / "a.json", [{"messages": messages}]))
    media = (
        Media("video", tmp_path / "one.mp4", 1.0, 2.0),
        Media("image", Path("/tmp/two .png")),
    )
    assert record.turns[0] == Turn("system", "Be brief.")
    assert record.turns[1] == Turn("user", "Compare them.", media)
    assert record.media == media


def test_messages_with_tags_and_a_bare_conversation(tmp_path):
    messages = [
        {"role": "user", "content": "<image><image>\nWhich? <video>"},
        {"role": "assistant", "content": "Both."},
    ]
    entry = {"messages": messages, "images": ["1.png", "2.png"], "videos": ["v.mp4"]}
    record = only(write(tmp_path / "a.jsonl", json.dumps(entry)))
    assert [media.path.name for media in record.media] == ["1.png", "2.png", "v.mp4"]
    assert record.turns[0].text == "Which?"
    bare = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert only(write(tmp_path / "b.jsonl", json.dumps(bare))).media == ()


def test_videochat2_has_the_instruction_in_front_of_the_first_question(tmp_path):
    pairs = [{"i": "Watch.", "q": "Who?", "a": "A dog."}, {"i": "Watch.", "q": "Why?", "a": "Fun."}]
    entries = [{"video": "k/a.mp4", "QA": pairs}, {"video": "b.mp4", "QA": [{"q": "Q", "a": "A"}]}]
    first, second = read_annotations(write(tmp_path / "a.json", entries))
    assert [turn.text for turn in first.turns] == ["Watch. Who?", "A dog.", "Why?", "Fun."]
    assert first.turns[0].media == (Media("video", tmp_path / "k" / "a.mp4"),)
    assert [turn.text for turn in second.turns] == ["Q", "A"] and len(second.media) == 1
    with pytest.raises(EntryError, match="lacks q or a"):
        read_annotations(write(tmp_path / "a.json", [{"video": "a.mp4", "QA": [{"q": "Q"}]}]))


@pytest.mark.parametrize("mark, separator, name", [("", ",", "csv"), ("\ufeff", ";", "csv")])
def test_tables(tmp_path, mark, separator, name):
    header = ["Video", "start", "end", "question", "answer", "split"]
    row = ["a b.mp4", "0.5", "", '"Line one\nline ""two"""', "yes", "train"]
    text = mark + "\n".join(separator.join(cells) for cells in (header, row, row)) + "\n"
    first, second = read_annotations(write(tmp_path / f"t.{name}", text))
    assert first.media == (Media("video", tmp_path / "a b.mp4", 0.5, None),)
    assert first.turns[0].text == 'Line one\nline "two"' and first.answers == ["yes"]
    assert first.details == {"split": "train"}
    # The second row begins in line 4, because the first one's question has a line break.
    assert first.origin.endswith("line 2") and second.origin.endswith("line 4")


def test_tsv_and_a_table_of_pictures_without_any_media(tmp_path):
    path = write(tmp_path / "t.tsv", "image\tquestion\tanswer\nx.png\tWhat, now?\ty\n\tWho?\tz\n")
    first, second = read_annotations(path)
    assert first.media == (Media("image", tmp_path / "x.png"),) and second.media == ()
    assert first.turns[0].text == "What, now?"


def test_media_root_and_absolute_paths(tmp_path):
    path = write(tmp_path / "a.json", [llava(), llava(video="/data/b.mp4")])
    first, second = read_annotations(path, media_root=tmp_path / "videos")
    assert first.media[0].path == tmp_path / "videos" / "a.mp4"
    assert second.media[0].path == Path("/data/b.mp4")


def test_a_dialogue_begins_with_the_user_as_released(tmp_path):
    entry = llava()
    entry["conversations"].insert(0, {"from": "gpt", "value": "Hello."})
    assert only(write(tmp_path / "a.json", [entry])).turns[0].text == "What?"


# Tags


@pytest.mark.parametrize(
    "question",
    ["<image>" * 16 + "\nWhat?", "<image>\n" * 16 + "What?", "What?\n<video>", "<image>What?"],
)
def test_a_run_of_image_tags_is_one_video_as_released(tmp_path, question):
    record = only(write(tmp_path / "a.json", [llava(question)]))
    assert len(record.media) == 1 and record.turns[0].text == "What?"


def test_tags_separate_two_videos(tmp_path):
    entry = llava("<video>\n<video>\nWhich is longer?", video=["a.mp4", "b.mp4"])
    assert len(only(write(tmp_path / "a.json", [entry])).turns[0].media) == 2
    entry = llava("First <image><image>, then <image><image>.", video=["a.mp4", "b.mp4"])
    assert only(write(tmp_path / "a.json", [entry])).turns[0].text == "First\n, then\n."


def test_media_go_to_the_turn_of_their_tag(tmp_path):
    turns = [
        {"from": "human", "value": "Hello"},
        {"from": "gpt", "value": "Hi"},
        {"from": "human", "value": "<image>\nAnd <video>?"},
        {"from": "gpt", "value": "Fine"},
    ]
    entry = {"image": "i.png", "video": "v.mp4", "conversations": turns}
    record = only(write(tmp_path / "a.json", [entry]))
    assert [len(turn.media) for turn in record.turns] == [0, 0, 2, 0]
    assert [media.kind for media in record.turns[2].media] == ["image", "video"]


MISMATCHES = {
    "no tag": llava("What?"),
    "two tags": llava("<video> and <video>?"),
    "no file": llava(video=None),
    "tag in the answer": llava("What?", "A <video> tag."),
    "an image tag too few": llava("<image>?", video=None, image=["a.png", "b.png"]),
    "a video tag for a picture": llava("<video>?", video=None, image="a.png"),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_tags_must_match_the_media(tmp_path, name):
    path = write(tmp_path / "a.json", [llava(), MISMATCHES[name]])
    with pytest.raises(EntryError, match="entry 2") as caught:
        read_annotations(path)
    assert caught.value.problem == "placeholders"


@pytest.mark.parametrize("name", MISMATCHES)
def test_without_strictness_every_file_is_placed_once_and_no_tag_is_left(tmp_path, name):
    entry = MISMATCHES[name]
    record = only(write(tmp_path / "a.json", [entry]), strict=False)
    given = [*([entry["video"]] if entry["video"] else []), *_listed(entry.get("image"))]
    assert [media.path.name for media in record.media] == given
    assert not any("<video>" in turn.text or "<image>" in turn.text for turn in record.turns)
    assert len(record.turns[0].media) == len(given)


def _listed(value):
    return [] if value is None else value if isinstance(value, list) else [value]


# What is broken


def test_broken_json_names_line_and_column(tmp_path):
    text = json.dumps([llava(), llava()], indent=1).replace('"id"', "id", 1)
    with pytest.raises(DataError, match=r"a\.json line 3 column \d+ is not JSON"):
        read_annotations(write(tmp_path / "a.json", text))


def test_a_broken_line_of_json_lines_leaves_the_others(tmp_path):
    good = json.dumps(llava())
    path = write(tmp_path / "a.jsonl", f"{good}\n\n{{broken\n{good}\n[1]\n")
    found = list(scan_annotations(path))
    assert [isinstance(item, Record) for item in found] == [True, False, True, False]
    assert str(found[1]).startswith(f"{path} line 3: not JSON") and found[1].problem == "json"
    with pytest.raises(EntryError, match="line 3"):
        read_annotations(path)


BROKEN = {
    "role 'robot'": llava(conversations=[{"from": "robot", "value": "x"}]),
    "lacks from or value": llava(conversations=[{"from": "human"}]),
    "must be a list of objects": llava(conversations="hello"),
    "conversations is empty": llava(conversations=[]),
    "no question with an answer": llava(conversations=[{"from": "human", "value": "<video>?"}]),
    "value must be text, not list": llava(conversations=[{"from": "human", "value": ["x"]}]),
    "start is 'soon'": llava(start="soon"),
    "start is -1": llava(start=-1),
    "start is nan": llava(start=float("nan")),
    "start 3 is not before end 2": llava(start=3, end=2),
    "not a file on this machine": llava(video="https://example.org/a.mp4"),
    "null character": llava(video="a\0.mp4"),
    "video is 5": llava(video=5),
    "neither conversations nor messages": {"video": "a.mp4", "text": "x"},
    "a str is no entry": "text",
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_entry_is_one_sentence_that_names_it(tmp_path, message):
    path = write(tmp_path / "a.json", [BROKEN[message]])
    with pytest.raises(EntryError) as caught:
        read_annotations(path)
    text = str(caught.value)
    assert message in text and text.startswith(f"{path} entry 1: ") and "\n" not in text


def test_unusable_files(tmp_path):
    with pytest.raises(DataError, match="No annotation file at"):
        read_annotations(tmp_path / "none.json")
    with pytest.raises(DataError, match="is a folder"):
        read_annotations(tmp_path)
    (tmp_path / "latin.csv").write_bytes("video,question,answer\né".encode("latin-1"))
    with pytest.raises(DataError, match=r"not UTF-8 text \(byte 22\)"):
        read_annotations(tmp_path / "latin.csv")
    with pytest.raises(DataError, match="holds a int"):
        read_annotations(write(tmp_path / "a.json", "5"))
    with pytest.raises(DataError, match="layout 'yolo' is unknown"):
        read_annotations(write(tmp_path / "b.json", "[]"), layout="yolo")


@pytest.mark.parametrize("text", ["[" * 100_000, f"[{'1' * 6000}]"])
def test_json_that_never_ends_is_an_error_of_the_file(tmp_path, text):
    with pytest.raises(DataError, match=r"a\.json cannot be read as JSON"):
        read_annotations(write(tmp_path / "a.json", text))
    with pytest.raises(EntryError, match="line 1: cannot be read as JSON"):
        read_annotations(write(tmp_path / "a.jsonl", text))


def test_a_cell_that_never_ends_is_an_error_of_the_file(tmp_path):
    text = 'video,question,answer\na.mp4,"' + "x" * 200_000
    with pytest.raises(DataError, match=r"a\.csv line 2 is not a table"):
        read_annotations(write(tmp_path / "a.csv", text))


def test_table_errors(tmp_path):
    path = write(tmp_path / "a.csv", "video,answer\na.mp4,yes\n")
    with pytest.raises(EntryError, match="line 2: no column question"):
        read_annotations(path)
    path = write(tmp_path / "b.csv", "video,question,answer\na.mp4,what, then,yes\n")
    with pytest.raises(EntryError, match="more than 3 columns"):
        read_annotations(path)


# MovingShapes


def test_moving_shapes_are_read_back_question_by_question(tmp_path):
    from mobile_videogpt.synthetic import make_clip
    from mobile_videogpt.synthetic.dataset import clip_number, clip_questions, write_dataset

    clips, seed = 3, 4
    records = read_annotations(write_dataset(tmp_path, clips, seed) / "annotations.json")
    expected = []
    for index in range(clips):
        number = clip_number(seed, index)
        for question in clip_questions(make_clip(number, "train")):
            turns = [*question.history, (question.open_text, question.answer)]
            expected.append((f"train-{number:08d}.mp4", question.family, turns))
    found = []
    for record in records:
        (video,) = record.media
        assert video.path.is_file() and video in record.turns[0].media
        texts = [turn.text for turn in record.turns]
        found.append(
            (
                video.path.name,
                record.details["family"],
                list(zip(texts[::2], texts[1::2], strict=True)),
            )
        )
    assert found == [(name, family, list(map(tuple, turns))) for name, family, turns in expected]
