"""Real clips of a second or two, made once."""

from pathlib import Path

import pytest

from mobile_videogpt.synthetic.dataset import write_clip
from mobile_videogpt.synthetic.world import make_clip


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> list[bytes]:
    """Three different mp4 files."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(3):
        write_clip(make_clip(number), folder / f"{number}.mp4")
    return [(folder / f"{number}.mp4").read_bytes() for number in range(3)]


@pytest.fixture
def entry():
    """Makes a LLaVA entry."""

    def make(video, question="<video>\nWhat?", answer="A shape.", **fields):
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
        return {"id": Path(str(video)).stem, "video": video, "conversations": turns, **fields}

    return make
