"""Rewriting a checkpoint in our layout or in the released one, LoRA adapters merged."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import save_torch_state_dict

from mobile_videogpt.checkpoints.errors import CheckpointError
from mobile_videogpt.checkpoints.load import build_model, open_checkpoint, tokenizer_folder
from mobile_videogpt.checkpoints.names import to_released
from mobile_videogpt.checkpoints.released import config_to_released
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration

_LM_HEAD = "lm_head.weight"
# Whatever a tokenizer or a reader may need; weights and config.json are written anew.
_COMPANIONS = (
    "*.txt",
    "*.jinja",
    "*.model",
    "token*.json",
    "vocab.json",
    "*special_tokens*.json",
    "added_tokens.json",
    "chat_template.json",
    "README.md",
    "LICENSE*",
)


def convert(
    source: str | Path,
    destination: str | Path,
    to: Literal["ours", "released"] = "ours",
    *,
    base: str | Path | None = None,
    offline: bool = False,
) -> Path:
    """Write a checkpoint in another layout; the values and their precision stay as they are.

    Args:
        source: as in ``load_pretrained``; a LoRA adapter is merged into its base.
        destination: a new or empty folder. It appears when it is complete, or not at all.
        to: ``"ours"`` or ``"released"``.
        base: the model under a LoRA adapter, if not the one that the adapter names.
        offline: never look at the network.

    Returns:
        The folder written.

    Raises:
        CheckpointError: if the source cannot be read or the destination is not empty.
    """
    if to not in ("ours", "released"):
        raise CheckpointError(f"Cannot convert to {to!r}; choose 'ours' or 'released'.")
    destination = Path(destination)
    checkpoint = open_checkpoint(source, base=base, offline=offline)
    with new_folder(destination) as folder:
        model = build_model(checkpoint, dtype=None)
        if to == "ours":
            model.save_pretrained(folder)
        else:
            _save_released(model, folder)
        _copy_companions(tokenizer_folder(checkpoint.folder, base), folder)
    return destination


@contextlib.contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``destination`` if the block succeeds.

    Raises:
        CheckpointError: if ``destination`` is a file or a folder that is not empty.
    """
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise CheckpointError(f"{destination} exists and is not an empty folder; give a new one.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp keeps its folders private, safetensors its files
        for file in partial.iterdir():
            file.chmod(0o755 if file.is_dir() else 0o644)
        if destination.exists():
            destination.rmdir()
        partial.rename(destination)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _save_released(model: MobileVideoGPTForConditionalGeneration, folder: Path) -> None:
    config = model.config
    state = to_released(model.state_dict())
    if config.text_config.tie_word_embeddings:
        del state[_LM_HEAD]
    dtype = model.get_input_embeddings().weight.dtype
    raw = config_to_released(config, str(dtype).removeprefix("torch."))
    text = json.dumps(raw, indent=2, sort_keys=True) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    model.generation_config.save_pretrained(folder)
    with torch.no_grad():
        save_torch_state_dict(state, folder, metadata={"format": "pt"})


def _copy_companions(source: Path, folder: Path) -> None:
    for pattern in _COMPANIONS:
        for file in source.glob(pattern):
            if file.is_file() and not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)
