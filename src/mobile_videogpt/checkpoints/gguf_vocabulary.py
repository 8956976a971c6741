"""The tokenizer's part of a GGUF file.

llama.cpp has tokenizers of its own: Qwen2.5's byte-level BPE is one of them and is written whole.
Another tokenizer (the built-in model splits at words) has none there; its file says so, and a
caller hands over token ids and embeddings, as it does for the visual tokens anyway.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mobile_videogpt.checkpoints.language_model import LanguageModel
from mobile_videogpt.processor.prompt import end_token_ids

if TYPE_CHECKING:
    from gguf import GGUFWriter

# How Qwen2 cuts text before its merges apply; llama.cpp knows the pattern by this name.
_QWEN2 = "qwen2"
_QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def add_vocabulary(writer: GGUFWriter, model: LanguageModel) -> None:
    """Add the tokenizer, or that there is none, and the tokens that end an answer."""
    tokenizer = json.loads(model.tokenizer.backend_tokenizer.to_str())
    if is_known_to_llama_cpp(tokenizer):
        _add_bpe(writer, model, tokenizer)
        ends = end_token_ids(model.tokenizer, model.generation_config)
        writer.add_eos_token_id(ends[0])
        if model.tokenizer.pad_token_id is not None:
            writer.add_pad_token_id(model.tokenizer.pad_token_id)
            # Qwen2.5 begins with nothing; llama.cpp wants a name for it all the same.
            writer.add_bos_token_id(model.tokenizer.pad_token_id)
        writer.add_add_bos_token(False)
        writer.add_chat_template(model.chat_template)
    else:
        writer.add_tokenizer_model("no_vocab")
        writer.add_vocab_size(model.config.vocab_size)


def is_known_to_llama_cpp(tokenizer: dict[str, Any]) -> bool:
    """Whether a parsed tokenizer.json is Qwen2's kind: byte-level BPE with its way of cutting."""
    if tokenizer["model"].get("type") != "BPE":
        return False
    return json.dumps(_QWEN2_PATTERN) in json.dumps(tokenizer.get("pre_tokenizer"))


def _add_bpe(writer: GGUFWriter, model: LanguageModel, tokenizer: dict[str, Any]) -> None:
    from gguf import TokenType

    size = model.config.vocab_size
    # The embedding has rows that no token uses.
    tokens = [f"[PAD{index}]" for index in range(size)]
    types = [TokenType.UNUSED] * size
    for token, index in tokenizer["model"]["vocab"].items():
        tokens[index], types[index] = token, TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        kind = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], kind
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_QWEN2)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(list(_merges(tokenizer["model"]["merges"])))


def _merges(merges: list[Any]) -> Iterator[str]:
    """Both spellings of a merge in tokenizer.json, as one string."""
    for merge in merges:
        yield merge if isinstance(merge, str) else " ".join(merge)
