"""The ONNX engine beside torch: the same tokens, scores and frames, whoever shares a cache."""

import dataclasses

import numpy as np
import pytest
import torch

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.engines import videomamba
from mobile_videogpt.engines.base import GenerationOptions
from mobile_videogpt.synthetic import make_clip

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mobile_videogpt.engines.onnx import language_loops, language_session
from mobile_videogpt.engines.onnx.export import ExportFormats, export_model
from mobile_videogpt.engines.onnx.key_value_cache import SLACK, KeyValueCache
from mobile_videogpt.engines.onnx.manifest import Manifest
from mobile_videogpt.engines.onnx_engine import OnnxEngine

QUESTIONS = ("What happens?", "How many objects are there?")
GREEDY = GenerationOptions(max_new_tokens=24)


@pytest.fixture(scope="module")
def chat():
    return VideoChat(engine="torch")


def engine_of(chat, folder, **formats):
    folder.mkdir(exist_ok=True)
    export_model(chat.model, chat.processor, folder, "test", formats=ExportFormats(**formats))
    return OnnxEngine(folder, chat.config, chat.end_token_ids, chat.model.generation_config)


@pytest.fixture(scope="module")
def engine(chat, tmp_path_factory):
    return engine_of(chat, tmp_path_factory.mktemp("float32"))


@pytest.fixture(scope="module", params=["graph", "loops"])
def int4_engine(request, chat, tmp_path_factory):
    """Also with the compiled loops, which for so small a model would not be worth it."""
    folder = tmp_path_factory.mktemp("int4")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "loops":
            pytest.importorskip("numba")
            patch.setattr(language_loops, "WORTHWHILE_BYTES", 0)
        engine = engine_of(chat, folder, language_model="int4", encoders="int8")
    assert (engine._language._loops is None) == (request.param == "graph")
    return engine


@pytest.fixture(scope="module")
def videos(chat):
    return [chat.open(np.stack(list(make_clip(seed).frames()))) for seed in range(3)]


def encode(chat, engine, video):
    return engine.encode(*chat.processor.pixels(video.frames), engine.stopwatch())


def prefix_of(chat, engine, video):
    tokens = encode(chat, engine, video)
    return engine.prefill(chat.processor.prefix_ids(), tokens.visual_embeds)


def say(chat, engine, prefix, question, options=GREEDY):
    token_ids = chat.processor.question_ids(question)
    return list(engine.generate(prefix, token_ids, options, engine.stopwatch()))


def test_visual_tokens_and_frames_are_those_of_torch(chat, engine, videos):
    for video in videos:
        tokens = encode(chat, engine, video)
        assert list(tokens.kept_frames) == video.kept_frames
        np.testing.assert_allclose(tokens.frame_scores, video.frame_scores, rtol=1e-4)
        torch.testing.assert_close(tokens.visual_embeds, video.visual_embeds, rtol=1e-3, atol=1e-3)


def test_answers_are_those_of_torch(chat, engine, videos):
    for video in videos:
        prefix = prefix_of(chat, engine, video)
        for question in QUESTIONS:
            torch_prefix = chat._videos.prefix(video, chat.engine.stopwatch())
            assert say(chat, engine, prefix, question) == say(
                chat, chat.engine, torch_prefix, question
            )


def test_scores_are_those_of_torch(chat, engine, videos):
    options = [chat._asking.encode(text) for text in ("left", "the red circle", "yes")]
    token_ids = chat.processor.question_ids("Which way?")
    found = engine.score(prefix_of(chat, engine, videos[0]), token_ids, options)
    watch = chat.engine.stopwatch()
    expected = chat.engine.score(chat._videos.prefix(videos[0], watch), token_ids, options)
    assert [len(row) for row in found] == [len(ids) for ids in options]
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-3)


