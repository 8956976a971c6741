"""The language model by itself: an unmodified Qwen2, taken out of a checkpoint of any layout.

Whatever runs a Qwen2 (llama.cpp, MLX, vLLM, transformers) runs this one: the visual tokens are
embeddings among its input embeddings, and need nothing of it. Nothing is read before it is written.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM
from transformers.initialization import no_init_weights

from mobile_videogpt.checkpoints.convert import new_folder
from mobile_videogpt.checkpoints.files import LazyTensor
from mobile_videogpt.checkpoints.load import (
    empty_model,
    fitting_tensors,
    load_tokenizer,
    open_checkpoint,
    put_tensor,
    tokenizer_folder,
)
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.processor import MobileVideoGPTProcessor
from mobile_videogpt.processor.prompt import end_token_ids

_PREFIX = "language_model."
_LM_HEAD = "lm_head.weight"
_TOKENIZER = ("*.txt", "*.model", "token*.json", "vocab.json", "*special_tokens*.json")
_COMPANIONS = (*_TOKENIZER, "added_tokens.json", "LICENSE*")


@dataclass(frozen=True)
class LanguageModel:
    """A language model that is known by names and shapes; its tensors are read one by one."""

    config: Qwen2Config
    tensors: Mapping[str, LazyTensor]
    """Under transformers' names; without ``lm_head`` where it is the embedding."""
    tokenizer: PreTrainedTokenizerBase
    chat_template: str
    """Renders the prompt that the model was trained on."""
    generation_config: GenerationConfig
    name: str
    """What it was taken from, for its description."""
    tokenizer_files: Path | None = None
    """The folder that the tokenizer was read from."""

    @property
    def num_parameters(self) -> int:
        """Numbers that are stored; an embedding that is the head as well counts once."""
        return sum(torch.Size(tensor.shape).numel() for tensor in self.tensors.values())


def open_language_model(
    source: str | Path, *, base: str | Path | None = None, offline: bool = False
) -> LanguageModel:
    """Open the language model of a checkpoint; arguments as in ``load_pretrained``.

    A LoRA adapter is merged into its base as the tensors are read.

    Raises:
        CheckpointError: naming what is missing, unexpected or misshapen, and what to do.
    """
    checkpoint = open_checkpoint(source, base=base, offline=offline)
    tensors = fitting_tensors(empty_model(checkpoint.config), checkpoint)
    files = tokenizer_folder(checkpoint.folder, base)
    generation = GenerationConfig()
    if (checkpoint.folder / "generation_config.json").is_file():
        generation = GenerationConfig.from_pretrained(checkpoint.folder)
    processor = MobileVideoGPTProcessor.from_config(checkpoint.config, load_tokenizer(files))
    return LanguageModel(
        config=checkpoint.config.text_config,
        tensors=_without_prefix(tensors),
        tokenizer=processor.tokenizer,
        chat_template=processor.chat_template,
        generation_config=generation,
        name=str(source),
        tokenizer_files=files,
    )


def language_model_of(
    model: MobileVideoGPTForConditionalGeneration, processor: MobileVideoGPTProcessor, name: str
) -> LanguageModel:
    """The language model of a model in memory, sharing its weights."""
    state = model.state_dict()
    if model.config.text_config.tie_word_embeddings:
        del state[_PREFIX + _LM_HEAD]
    tensors = {
        key: LazyTensor(tuple(tensor.shape), partial(tensor.detach().to, "cpu"))
        for key, tensor in state.items()
    }
    return LanguageModel(
        config=model.config.text_config,
        tensors=_without_prefix(tensors),
        tokenizer=processor.tokenizer,
        chat_template=processor.chat_template,
        generation_config=model.generation_config,
        name=name,
    )


def save_qwen2(model: LanguageModel, folder: Path) -> None:
    """Write a folder that transformers, vLLM and the converters of llama.cpp and MLX read.

    The values and their precision stay as they are.

    Args:
        model: what to write.
        folder: a new or empty folder. It appears when it is complete, or not at all.

    Raises:
        CheckpointError: if there is something at ``folder``.
    """
    with new_folder(folder) as partial_folder:
        with init_empty_weights(include_buffers=False), no_init_weights():
            plain = Qwen2ForCausalLM(model.config)
        for name, lazy in model.tensors.items():
            put_tensor(plain, name, lazy.load())
        plain.tie_weights()
        plain.generation_config = _generation_config(model)
        plain.save_pretrained(partial_folder)
        _complete_config(partial_folder / "config.json", model)
        write_tokenizer(model, partial_folder)


def write_tokenizer(model: LanguageModel, folder: Path) -> None:
    """Write the tokenizer with the prompt that the model was trained on."""
    if model.tokenizer_files is None:
        model.tokenizer.save_pretrained(folder)
    else:
        for pattern in _COMPANIONS:
            for file in model.tokenizer_files.glob(pattern):
                shutil.copyfile(file, folder / file.name)
    if not (folder / "tokenizer.json").is_file():
        model.tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(model.chat_template, encoding="utf-8")
    # Qwen2.5's own template, which names another system prompt, must not win over the file.
    settings = _read(folder / "tokenizer_config.json")
    if settings.pop("chat_template", None) is not None:
        _write(folder / "tokenizer_config.json", settings)


def _without_prefix(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    return {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in tensors.items()
        if name.startswith(_PREFIX)
    }


def _generation_config(model: LanguageModel) -> GenerationConfig:
    settings = GenerationConfig.from_dict(model.generation_config.to_dict())
    settings.eos_token_id = end_token_ids(model.tokenizer, model.generation_config)
    return settings


def _complete_config(path: Path, model: LanguageModel) -> None:
    """Say twice what transformers 5 renamed: MLX and older readers look for the old names."""
    config = _read(path)
    config["rope_theta"] = model.config.rope_parameters["rope_theta"]
    config["torch_dtype"] = config["dtype"]
    # The end of a turn, where a program reads this file only.
    config["eos_token_id"] = end_token_ids(model.tokenizer, model.generation_config)[0]
    _write(path, config)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    path.write_text(text, encoding="utf-8")
