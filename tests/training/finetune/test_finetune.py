"""Fine-tuning in one call: the split, the sizes, the scores, a whole run that is killed once."""

import csv
import json
from pathlib import Path

import pytest
from media_data import write_media

from mobile_videogpt.checkpoints import load_model
from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.synthetic.vocabulary import build_tokenizer
from mobile_videogpt.training.data import DataError, Media, Record, Turn, read_annotations
from mobile_videogpt.training.finetune import FinetuneOptions, finetune, plan, push, run
from mobile_videogpt.training.finetune.prepare import check_vocabulary
from mobile_videogpt.training.finetune.score import answer_records, score_records
from mobile_videogpt.training.finetune.split import split_records
from mobile_videogpt.training.media import run as media_run
from mobile_videogpt.training.media.samples import PixelReader
from mobile_videogpt.training.recipe import RecipeError

pytest.importorskip("peft")


def record(*videos: str, answer: str = "yes", number: int = 0) -> Record:
    media = tuple(Media("video", Path(name)) for name in videos)
    turns = (Turn("user", f"is it red {'again ' * number}?", media), Turn("assistant", answer))
    return Record(str(number), turns, f"clips.csv entry {number}")


def table(folder: Path, rows: list[tuple[str, str, str]], name: str = "clips.csv") -> Path:
    """Clips and a table of questions about them."""
    write_media(folder)
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([("video", "question", "answer"), *rows])
    return folder / name


ROWS = [
    (f"clip{clip}.mp4", question, answer)
    for clip in range(2)
    for question, answer in (
        ("What color is it?", ("red", "blue")[clip]),
        ("How many objects move?", ("one", "two")[clip]),
        ("Is there a star?", ("yes", "no")[clip]),
    )
]


def test_whole_videos_are_held_back_always_the_same():
    records = [record(f"{i // 3}.mp4", number=i) for i in range(60)]
    train, unseen = split_records(records, 0.2)
    shown = [{media.path for r in part for media in r.media} for part in (train, unseen)]
    assert len(train) + len(unseen) == 60 and len(unseen) == 12
    assert not shown[0] & shown[1]
    elsewhere = [record(f"/other/{i // 3}.mp4", number=i) for i in range(60)]
    assert [r.id for r in split_records(elsewhere, 0.2)[1]] == [r.id for r in unseen]
    assert {r.id for r in split_records(records[::-1], 0.2)[1]} == {r.id for r in unseen}
    assert [r.id for r in split_records(records, 0.2, seed=1)[1]] != [r.id for r in unseen]


def test_records_that_share_a_video_or_its_content_stay_together():
    records = [record("a.mp4"), record("a.mp4", "b.mp4"), record("copy.mp4"), record("c.mp4")]
    same = {"copy.mp4": "b.mp4"}
    train, unseen = split_records(
        records, 0.01, content=lambda path: same.get(str(path), str(path))
    )
    assert sorted((len(train), len(unseen))) == [1, 3]
    with pytest.raises(DataError, match="--validation"):
        split_records(records[:2], 0.5)


def test_words_that_the_model_cannot_say_are_refused(caplog):
    tokenizer = build_tokenizer()
    check_vocabulary([record(answer="a red star.")], tokenizer)
    with pytest.raises(DataError, match="zigzags"):
        check_vocabulary([record(answer="It zigzags.")], tokenizer)
    assert not caplog.records
    question = Turn("user", "does it zigzag?")
    check_vocabulary([Record("0", (question, Turn("assistant", "no")), "")], tokenizer)
    assert "zigzag" in caplog.text


def test_sizes_follow_the_memory_at_hand(tmp_path, monkeypatch, caplog):
    options = FinetuneOptions(table(tmp_path, ROWS), tmp_path / "out", global_batch_size=12)
    config = MobileVideoGPTConfig.preset("0.5b")

    def sizes(gigabytes: float) -> plan.Sizes:
        monkeypatch.setattr(plan, "usable_bytes", lambda: (int(gigabytes * 1e9), "a test"))
        return plan.choose_sizes(options, config, 60)

    plenty, some, little = sizes(2000), sizes(40), sizes(8)
    assert (plenty.batch_size, plenty.gradient_checkpointing) == (12, False)
    assert some.batch_size < 12 and 12 % some.batch_size == 0
    assert little == plan.Sizes(1, True, little.estimated_bytes, 8_000_000_000, "a test")
    assert not caplog.records
    assert sizes(1).batch_size == 1 and "may fail" in caplog.text


def test_the_rate_follows_the_models_width(tmp_path):
    options = FinetuneOptions(table(tmp_path, ROWS), tmp_path / "out")
    rates = {
        name: plan.learning_rate(options, MobileVideoGPTConfig.preset(name))
        for name in ("moving-shapes", "0.5b", "1.5b")
    }
    assert rates == pytest.approx({"moving-shapes": 1e-3, "0.5b": 2e-4, "1.5b": 2e-4})


def test_greedy_decoding_and_the_score_agree(tmp_path):
    path = table(tmp_path, ROWS)
    model, processor = load_model("moving-shapes")
    reader = PixelReader(processor)
    records = read_annotations(path)
    said = answer_records(model, processor, records, reader)
    # What the model says is right by definition; one other word makes an answer wrong.
    rows = [(r[0], r[1], answer) for r, answer in zip(ROWS, said, strict=True)]
    scores = score_records(model, processor, table(tmp_path, rows), reader, batch_size=4)
    assert (scores.records, scores.answers_right, scores.tokens_right) == (6, 1.0, 1.0)
    rows[0] = (*rows[0][:2], "again again")
    scores = score_records(model, processor, table(tmp_path, rows), reader)
    assert scores.answers_right == pytest.approx(5 / 6) and scores.tokens_right < 1


class Killed(Exception):
    pass


@pytest.fixture
def options(tmp_path) -> FinetuneOptions:
    return FinetuneOptions(
        data=table(tmp_path / "new", ROWS),
        replay=table(tmp_path / "old", ROWS[::-1]),
        output=tmp_path / "out",
        epochs=3,
        global_batch_size=2,
        learning_rate=1e-3,
        workers=1,
    )


def test_a_killed_run_goes_on_to_a_model_a_card_and_scores(options, monkeypatch):
    encoded = []
    original = run.encode_media
    monkeypatch.setattr(
        run, "encode_media", lambda *a, **k: encoded.append(original(*a, **k)) or encoded[-1]
    )
    collate, made = media_run.SampleCollator.__call__, []

    def kill(self, rows):
        made.append(rows)
        if len(made) > 9:
            raise Killed
        return collate(self, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(media_run.SampleCollator, "__call__", kill)
        with pytest.raises(Killed):
            finetune(options)
    assert list((options.output / "finetune" / "checkpoints").glob("checkpoint-*"))
    result = finetune(options)
    assert [summary.encoded for summary in encoded] == [2, 0]  # old and new clips are the same
    assert result.model == options.output / "model"
    before, after = result.scores["before"], result.scores["after"]
    assert before["new"]["records"] == before["old"]["records"] == 3
    assert after["new"] != before["new"]
    card = (result.model / "README.md").read_text()
    assert "| new data | after |" in card and "| replayed data | before |" in card
    assert card.count("| What color is it? |") == 1
    model, _ = load_model(result.model)
    adapted, _ = load_model(result.adapter)
    for (name, a), b in zip(model.state_dict().items(), adapted.state_dict().values(), strict=True):
        assert (a - b).abs().max() < 2e-3, name
    entries = [
        {m.path.name for r in read_annotations(options.output / "data" / name) for m in r.media}
        for name in ("train.jsonl", "validation.jsonl")
    ]
    assert len(entries[0]) == len(entries[1]) == 1 and entries[0] != entries[1]
    # Again, with everything done: the same result, and nothing is trained.
    monkeypatch.setattr(media_run, "choose_trainable", None)
    assert finetune(options).scores == result.scores


def test_a_run_is_not_continued_with_other_options(options):
    run.remember(options)
    run.remember(options)
    changed = FinetuneOptions(**{**vars(options), "epochs": 5})
    with pytest.raises(ValueError, match="epochs 3, now it is 5"):
        run.remember(changed)
    options.data.write_text(options.data.read_text() + "clip0.mp4,Is it red?,yes\n")
    with pytest.raises(ValueError, match="data hash"):
        run.remember(options)


def test_what_is_missing_for_qlora_is_said_first(options, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RecipeError, match="CUDA"):
        finetune(FinetuneOptions(**{**vars(options), "qlora": True}))
    assert not options.output.exists()


def test_the_hub_is_asked_before_and_given_the_model_after(options, monkeypatch, tmp_path):
    called = []

    class Api:
        def whoami(self):
            raise push.LocalTokenNotFoundError("no token")

        def create_repo(self, repo_id, **options):
            called.append((repo_id, options["private"]))

        def upload_folder(self, *, repo_id, folder_path, **options):
            called.append((repo_id, Path(folder_path).name))

    monkeypatch.setattr(push, "HfApi", Api)
    with pytest.raises(ValueError, match="hf auth login"):
        finetune(FinetuneOptions(**{**vars(options), "push_to_hub": "me/mine"}))
    with pytest.raises(ValueError, match="OWNER/NAME"):
        push.require_login("mine")
    push.push_model(tmp_path / "model", "me/mine")
    assert called == [("me/mine", True), ("me/mine", "model")]


def test_data_without_a_usable_entry_says_where_to_look(options):
    options.data.write_text("video,question,answer\nclip0.mp4,Is it red?,\n")
    with pytest.raises(DataError, match=r"report\.html"):
        finetune(options)
    report = json.loads((options.output / "check" / "report.json").read_text())
    assert list(report["found"]) == ["empty_answer"]
