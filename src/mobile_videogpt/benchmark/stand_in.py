"""A checkpoint with random weights on disk, and a tokenizer that stands in for Qwen2.5's.

Speed depends on sizes, not on values, so a benchmark needs no download. From a folder every engine
loads it the way it loads a released checkpoint. The stand-in has Qwen2.5's special tokens at their
ids and knows the words of the prompts that are measured here, one token each, as Qwen2.5 does;
anything else it spells out in bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from mobile_videogpt import __version__
from mobile_videogpt.benchmark.settings import FOLLOW_UP, QUESTION
from mobile_videogpt.files import user_cache

SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>"),
    *("<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
FIRST_SPECIAL_ID = 151643
VOCABULARY_SIZE = 151936  # rows of the embedding: every id a random model may say has a token
_TEXTS = ("system", "user", "assistant", "You are a helpful assistant.", QUESTION, FOLLOW_UP)


def cache_folder() -> Path:
    """Where made clips and checkpoints are kept between two commands: the user's cache."""
    return user_cache("bench", "MOBILE_VIDEOGPT_BENCH_CACHE")


def random_checkpoint(preset: str, num_frames: int | None = None, seed: int = 0) -> Path:
    """A folder with a model of random weights, made once and kept in `cache_folder`.

    Stored in bfloat16 to halve the file; loading converts it, as it does released float16 files.

    Raises:
        ValueError: unknown preset, or a number of frames it cannot have.
    """
    config = preset_config(preset, num_frames)
    digest = hashlib.sha256(
        json.dumps([__version__, seed, config.to_dict()], sort_keys=True, default=str).encode()
    ).hexdigest()[:12]
    folder = cache_folder() / f"{preset}-random-{digest}"
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "made"
            _write_checkpoint(config, preset, seed, made)
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed, if anything
            try:
                made.rename(folder)
            except OSError:  # another process was faster
                if not (folder / "config.json").is_file():
                    raise
    return folder


def preset_config(preset: str, num_frames: int | None = None) -> Any:
    """The configuration of a preset, made to look at another number of frames if asked for.

    The video encoder gets temporal positions for all key frames: with random weights the cost is
    what matters, and it scans them in one pass, as it does the released eight.
    """
    from mobile_videogpt.config import MobileVideoGPTConfig

    config = MobileVideoGPTConfig.preset(preset)
    if num_frames is None or num_frames == config.num_frames:
        return config
    if num_frames < 1 or num_frames % config.frames_per_chunk:
        raise ValueError(
            f"--num-frames is {num_frames}, but frames come in chunks of "
            f"{config.frames_per_chunk}; give a multiple of that"
        )
    kept = num_frames // config.frames_per_chunk * config.frames_kept_per_chunk
    video_config = {**config.video_config.to_dict(), "num_frames": kept}
    text_config = config.text_config.to_dict()
    num_tokens = num_frames * config.image_token_grid**2 + kept * config.video_token_grid**2
    room = max(text_config["max_position_embeddings"], 2 * num_tokens)
    text_config["max_position_embeddings"] = room
    return MobileVideoGPTConfig.preset(
        preset, num_frames=num_frames, video_config=video_config, text_config=text_config
    )


def _write_checkpoint(config: Any, preset: str, seed: int, folder: Path) -> None:
    import torch

    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration

    torch.manual_seed(seed)
    model = MobileVideoGPTForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    if preset == "moving-shapes":
        from mobile_videogpt.synthetic.vocabulary import build_tokenizer

        build_tokenizer().save_pretrained(folder)
    else:
        write_stand_in_tokenizer(folder)


def write_stand_in_tokenizer(folder: Path) -> None:
    """Write the files of a Qwen2 tokenizer with `VOCABULARY_SIZE` tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = _merges(_words())
    vocabulary = {letter: index for index, letter in enumerate(byte_letters())}
    for pair in merges:
        vocabulary.setdefault("".join(pair), len(vocabulary))
    # What fills the rest is never read from text, but a random model may say it.
    for index in range(len(vocabulary), FIRST_SPECIAL_ID):
        vocabulary[f"token{index}"] = index
    extra = range(VOCABULARY_SIZE - FIRST_SPECIAL_ID - len(SPECIAL_TOKENS))
    added = (*SPECIAL_TOKENS, *(f"<|extra_{i}|>" for i in extra))
    write_tokenizer_files(folder, vocabulary, [f"{a} {b}" for a, b in merges], added)


def write_tokenizer_files(
    folder: Path, vocabulary: dict[str, int], merges: Sequence[str], added: Sequence[str]
) -> None:
    """Write a byte-level BPE as a Qwen2 tokenizer, `added` tokens from `FIRST_SPECIAL_ID` on."""
    from transformers import Qwen2Tokenizer

    common = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    config = {
        "added_tokens_decoder": {
            str(FIRST_SPECIAL_ID + i): {"content": t, "special": t in SPECIAL_TOKENS, **common}
            for i, t in enumerate(added)
        },
        "additional_special_tokens": list(SPECIAL_TOKENS[1:]),
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "model_max_length": 131072,
        "tokenizer_class": "Qwen2Tokenizer",
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    Qwen2Tokenizer.from_pretrained(folder).save_pretrained(folder)


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Merges of byte-level BPE that make each word one token; later ones never undo earlier ones.

    >>> _merges(["he", "the"])
    [('h', 'e'), ('t', 'he')]
    """
    ranks: dict[tuple[str, str], int] = {}
    for word in words:
        pieces = list(word)
        while len(pieces) > 1:
            pairs = list(pairwise(pieces))
            pair = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
            ranks.setdefault(pair, len(ranks))
            at = pairs.index(pair)
            pieces[at : at + 2] = ["".join(pair)]
    return list(ranks)


def _words() -> list[str]:
    """The prompts' words as byte-level BPE sees them: a blank in front is the letter "Ġ"."""
    words = []
    for text in _TEXTS:
        pieces = text.replace(".", " .").replace("?", " ?").split()
        words += [p if i == 0 or p in ".?" else f"Ġ{p}" for i, p in enumerate(pieces)]
    return list(dict.fromkeys(words))


def byte_letters() -> list[str]:
    """GPT-2's letters for the 256 bytes: themselves where printable, others from 256 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
