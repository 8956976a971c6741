"""The official `openai` client works unchanged, and gets what the model says without a server."""

import asyncio
import io

import openai
import pytest
from running_server import NAME, ask_about, data_url

QUESTIONS = ["What happens?", "How many objects are there?", "What color is the object?"]


@pytest.fixture(scope="module")
def client(shared_server):
    with openai.OpenAI(base_url=f"{shared_server.url}/v1", api_key="none", max_retries=0) as it:
        yield it


def alone(chat, data, question, **options):
    return chat.ask(io.BytesIO(data), question, **options)


def test_a_plain_answer_is_the_models(client, miniature, clip_bytes):
    expected = alone(miniature, clip_bytes(1), QUESTIONS[0])
    answer = client.chat.completions.create(
        model=NAME, messages=ask_about(clip_bytes(1), QUESTIONS[0])
    )
    assert answer.choices[0].message.content == expected.text
    assert answer.choices[0].finish_reason == expected.finish_reason
    assert answer.usage.prompt_tokens == expected.tokens["prompt"]
    assert answer.usage.completion_tokens == expected.tokens["generated"]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    (video,) = answer.mobile_videogpt["videos"]
    assert len(video["frame_times"]) == 16 and len(video["kept_frames"]) == 8


def test_a_stream_gives_the_same_piece_by_piece(client, miniature, clip_bytes):
    expected = alone(miniature, clip_bytes(2), QUESTIONS[0])
    chunks = list(
        client.chat.completions.create(
            model=NAME,
            messages=ask_about(clip_bytes(2), QUESTIONS[0]),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [
        c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content
    ]
    assert "".join(pieces) == expected.text
    assert len(pieces) > 2
    assert chunks[0].choices[0].delta.role == "assistant"
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons[-1] == expected.finish_reason and not any(reasons[:-1])
    assert chunks[-1].usage.completion_tokens == expected.tokens["generated"]


def test_follow_up_questions_read_the_video_no_more(client, miniature, clip_bytes):
    data = clip_bytes(31)  # nobody else asks about it
    conversation = miniature.conversation(miniature.open(io.BytesIO(data)))
    messages = ask_about(data, QUESTIONS[0])
    for number, question in enumerate(QUESTIONS):
        if number:
            messages.append({"role": "user", "content": question})
        answer = client.chat.completions.create(model=NAME, messages=messages)
        said = answer.choices[0].message.content
        assert said == conversation.ask(question).text
        assert answer.mobile_videogpt["videos"][0]["reused"] == bool(number)
        if number:
            assert answer.usage.prompt_tokens_details.cached_tokens > 100
        messages.append({"role": "assistant", "content": said})


def test_async_clients_are_answered_at_once(shared_server, miniature, clip_bytes):
    cases = [(seed, question) for seed in (1, 2, 4) for question in QUESTIONS]

    async def ask_all():
        async with openai.AsyncOpenAI(
            base_url=f"{shared_server.url}/v1", api_key="none", max_retries=0
        ) as client:
            return await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model=NAME, messages=ask_about(clip_bytes(seed), question)
                    )
                    for seed, question in cases
                )
            )

    answers = asyncio.run(ask_all())
    for (seed, question), answer in zip(cases, answers, strict=True):
        assert (
            answer.choices[0].message.content == alone(miniature, clip_bytes(seed), question).text
        )