def test_frames_may_be_encoded_in_any_grouping(chat, engine, videos):
    images, _ = chat.processor.pixels(videos[0].frames)
    watch = engine.stopwatch()
    together = engine.encode_frames(images, watch)
    alone = torch.cat([engine.encode_frames(images[:, [i]], watch) for i in (0, 5)], dim=1)
    torch.testing.assert_close(alone, together[:, [0, 5]], rtol=1e-4, atol=1e-4)


def test_questions_leave_the_prefix_as_it_was(chat, engine, videos):
    prefix = prefix_of(chat, engine, videos[0])
    first = say(chat, engine, prefix, QUESTIONS[0])
    say(chat, engine, prefix, QUESTIONS[1])
    assert say(chat, engine, prefix, QUESTIONS[0]) == first


def test_two_answers_at_once_do_not_disturb_each_other(chat, engine, videos):
    prefix = prefix_of(chat, engine, videos[0])
    alone = [say(chat, engine, prefix, question) for question in QUESTIONS]
    watch = engine.stopwatch()
    streams = [
        engine.generate(prefix, chat.processor.question_ids(question), GREEDY, watch)
        for question in QUESTIONS
    ]
    together = [[], []]
    for _ in range(GREEDY.max_new_tokens):
        for stream, ids in zip(streams, together, strict=True):
            ids.extend(token for token in [next(stream, None)] if token is not None)
    assert together == alone


def test_an_answer_that_is_dropped_frees_the_cache(chat, engine, videos):
    prefix = prefix_of(chat, engine, videos[0])
    token_ids = chat.processor.question_ids(QUESTIONS[0])
    stream = engine.generate(prefix, token_ids, GREEDY, engine.stopwatch())
    next(stream)
    stream.close()
    length = len(prefix.token_ids)
    assert prefix.state.length == length
    with prefix.state.continued(1) as cache:
        assert cache is prefix.state


def test_a_long_answer_grows_the_cache(chat, engine, videos):
    prefix = prefix_of(chat, engine, videos[0])
    room = prefix.state.capacity
    long = dataclasses.replace(GREEDY, max_new_tokens=SLACK + 50)
    assert say(chat, engine, prefix, QUESTIONS[0], long)[:24] == say(
        chat, engine, prefix, QUESTIONS[0]
    )
    assert prefix.state.capacity > room


def test_a_saved_prefix_is_read_back(chat, engine, videos):
    prefix = prefix_of(chat, engine, videos[0])
    tensors = {name: value.clone() for name, value in engine.save_prefix(prefix).items()}
    again = engine.load_prefix(prefix.token_ids, tensors, prefix.gap)
    assert say(chat, engine, again, QUESTIONS[0]) == say(chat, engine, prefix, QUESTIONS[0])


def test_merged_tokens_keep_their_positions(chat, tmp_path):
    export_model(chat.model, chat.processor, tmp_path, "test")
    frames = np.stack(list(make_clip(1).frames()))
    answers = [
        VideoChat(model, engine=engine, merge_tokens=0.5).ask(frames, QUESTIONS[0])
        for model, engine in (("moving-shapes", "torch"), (tmp_path, "onnx"))
    ]
    assert answers[0].text == answers[1].text
    assert answers[1].tokens["visual"] < chat.config.num_visual_tokens


def test_sampling_repeats_with_a_seed(chat, engine, videos):
    prefix = prefix_of(chat, engine, videos[0])
    options = dataclasses.replace(GREEDY, do_sample=True, temperature=2.0, seed=3)
    assert say(chat, engine, prefix, QUESTIONS[0], options) == say(
        chat, engine, prefix, QUESTIONS[0], options
    )


def test_int4_and_int8_stay_close_to_torch(chat, int4_engine, videos):
    """Teacher-forced: what torch says is the likeliest next token here as well, nearly always."""
    same = total = 0
    for video in videos:
        prefix = prefix_of(chat, int4_engine, video)
        torch_prefix = chat._videos.prefix(video, chat.engine.stopwatch())
        for question in QUESTIONS:
            token_ids = chat.processor.question_ids(question)
            answer = say(chat, chat.engine, torch_prefix, question)
            for cut in range(len(answer)):
                options = GenerationOptions(max_new_tokens=1)
                following = int4_engine.generate(
                    prefix, [*token_ids, *answer[:cut]], options, int4_engine.stopwatch()
                )
                same += next(following, None) == answer[cut]
                total += 1
    assert same / total > 0.8
    assert int4_engine.number_formats()["language_model"] == "int4"
    assert int4_engine.number_formats()["prefill"] == "int8"


