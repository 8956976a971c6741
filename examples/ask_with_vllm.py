"""The video here, the language model in a vLLM server: one question, answered.

mobile-videogpt export moving-shapes language-model --format qwen2
vllm serve language-model --enable-prompt-embeds
python examples/ask_with_vllm.py language-model examples/shapes-1.mp4 "What happens?"
"""

import base64
import io
import json
import sys
import urllib.request

import torch

import mobile_videogpt as mv


def main(
    served: str,
    video: str,
    question: str,
    model: str = "moving-shapes",
    server: str = "http://127.0.0.1:8000",
) -> None:
    """Print what the server says to the visual tokens of `video`."""
    chat = mv.VideoChat(model, engine="torch")  # which hands out embeddings
    embeds, _ = chat.prompt_embeds(video, question)  # (L, E), visual tokens among them
    file = io.BytesIO()
    torch.save(embeds, file)
    request = {
        "model": served,
        "prompt_embeds": base64.b64encode(file.getvalue()).decode(),
        "max_tokens": 128,
        "temperature": 0,
        "stop_token_ids": list(chat.end_token_ids),
        "return_token_ids": True,
    }
    body = json.dumps(request).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{server}/v1/completions", body, headers)
    ) as response:
        ids = json.load(response)["choices"][0]["token_ids"]
    # Decoded here: the server takes every Qwen2 folder's tokenizer for Qwen2.5's.
    print(chat.processor.tokenizer.decode(ids, skip_special_tokens=True).strip())


if __name__ == "__main__":
    main(*sys.argv[1:])
