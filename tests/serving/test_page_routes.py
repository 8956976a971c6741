"""What the page is made of and how it is sent; needs no browser."""

import base64
import io
import re
from importlib import resources

import httpx
import pytest
from PIL import Image
from running_server import running, twin

from mobile_videogpt.serving.page.examples import EXAMPLES

STATIC = resources.files("mobile_videogpt.serving.page") / "static"
SOURCES = {item.name: item.read_text("utf-8") for item in STATIC.iterdir()}


@pytest.fixture(scope="module")
def http(shared_server):
    with httpx.Client(base_url=shared_server.url, timeout=60) as client:
        yield client


@pytest.fixture
def upload(http, clip_bytes):
    """The id of clip 3, sent anew."""
    return http.post("/v1/files", files={"file": ("3.mp4", clip_bytes(3))}).json()["id"]


@pytest.mark.parametrize("path", ["/", "/docs", "/favicon.ico", "/page/main.js", "/page/base.css"])
def test_pages_allow_their_own_files_only(http, path):
    reply = http.get(path)
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    again = http.get(path, headers={"If-None-Match": reply.headers["etag"]})
    assert again.status_code == 304 and not again.content
    assert http.head(path).status_code == (405 if path.startswith("/page") else 200)


def test_sources_name_no_other_host_and_only_files_that_are_there(http):
    for name, text in SOURCES.items():
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name
        for wanted in re.findall(r"(?:src|href)=\"(/page/[^\"]+)\"", text):
            assert http.get(wanted).status_code == 200, f"{name} names {wanted}"
        for wanted in re.findall(r"from \"\./([^\"]+)\"", text):
            assert wanted in SOURCES, f"{name} imports {wanted}"


def test_scripts_find_their_elements_and_icons():
    ids = set(re.findall(r"\bid=\"([^\"]+)\"", SOURCES["index.html"]))
    for name, text in SOURCES.items():
        if name.endswith(".js") and name != "docs.js":
            missing = set(re.findall(r"byId\(\"([^\"]+)\"\)", text)) - ids
            assert not missing, name
            assert {f"i-{icon}" for icon in re.findall(r"icon\(\"(\w+)\"\)", text)} <= ids, name


@pytest.mark.parametrize("path", ["/page/../app.py", "/page/%2e%2e/routes.py", "/page/x.js"])
def test_nothing_else_is_served(http, path):
    assert http.get(path).status_code == 404


def test_examples_are_films_that_the_model_never_saw(http, miniature):
    listed = http.get("/page/examples").json()["examples"]
    assert len(listed) == len(EXAMPLES) == 6
    for example in listed:
        assert example["truth"].endswith(".") and len(example["questions"]) >= 3
    film = http.get(listed[0]["url"])
    assert film.headers["content-type"] == "video/mp4"
    assert miniature.open(io.BytesIO(film.content)).duration_s == 4.0
    assert http.get("/page/examples/other.mp4").status_code == 404


def test_models_tell_how_they_run(http, miniature):
    (model,) = http.get("/v1/models").json()["data"]
    told = {"engine": "torch", "dtype": miniature.dtype, "device": "cpu", "num_frames": 16}
    assert told.items() <= model["mobile_videogpt"].items()


def test_frames_of_an_upload_are_what_the_model_sees(http, upload, miniature, clip_bytes):
    seen = http.get(f"/v1/files/{upload}/frames").json()
    video = miniature.open(io.BytesIO(clip_bytes(3)))
    assert seen["frame_times"] == video.frame_times
    assert seen["frame_scores"] == pytest.approx(video.frame_scores, rel=1e-3)
    assert seen["kept_frames"] == video.kept_frames
    assert seen["visual_tokens"] == video.num_visual_tokens
    assert len(seen["frames"]) == 16
    head, data = seen["frames"][0].split(",")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == "data:image/jpeg;base64" and max(picture.size) <= 160
    assert http.get(f"/v1/files/{upload}/frames").json()["reused"]


def test_a_question_after_the_frames_reads_no_video(http, upload):
    http.get(f"/v1/files/{upload}/frames", params={"num_frames": 7})
    video = {"type": "video_url", "video_url": {"url": upload, "num_frames": 7}}
    content = [video, {"type": "text", "text": "What happens?"}]
    reply = http.post(
        "/v1/chat/completions", json={"messages": [{"role": "user", "content": content}]}
    ).json()
    assert reply["mobile_videogpt"]["videos"][0]["reused"]
    assert reply["usage"]["prompt_tokens_details"]["cached_tokens"] > 100


def test_parts_of_an_upload(http, upload):
    params = {"num_frames": 4, "start": 1, "end": 3}
    times = http.get(f"/v1/files/{upload}/frames", params=params).json()["frame_times"]
    assert min(times) >= 1 and max(times) <= 3 and len(set(times)) == 4


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"num_frames": 0}, "num_frames"),
        ({"num_frames": 17}, "num_frames"),
        ({"num_frames": "many"}, "num_frames"),
        ({"fps": "inf"}, "fps"),
        ({"start": -1}, "start"),
        ({"start": "nan"}, "start"),
        ({"start": 100}, None),
    ],
)
def test_frames_that_cannot_be_are_refused(http, upload, params, field):
    reply = http.get(f"/v1/files/{upload}/frames", params=params)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["message"] and (field is None or error["param"] == field)


def test_frames_of_what_is_no_video_or_not_there(http):
    sent = http.post("/v1/files", files={"file": ("x.mp4", b"no video")}).json()["id"]
    reply = http.get(f"/v1/files/{sent}/frames")
    assert reply.status_code == 400 and reply.json()["error"]["code"] == "invalid_video"
    assert http.get("/v1/files/file-none/frames").status_code == 404


def test_a_key_opens_frames_and_the_page_needs_none(miniature, clip_bytes):
    with running(twin(miniature), api_keys=frozenset({"right"})) as server:
        for path in ("/", "/docs", "/page/api.js", "/page/examples"):
            assert httpx.get(f"{server.url}{path}").status_code == 200
        for path in ("/v1/files/file-1/frames", "/openapi.json", "/v1/models"):
            assert httpx.get(f"{server.url}{path}").status_code == 401
        key = {"Authorization": "Bearer right"}
        assert httpx.get(f"{server.url}/v1/files/file-1/frames", headers=key).status_code == 404


def test_looks_count_as_work(miniature, clip_bytes):
    with running(twin(miniature), requests_per_minute=3) as server:
        sent = httpx.post(f"{server.url}/v1/files", files={"file": ("3.mp4", clip_bytes(3))})
        url = f"{server.url}/v1/files/{sent.json()['id']}/frames"
        statuses = [httpx.get(url, timeout=60).status_code for _ in range(4)]
        assert statuses[:2] == [200, 200] and 429 in statuses
        assert httpx.get(f"{server.url}/").status_code == 200
