"""A packed row must mean exactly what its questions mean one by one."""

import numpy as np
import pytest
import torch

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.processor import MobileVideoGPTProcessor
from mobile_videogpt.synthetic.questions import Question
from mobile_videogpt.synthetic.vocabulary import build_tokenizer
from mobile_videogpt.synthetic.world import make_clip
from mobile_videogpt.training.miniature.curriculum import draw_questions
from mobile_videogpt.training.miniature.packing import IGNORED, QuestionPacker, segment_correct
from mobile_videogpt.training.shared_prefix import collate_shared


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = MobileVideoGPTConfig.preset("moving-shapes")
    return MobileVideoGPTForConditionalGeneration(config).eval()


@pytest.fixture(scope="module")
def packer(model):
    return QuestionPacker(build_tokenizer(), model.config.num_visual_tokens)


def logits(model, rows, packer, visual):
    batch = collate_shared(rows, packer.pad_id)
    segments = batch.pop("segments")
    batch.pop("labels")
    with torch.no_grad():
        return model(visual_embeds=visual, **batch).logits, segments


def test_a_packed_question_gets_the_logits_it_would_get_alone(model, packer):
    questions = draw_questions(make_clip(3), np.random.default_rng(0), 5)
    visual = torch.randn(1, model.config.num_visual_tokens, model.config.text_config.hidden_size)
    packed, segments = logits(model, [packer.pack(questions)], packer, visual)
    for number, question in enumerate(questions, start=1):
        alone, _ = logits(model, [packer.pack([question])], packer, visual)
        inside = packed[0, segments[0] == number]
        torch.testing.assert_close(inside, alone[0, len(packer.prefix) :], atol=1e-4, rtol=1e-4)


def test_hidden_tokens_change_nothing(model, packer):
    questions = draw_questions(make_clip(4), np.random.default_rng(0), 3)
    row = packer.pack(questions, range(model.config.num_image_tokens))
    width = model.config.text_config.hidden_size
    visual = torch.randn(1, model.config.num_visual_tokens, width)
    other = visual.clone()
    other[:, : model.config.num_image_tokens] = torch.randn(model.config.num_image_tokens, width)
    (first, segments), (second, _) = (logits(model, [row], packer, v) for v in (visual, other))
    torch.testing.assert_close(first[segments > 0], second[segments > 0])


def test_the_packed_prompt_is_the_one_that_the_processor_makes(model, packer):
    tokenizer = build_tokenizer()
    processor = MobileVideoGPTProcessor.from_config(model.config, tokenizer)
    turn = ("What color is it?", "red")
    question = Question("x", "Where does it move?", "up", ("up", "down"), history=(turn,))
    ids, _ = packer.segment(question, has_options=True)
    asked = processor.question_ids(question.with_options(), history=[turn])
    ours = [*packer.prefix, *ids]
    theirs = [*processor.prefix_ids(), *asked]
    assert ours[: len(theirs)] == theirs
    assert tokenizer.decode(ours[len(theirs) :]) == "up <|im_end|>"


def test_only_answers_and_their_end_are_labels(packer):
    questions = draw_questions(make_clip(5), np.random.default_rng(1), 6)
    row = packer.pack(questions)
    tokenizer = build_tokenizer()
    learned = row.labels[row.labels != IGNORED]
    answers = [a for q, _ in questions for a in (*(r for _, r in q.history), q.answer)]
    assert tokenizer.decode(learned) == " ".join(f"{answer} <|im_end|>" for answer in answers)


def test_segment_correct_wants_every_token_of_an_answer(packer):
    rows = [packer.pack(draw_questions(make_clip(s), np.random.default_rng(s), 4)) for s in (0, 1)]
    batch = collate_shared(rows, packer.pad_id)
    shifted = batch["labels"].roll(-1, dims=1).clamp_min(0)
    perfect = torch.nn.functional.one_hot(shifted, 192).float()
    assert all(all(row) for row in segment_correct(perfect, batch))
    place = (batch["labels"][0] != IGNORED).nonzero()[0, 0]
    perfect[0, place - 1] = 0.0
    result = segment_correct(perfect, batch)
    assert result[0][0] is False and all(result[1]) and all(result[0][1:])
