"""The video in PyTorch, the language model in MLX: one question, answered.

mobile-videogpt export moving-shapes language-model --format qwen2
python examples/ask_with_mlx.py language-model examples/shapes-1.mp4 "What happens?"
"""

import sys

import mlx.core as mx
from mlx_lm import load
from mlx_lm.generate import generate_step

import mobile_videogpt as mv


def main(folder: str, video: str, question: str, model: str = "moving-shapes") -> None:
    """Print what MLX says to the visual tokens of `video`."""
    chat = mv.VideoChat(model, engine="torch")  # which hands out embeddings
    embeds, _ = chat.prompt_embeds(video, question)  # (L, E), visual tokens among them
    language_model, _ = load(folder)
    ids = []
    no_text = mx.array([], dtype=mx.int32)  # the text is embedded already
    for token, _ in generate_step(
        no_text, language_model, input_embeddings=mx.array(embeds.numpy()), max_tokens=128
    ):
        if token in chat.end_token_ids:
            break
        ids.append(int(token))
    print(chat.processor.tokenizer.decode(ids, skip_special_tokens=True).strip())


if __name__ == "__main__":
    main(*sys.argv[1:])