def test_an_uploaded_video_is_named_by_its_id(client, miniature, clip_bytes):
    data = clip_bytes(5)
    upload = client.files.create(file=("clip.mp4", data), purpose="vision")
    assert upload.bytes == len(data) and upload.filename == "clip.mp4"
    assert upload.id in [file.id for file in client.files.list()]
    expected = alone(miniature, data, QUESTIONS[0]).text
    for part in (
        {"type": "video_url", "video_url": {"url": upload.id}},
        {"type": "file", "file": {"file_id": upload.id}},
    ):
        content = [part, {"type": "text", "text": QUESTIONS[0]}]
        answer = client.chat.completions.create(
            model=NAME, messages=[{"role": "user", "content": content}]
        )
        assert answer.choices[0].message.content == expected
    assert client.files.delete(upload.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(upload.id)


def test_pictures_are_the_frames_of_one_video(client, miniature):
    from PIL import Image

    from mobile_videogpt.synthetic import make_clip

    frames = make_clip(6).frames()
    content = []
    for frame in frames:
        picture = io.BytesIO()
        Image.fromarray(frame).save(picture, "PNG")
        url = {"url": data_url(picture.getvalue(), "image/png")}
        content.append({"type": "image_url", "image_url": url})
    content.append({"type": "text", "text": QUESTIONS[0]})
    answer = client.chat.completions.create(
        model=NAME, messages=[{"role": "user", "content": content}]
    )
    assert answer.choices[0].message.content == miniature.ask(frames, QUESTIONS[0]).text
    assert len(answer.mobile_videogpt["videos"]) == 1


def test_a_part_of_a_video_is_looked_at(client, miniature, clip_bytes):
    data = clip_bytes(7)
    video = miniature.open(io.BytesIO(data), start=1.0, end=3.0)
    part = {"start": 1.0, "end": 3.0}
    for messages, extra in (
        (ask_about(data, QUESTIONS[0], **part), {}),
        (ask_about(data, QUESTIONS[0]), part),
    ):
        answer = client.chat.completions.create(model=NAME, messages=messages, extra_body=extra)
        (seen,) = answer.mobile_videogpt["videos"]
        assert seen["frame_times"] == pytest.approx(video.frame_times)
        assert answer.choices[0].message.content == miniature.ask(video, QUESTIONS[0]).text


def test_fewer_frames_and_another_rate(client, clip_bytes):
    messages = ask_about(clip_bytes(7), QUESTIONS[0], num_frames=4)
    answer = client.chat.completions.create(model=NAME, messages=messages)
    times = answer.mobile_videogpt["videos"][0]["frame_times"]
    assert len(times) == 16 and len(set(times)) == 4
    messages = ask_about(clip_bytes(7), QUESTIONS[0], fps=8)
    answer = client.chat.completions.create(model=NAME, messages=messages)
    assert len(set(answer.mobile_videogpt["videos"][0]["frame_times"])) == 16


def test_several_answers_draw_by_seeds_of_their_own(client, miniature, clip_bytes):
    video = miniature.open(io.BytesIO(clip_bytes(8)))
    answer = client.chat.completions.create(
        model=NAME,
        messages=ask_about(clip_bytes(8), QUESTIONS[0]),
        temperature=1.5,
        seed=11,
        n=3,
    )
    expected = [
        miniature.ask(video, QUESTIONS[0], do_sample=True, temperature=1.5, seed=seed).text
        for seed in (11, 12, 13)
    ]
    assert [choice.message.content for choice in answer.choices] == expected
    assert len(set(expected)) > 1


def test_stop_strings_and_the_longest_answer(client, miniature, clip_bytes):
    whole = alone(miniature, clip_bytes(1), QUESTIONS[0]).text
    stop = whole.split()[2]
    messages = ask_about(clip_bytes(1), QUESTIONS[0])
    answer = client.chat.completions.create(model=NAME, messages=messages, stop=[stop])
    assert answer.choices[0].message.content == whole[: whole.index(stop)]
    assert answer.choices[0].finish_reason == "stop"
    answer = client.chat.completions.create(model=NAME, messages=messages, max_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 2


def test_a_system_message_and_text_alone(client):
    answer = client.chat.completions.create(
        model=NAME,
        messages=[
            {"role": "system", "content": "you are a system"},
            {"role": "user", "content": "what is a circle?"},
        ],
    )
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.prompt_tokens < 40


def test_two_videos_in_one_dialogue(client, miniature, clip_bytes):
    messages = ask_about(clip_bytes(1), QUESTIONS[0])
    first = client.chat.completions.create(model=NAME, messages=messages)
    messages.append({"role": "assistant", "content": first.choices[0].message.content})
    messages += ask_about(clip_bytes(2), QUESTIONS[0])
    answer = client.chat.completions.create(model=NAME, messages=messages)
    assert len(answer.mobile_videogpt["videos"]) == 2
    ids = miniature.processor(
        messages=[
            {
                "role": "user",
                "content": [{"type": "video"}, {"type": "text", "text": QUESTIONS[0]}],
            },
            {"role": "assistant", "content": first.choices[0].message.content},
            {
                "role": "user",
                "content": [{"type": "video"}, {"type": "text", "text": QUESTIONS[0]}],
            },
        ],
        videos=[io.BytesIO(clip_bytes(1)), io.BytesIO(clip_bytes(2))],
    )["input_ids"]
    assert answer.usage.prompt_tokens == ids.shape[1]


def test_the_model_is_listed(client):
    assert [model.id for model in client.models.list()] == [NAME]
    model = client.models.retrieve(NAME)
    assert model.id == NAME
    facts = {"engine": "torch", "dtype": "float32", "device": "cpu", "num_frames": 16}
    assert facts.items() <= model.mobile_videogpt.items()
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")
