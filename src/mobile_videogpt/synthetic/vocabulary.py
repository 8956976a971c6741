"""The built-in model's word-level tokenizer: every word that MovingShapes uses, and few more.

The chat format is ChatML as in Qwen2.5, with the same special tokens under other ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>", "\n", "<|video_pad|>")
LETTER_TOKENS = ("A.", "B.", "C.", "D.", "E.")
WORDS = tuple(
    """
    , . ? ! a after again an and any anything appear appears are as assistant at away be become
    becomes before blue bottom bounce bounces bouncing by can change changes circle circles circling
    clip color counterclockwise cross cyan describe did direction do does down during each enter
    enters first for four from give goes green grow grows happen happens has have helpful hit hits
    how i if in into is it its large last leave leaves left list made many move moves moving name
    next no none not nothing object objects of often on one only or orange order other over purple
    push pushed pushes red right scene see seen shape shapes show shown shows shrink shrinks side
    small so square star start starts stay stays still stop stops system tell than that the them
    then there these they thing this three time times to top touch touched touches towards triangle
    turn turns two up user vanish vanishes video visible was were what when where which while white
    who will with without would yellow yes you zero
    """.split()
)
STILL_TOKEN = "<|image_pad|>"  # last, so that checkpoints from before it keep their ids
_SPELLINGS = {"colour": "color", "colours": "color", "colors": "color", "biggest": "large"}
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the `moving-shapes` preset; ids are fixed by the order of the tables above.

    >>> build_tokenizer().decode(build_tokenizer()("Is it red?").input_ids)
    'is it red?'
    """
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
    )
    from transformers import PreTrainedTokenizerFast

    order = (*SPECIAL_TOKENS, *LETTER_TOKENS, *WORDS, STILL_TOKEN)
    vocabulary = {token: index for index, token in enumerate(order)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    replacements = [normalizers.Replace(Regex(rf"\b{a}\b"), b) for a, b in _SPELLINGS.items()]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *replacements])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|\w+|[^\w\s]"), "removed", invert=True)
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    # Letters are matched before lower-casing; lstrip swallows the newline in front of an option.
    tokenizer.add_tokens(
        [AddedToken(t, lstrip=True, single_word=False, normalized=False) for t in LETTER_TOKENS]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        additional_special_tokens=["<|im_start|>", "<|video_pad|>", STILL_TOKEN],
        chat_template=_CHAT_TEMPLATE,
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )
