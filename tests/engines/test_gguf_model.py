"""The exported language model in llama.cpp says what ours says, fed with our visual tokens."""

import pytest
import torch

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.checkpoints.gguf_file import write_gguf
from mobile_videogpt.checkpoints.language_model import open_language_model
from mobile_videogpt.engines.gguf_model import GgufLanguageModel

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp")

QUESTIONS = ("What happens in the video?", "How many objects are there?", "Describe the clip.")


@pytest.fixture(scope="module")
def chat() -> VideoChat:
    return VideoChat(engine="torch")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One GGUF file of the built-in model per type."""
    folder = tmp_path_factory.mktemp("gguf")
    source = open_language_model("moving-shapes")
    return {
        kind: write_gguf(source, folder / f"{kind}.gguf", kind).path
        for kind in ("f16", "q8_0", "q4_0")
    }


def test_greedy_answers_are_the_same(chat, files, clip_file):
    video = chat.open(clip_file)
    with GgufLanguageModel(files["f16"], threads=1) as model:
        for question in QUESTIONS:
            embeds, _ = chat.prompt_embeds(video, question)
            model.rewind()
            ids = list(model.generate(model.read_embeds(embeds), 60, chat.end_token_ids))
            text = chat.processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
            assert text == str(chat.ask(video, question, max_new_tokens=60)) != ""


@pytest.mark.parametrize(("kind", "at_least"), [("q8_0", 0.98), ("q4_0", 0.8)])
def test_quantised_files_predict_the_same_tokens(chat, files, clip_file, kind, at_least):
    """Each token after the whole model's own answer so far: one slip does not count twice."""
    same = total = 0
    with GgufLanguageModel(files[kind], threads=1) as model:
        for question in QUESTIONS:
            embeds, _ = chat.prompt_embeds(clip_file, question)
            answer = chat.processor.tokenizer(str(chat.ask(clip_file, question)))["input_ids"]
            model.rewind()
            logits = model.read_embeds(embeds)
            for token in [*answer, chat.end_token_ids[0]]:
                same += int(logits.argmax()) == token
                total += 1
                logits = model.read_tokens([token])
    assert total > 20 and same >= at_least * total


def test_a_second_question_needs_only_its_own_positions(chat, files, clip_file):
    video = chat.open(clip_file)
    with GgufLanguageModel(files["f16"], threads=1) as model:
        first, shared = chat.prompt_embeds(video, QUESTIONS[0])
        model.read_embeds(first)
        model.rewind(shared)
        second, _ = chat.prompt_embeds(video, QUESTIONS[1])
        continued = model.read_embeds(second[shared:])
        assert model.length == len(second)
        model.rewind()
        whole = model.read_embeds(second)
    assert torch.allclose(torch.tensor(continued), torch.tensor(whole), atol=2e-2)  # f16 cache


def test_a_prompt_longer_than_a_batch_is_read_in_parts(files, monkeypatch):
    from mobile_videogpt.engines import gguf_model

    embeds = torch.randn(50, 128, generator=torch.Generator().manual_seed(0))
    with GgufLanguageModel(files["f16"], threads=1) as model:
        whole = model.read_embeds(embeds)
        monkeypatch.setattr(gguf_model, "_BATCH", 16)
        model.rewind()
        parts = model.read_embeds(embeds)
    assert torch.allclose(torch.tensor(parts), torch.tensor(whole), atol=2e-2)  # f16 cache


def test_token_ids_and_their_embeddings_mean_the_same(chat, files):
    ids = chat.processor.tokenizer("the red circle moves", add_special_tokens=False)["input_ids"]
    table = chat.model.get_input_embeddings()
    with GgufLanguageModel(files["f16"], threads=1) as model:
        read = model.read_tokens(ids)
        model.rewind()
        embedded = model.read_embeds(table(torch.tensor(ids)).detach())
    assert torch.allclose(torch.tensor(read), torch.tensor(embedded), atol=1e-3)


def test_what_cannot_be_read_is_refused_in_words(files, tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        GgufLanguageModel(tmp_path / "none.gguf")
    (tmp_path / "half.gguf").write_bytes(files["f16"].read_bytes()[:5000])
    with pytest.raises(ValueError, match="is it a complete GGUF file"):
        GgufLanguageModel(tmp_path / "half.gguf")
    with GgufLanguageModel(files["f16"], context=64, threads=1) as model:
        with pytest.raises(ValueError, match=r"must be \(length, 128\)"):
            model.read_embeds(torch.zeros(3, 64))
        with pytest.raises(ValueError, match="do not fit a context of 64"):
            model.read_embeds(torch.zeros(65, 128))
        with pytest.raises(ValueError, match="nothing to read"):
            model.read_tokens([])
        with pytest.raises(ValueError, match="but 0 positions were read"):
            model.rewind(1)
