"""`serve`: what is wrong with its arguments is told before a model is loaded."""

import argparse

import pytest

from mobile_videogpt.cli import serve
from mobile_videogpt.cli.main import build_parser, main


def settings(*arguments):
    return serve.server_settings(build_parser().parse_args(["serve", *arguments]))


def test_the_defaults_are_those_of_the_settings(monkeypatch):
    from mobile_videogpt.serving.settings import ServerSettings

    monkeypatch.delenv(serve.KEYS_VARIABLE, raising=False)
    assert settings() == ServerSettings()


def test_every_argument_reaches_the_settings(monkeypatch, tmp_path):
    monkeypatch.setenv(serve.KEYS_VARIABLE, " a , b ")
    made = settings(
        *("--host", "0.0.0.0", "--port", "0", "--allow-fetch", "--requests-per-minute", "0"),
        *("--max-requests", "5", "--max-answers", "3", "--videos", "2", "--decoders", "4"),
        *("--request-timeout", "7", "--shutdown-timeout", "8", "--max-body-mb", "1.5"),
        *("--max-upload-gb", "2", "--max-video-seconds", "9", "--max-frame-pixels", "1000"),
        *("--max-frames", "77", "--decode-seconds", "6", "--decode-memory-mb", "500"),
    )
    assert made.api_keys == {"a", "b"} and made.host == "0.0.0.0" and made.allow_fetch
    assert (made.max_requests, made.max_answers, made.max_videos, made.decoders) == (5, 3, 2, 4)
    assert (made.request_timeout_s, made.shutdown_s, made.requests_per_minute) == (7.0, 8.0, 0)
    assert (made.max_body_bytes, made.max_upload_bytes) == (1_500_000, 2_000_000_000)
    limits = made.limits
    assert (limits.duration_s, limits.pixels, limits.frames) == (9.0, 1000, 77)
    assert (limits.time_s, limits.memory_bytes) == (6.0, 500_000_000)


def test_keys_come_from_a_file(tmp_path):
    file = tmp_path / "keys"
    file.write_text("one\n\n two \n", encoding="utf-8")
    assert serve.read_keys(file) == {"one", "two"}
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no key"):
        serve.read_keys(file)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--host", "0.0.0.0"], "no API keys"),
        (["--api-key-file", "missing"], "no such file"),
    ],
)
def test_what_is_not_safe_is_refused_in_one_line(monkeypatch, capsys, arguments, reason):
    monkeypatch.delenv(serve.KEYS_VARIABLE, raising=False)
    assert main(["serve", *arguments]) == 1
    said = capsys.readouterr().err
    assert reason in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("text", ["-1", "65536", "http", "1.5", ""])
def test_a_port_that_is_none(text):
    with pytest.raises(argparse.ArgumentTypeError):
        serve.port(text)


def test_a_port_that_is_taken_is_told(monkeypatch, capsys):
    import socket

    pytest.importorskip("uvicorn")
    from mobile_videogpt.serving.run import listen
    from mobile_videogpt.serving.settings import ServerSettings

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ValueError, match="cannot be used"):
            listen(ServerSettings(port=other.getsockname()[1]))