def test_the_manifest_states_sizes_errors_and_tolerances(int4_engine):
    parts = Manifest.read(int4_engine.folder).parts
    for part in parts.values():
        assert 0 <= part.error <= part.tolerance
        for name, size in part.files.items():
            assert (int4_engine.folder / name).stat().st_size == size
    assert parts["language_model"].error > parts["selection"].error


def test_formats_change_the_fingerprint(engine, int4_engine):
    assert engine.fingerprint != int4_engine.fingerprint


def test_a_cache_in_use_is_copied_not_shared():
    cache = KeyValueCache(2, 1, 4, 8)
    cache.values[:] = 1
    cache.length = 3
    cache.keep()
    with cache.continued(2) as first, cache.continued(2) as second:
        assert first is cache
        assert second is not cache
        second.values[:] = 5
        assert (cache.values == 1).all()
        first.length += 2
    assert cache.length == 3


@pytest.mark.parametrize("encoders", ["float32", "int8"])
def test_compiled_loops_stand_in_for_the_video_encoders_graph(
    chat, videos, tmp_path, monkeypatch, encoders
):
    pytest.importorskip("numba")
    monkeypatch.setattr(videomamba, "WORTHWHILE_STATES", 1)
    engine = engine_of(chat, tmp_path / "export", encoders=encoders)
    part = engine.manifest.parts["video_encoder"]
    assert "video_encoder.safetensors" in part.files and part.error < part.tolerance
    ran = []
    monkeypatch.setattr(
        engine, "_run", lambda part, *a, **k: ran.append(part) or run(part, *a, **k)
    )
    run = type(engine)._run.__get__(engine)
    tokens = encode(chat, engine, videos[0])
    assert "image_encoder" in ran and "video_encoder" not in ran
    expected = videos[0].visual_embeds
    error = (tokens.visual_embeds - expected).norm() / expected.norm()
    assert error < (1e-3 if encoders == "float32" else 0.05)
    half = "bfloat16" if videomamba.multiplies_bfloat16() else "float32"
    wanted = "float32" if encoders == "float32" else half
    assert engine.number_formats()["video_encoder"] == wanted


def test_work_in_pieces_gives_what_it_gives_at_once(chat, engine, videos, monkeypatch):
    ids = chat.processor.question_ids("Does the red circle move to the left? " * 9)
    options = [[5, 6, 7], [8, 9]]

    def everything():
        prefix = prefix_of(chat, engine, videos[1])
        said = list(engine.generate(prefix, ids, GREEDY, engine.stopwatch()))
        return said, np.concatenate(engine.score(prefix, ids, options))

    said, scores = everything()
    pauses = []
    monkeypatch.setattr(language_session, "TOKENS_AT_ONCE", 16)
    monkeypatch.setattr(engine, "pause", lambda: pauses.append(1))
    in_pieces = everything()
    assert in_pieces[0] == said and len(pauses) > 20
    np.testing.assert_allclose(in_pieces[1], scores, atol=1e-3)


def test_the_torch_engine_runs_the_same_loops(chat, videos, monkeypatch):
    pytest.importorskip("numba")
    before = encode(chat, chat.engine, videos[0]).visual_embeds
    calls = []
    run = videomamba.VideoMambaRunner.__call__
    monkeypatch.setattr(
        videomamba.VideoMambaRunner, "__call__", lambda *a: calls.append(1) or run(*a)
    )
    monkeypatch.setattr(videomamba, "WORTHWHILE_STATES", 1)
    after = encode(chat, chat.engine, videos[0]).visual_embeds
    assert calls
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
