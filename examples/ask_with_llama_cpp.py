"""The video in PyTorch, the language model in llama.cpp: one question, answered.

mobile-videogpt export moving-shapes model.gguf --format gguf --type q8_0
python examples/ask_with_llama_cpp.py model.gguf examples/shapes-1.mp4 "What happens?"
"""

import sys

import mobile_videogpt as mv
from mobile_videogpt.engines.gguf_model import GgufLanguageModel


def main(gguf: str, video: str, question: str, model: str = "moving-shapes") -> None:
    """Print what llama.cpp says to the visual tokens of `video`."""
    chat = mv.VideoChat(model, engine="torch")  # which hands out embeddings
    embeds, _ = chat.prompt_embeds(video, question)  # (L, E), visual tokens among them
    with GgufLanguageModel(gguf) as language_model:
        logits = language_model.read_embeds(embeds)
        ids = list(language_model.generate(logits, 128, chat.end_token_ids))
    print(chat.processor.tokenizer.decode(ids, skip_special_tokens=True).strip())


if __name__ == "__main__":
    main(*sys.argv[1:])
