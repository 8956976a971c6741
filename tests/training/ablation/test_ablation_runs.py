"""Runs from stored features: what they train on, what they leave, how they are scored, resuming."""

import json

import numpy as np
import pytest
import torch
from small_ablation import write_ablation

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.models.frame_selection import uniform_frames
from mobile_videogpt.synthetic.dataset import FRAMES, SIDE, clip_questions
from mobile_videogpt.synthetic.questions import FAMILIES, LETTERS
from mobile_videogpt.synthetic.vocabulary import build_tokenizer
from mobile_videogpt.synthetic.world import make_clip
from mobile_videogpt.training import runner
from mobile_videogpt.training.ablation import run
from mobile_videogpt.training.ablation.features import (
    prepare_features,
    training_features,
    unseen_features,
)
from mobile_videogpt.training.ablation.job import train_and_score
from mobile_videogpt.training.ablation.plan import load_ablation
from mobile_videogpt.training.ablation.scoring import AnswerTree, answer_clip
from mobile_videogpt.training.miniature.packing import QuestionPacker
from mobile_videogpt.training.recipe import RecipeError

pytest.importorskip("peft")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_features_follow_the_selection_and_leave_the_start_alone(ablation, start):
    before = contents(start)
    prepare_features(ablation, 1)
    assert contents(start) == before
    for store in (training_features, unseen_features):
        everything = store(ablation, "all-frames")
        uniform, drawn = store(ablation, "image-only"), store(ablation, "random")
        assert (uniform["kept"] == uniform_frames(16, 8)).all()
        assert (everything["kept"] == np.arange(16)).all()
        assert ((np.array(drawn["kept"]) < 8).sum(1) == 4).all()
        assert not (np.array(drawn["kept"]) == np.array(uniform["kept"])).all()
        # The first of two passes over all frames sees what uniform selection keeps.
        np.testing.assert_allclose(everything["video"][:, ::2], uniform["video"], atol=2e-3)
        assert (everything["image"] == store(ablation, "dual")["image"]).all()


def test_a_start_with_too_few_clips_is_refused(tmp_path, start):
    ablation = load_ablation(write_ablation(tmp_path, start, train_clips=501))
    with pytest.raises(RecipeError, match="lacks the image features of 501 clips"):
        prepare_features(ablation, 1)


@pytest.mark.parametrize("variant", ["dual", "image-only", "video-only", "all-frames"])
def test_a_run_leaves_a_model_that_answers_and_its_score(ablation, variant):
    prepare_features(ablation, 1)
    train_and_score(ablation, variant, 1)
    folder = ablation.folder(variant, 1)
    chat = VideoChat(str(folder / "model"), device="cpu")
    fields = ablation.variants[variant]
    assert chat.config.encoders == fields.get("encoders", "both")
    rows = json.loads((folder / "answers.json").read_text())
    assert {row["clip"] for row in rows} == {0, 1, 2}
    # Weights and features are rounded to half precision on the two ways: near ties may differ.
    agreed = 0
    for row, (question, video) in zip(rows, asked(chat, 3), strict=True):
        assert (row["family"], row["true"]) == (question.family, question.letter)
        scores = chat.choose(video, question.text, question.options)
        agreed += row["letter"] == LETTERS[[s.option for s in scores].index(scores.best.option)]
    assert agreed >= len(rows) - 1


def asked(chat, clips):
    for number in range(clips):
        clip = make_clip(number, "test")
        video = chat.open(clip.frames(FRAMES, SIDE))
        for question in clip_questions(clip):
            if question.family in FAMILIES:
                yield question, video


def test_scores_are_those_of_asking_the_built_in_model_one_by_one():
    chat = VideoChat("moving-shapes", device="cpu")
    packer = QuestionPacker(build_tokenizer(), chat.config.num_visual_tokens)
    for number in range(3):
        clip = make_clip(number + 40, "test")
        questions = [q for q in clip_questions(clip) if q.family in FAMILIES]
        video = chat.open(clip.frames(FRAMES, SIDE))
        with torch.inference_mode():
            seen = chat.model.encode_video(*chat.processor.pixels(video.frames))
        features = {
            "image_features": seen.image_features,
            "video_features": seen.video_features,
        }
        for question, answer in zip(
            questions, answer_clip(chat.model, packer, questions, features), strict=True
        ):
            text = str(chat.ask(video, question.open_text)).strip()
            assert answer["open"] == (text == question.answer)
            best = chat.choose(video, question.text, question.options).best.option
            assert answer["letter"] == LETTERS[question.options.index(best)]


def test_a_text_of_the_tree_sees_the_prefix_its_parent_and_itself():
    tree = AnswerTree([1, 2])
    question = tree.add([3, 4])
    options = [tree.add([5, 6], question), tree.add([7], question)]
    other = tree.add([8])
    assert tree.positions == [0, 1, 2, 3, 4, 5, 4, 2]
    assert tree.predicting(options[1]) == [3] and tree.predicting(options[0]) == [3, 4]
    assert tree.predicting(other) == [1]
    seen = [row.nonzero().flatten().tolist() for row in tree.mask()[0, 0]]
    assert seen[5] == [0, 1, 2, 3, 4, 5]
    assert seen[6] == [0, 1, 2, 3, 6]
    assert seen[7] == [0, 1, 7]


def test_a_killed_run_goes_on_and_ends_with_the_same_answers(tmp_path, start, monkeypatch):
    def answers(name: str, dies: bool) -> str:
        folder = tmp_path / name
        folder.mkdir()
        ablation = load_ablation(write_ablation(folder, start, "variants:\n  dual: {}"))
        prepare_features(ablation, 1)
        if dies:
            with monkeypatch.context() as patch:
                patch.setitem(runner._KINDS, "instruct", lambda *_: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    train_and_score(ablation, "dual", 0)
            assert not (ablation.folder("dual", 0) / "answers.json").exists()
        train_and_score(ablation, "dual", 0)
        return (ablation.folder("dual", 0) / "answers.json").read_text()

    assert answers("whole", dies=False) == answers("killed", dies=True)


def test_runs_go_seed_by_seed_and_those_done_are_not_repeated(ablation, monkeypatch):
    started = []
    monkeypatch.setattr(run, "prepare_features", lambda *_: None)

    def finish(plan, job):
        started.append(job)
        plan.folder(*job).mkdir(parents=True, exist_ok=True)
        if job != ("random", 0):
            (plan.folder(*job) / "answers.json").write_text("[]")
        return int(job == ("random", 0))

    monkeypatch.setattr(run, "_run", finish)
    with pytest.raises(RecipeError, match=r"1 runs failed; see the end of .*random/seed-0/log.txt"):
        run.train_all(ablation, 1)
    assert [seed for _, seed in started] == [0] * 6 + [1] * 6
    assert run.missing_runs(ablation) == [("random", 0)]
    assert json.loads((ablation.output / "run.json").read_text())["commit"]
