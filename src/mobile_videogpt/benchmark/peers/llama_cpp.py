"""llama.cpp with the very language model of ours, as 4-bit GGUF (Q4_0): the yardstick of decoding.

It has no video side here: the prompt is as many embeddings as ours has, drawn at random.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mobile_videogpt.benchmark.contestant import NotOfferedError
from mobile_videogpt.benchmark.settings import Settings
from mobile_videogpt.benchmark.stand_in import cache_folder, random_checkpoint

KIND = "q4_0"
# Around the visual tokens, of the question that ours is asked, in Qwen2.5's tokens.
TEXT_TOKENS = 26
EMBEDDING_SCALE = 0.02
_WRITE = """
import sys
from pathlib import Path
from mobile_videogpt.checkpoints.gguf_file import write_gguf
from mobile_videogpt.checkpoints.language_model import open_language_model
write_gguf(open_language_model(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
"""


class LlamaCpp:
    """The language model alone: seconds of the prefill, tokens per second after it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.model: Any = None
        self._prompt: Any = None

    def load(self) -> dict[str, Any]:
        """Write the GGUF file, once per model, and load it.

        Raises:
            NotOfferedError: a package is missing.
        """
        _require_packages()
        import torch

        from mobile_videogpt.checkpoints import load_config
        from mobile_videogpt.engines.gguf_model import GgufLanguageModel

        settings = self.settings
        source = self._source()
        visual_tokens = load_config(source).num_visual_tokens
        length = visual_tokens + TEXT_TOKENS
        path = gguf_file(source)
        self.model = GgufLanguageModel(
            path, context=length + settings.new_tokens, threads=settings.threads
        )
        generator = torch.Generator().manual_seed(0)
        self._prompt = EMBEDDING_SCALE * torch.randn(length, self.model.width, generator=generator)
        return {
            "dtype": KIND,
            "device": "cpu",
            "version": version("llama-cpp-python"),
            "visual_tokens": visual_tokens,
            "prompt_tokens": length,
            "file_bytes": path.stat().st_size,
            "threads": self.model.threads,
            "is_repacked": self.model.is_repacked,
        }

    def warm_up(self) -> None:
        """A short prompt and two tokens: every kernel runs once, and every weight is in memory."""
        self._answer(self._prompt[:64], 2)

    def run(self) -> dict[str, float]:
        """The prompt at its full length, then the answer."""
        return self._answer(self._prompt, self.settings.new_tokens)

    def extras(self) -> dict[str, Any]:
        """Nothing more."""
        return {}

    def _answer(self, prompt: Any, new_tokens: int) -> dict[str, float]:
        self.model.rewind()
        start = time.perf_counter()
        logits = self.model.read_embeds(prompt)
        prefill_s = time.perf_counter() - start
        start = time.perf_counter()
        count = sum(1 for _ in self.model.generate(logits, new_tokens))
        decode_s = time.perf_counter() - start
        return {
            "prefill_s": prefill_s,
            "prefill_tokens": len(prompt),
            # The first token comes out of the prefill.
            "decode_tok_s": (count - 1) / decode_s,
        }

    def _source(self) -> Path:
        from mobile_videogpt.checkpoints.hub import find_checkpoint

        settings = self.settings
        if settings.is_random:
            return random_checkpoint(settings.model, settings.num_frames)
        return find_checkpoint(settings.model)


def gguf_file(source: Path) -> Path:
    """The language model of the checkpoint `source` in GGUF, kept until its files change.

    Written by a process of its own: what that takes is no part of llama.cpp's memory.
    """
    files = sorted(path for path in source.iterdir() if path.is_file())
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    digest = hashlib.sha256(json.dumps([str(source.resolve()), states]).encode()).hexdigest()[:12]
    path = cache_folder() / f"{source.name}-{digest}-{KIND}.gguf"
    if not path.is_file():
        command = (sys.executable, "-c", _WRITE, str(source), str(path), KIND)
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if not path.is_file():  # another process may have been faster
            last = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"{source} could not be written as GGUF: {last}")
    return path


def _require_packages() -> None:
    for module, package in (("gguf", "gguf"), ("llama_cpp", "llama-cpp-python")):
        if importlib.util.find_spec(module) is None:
            raise NotOfferedError(f"the package {package} is not installed; see docs/export.md")
