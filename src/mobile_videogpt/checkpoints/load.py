"""Loading a checkpoint of any layout, strictly: every tensor is used, every weight is filled."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    CLIPVisionConfig,
    GenerationConfig,
    PreTrainedTokenizerBase,
)
from transformers.initialization import no_init_weights

from mobile_videogpt.checkpoints.encoders import complete_encoders
from mobile_videogpt.checkpoints.errors import CheckpointError, name_some
from mobile_videogpt.checkpoints.files import LazyTensor, open_tensors
from mobile_videogpt.checkpoints.hub import find_checkpoint
from mobile_videogpt.checkpoints.lora import ADAPTER_CONFIG, merge_adapter, read_adapter_config
from mobile_videogpt.checkpoints.names import from_released, to_released
from mobile_videogpt.checkpoints.released import config_from_released, is_released_config
from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.processor import MobileVideoGPTProcessor

ENCODERS = ("image_encoder", "video_encoder")
_LM_HEAD = "language_model.lm_head.weight"
_UNUSED = "video_encoder.clip_decoder."  # of VideoMamba's pretraining
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer_config.json")


Prepare = Callable[[nn.Module, str], None]


class Checkpoint(NamedTuple):
    """An opened checkpoint: nothing of it is in memory yet."""

    folder: Path
    config: MobileVideoGPTConfig
    tensors: dict[str, LazyTensor]  # under our names
    is_released: bool


class Pretrained(NamedTuple):
    """What ``load_pretrained`` returns."""

    model: MobileVideoGPTForConditionalGeneration
    config: MobileVideoGPTConfig
    tokenizer_path: Path


def load_pretrained(
    source: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = torch.float32,
    encoder_dtype: torch.dtype | None = None,
    prepare: Prepare | None = None,
    base: str | Path | None = None,
    revision: str | None = None,
    offline: bool = False,
) -> Pretrained:
    """Load a model for inference.

    Args:
        source: ``"moving-shapes"``, a folder in our layout, in the released one or with a LoRA
            adapter, or a Hugging Face id.
        device: where the weights go.
        dtype: of the language model and the projectors; None or ``"auto"`` keeps every tensor as
            stored.
        encoder_dtype: of both encoders. By default float32 even where ``dtype`` is half precision,
            as in the released code: they choose the frames.
        prepare: is given the model and the name of each module as soon as its tensors are there,
            and may replace it by a smaller one: the whole model never stands in memory as stored.
        base: the model under a LoRA adapter, if not the one that the adapter names.
        revision: branch, tag or commit on the hub.
        offline: never look at the network.

    Returns:
        The model in evaluation mode, its configuration, and the folder of its tokenizer.

    Raises:
        CheckpointError: naming what is missing, unexpected or misshapen, and what to do.
    """
    checkpoint = open_checkpoint(source, base=base, revision=revision, offline=offline)
    model = build_model(checkpoint, device, _as_dtype(dtype), encoder_dtype, prepare)
    return Pretrained(model, checkpoint.config, tokenizer_folder(checkpoint.folder, base))


def load_model(
    source: str | Path, *, device: str | torch.device = "cpu", **options: Any
) -> tuple[MobileVideoGPTForConditionalGeneration, MobileVideoGPTProcessor]:
    """Load a model with its processor; arguments as in ``load_pretrained``."""
    model, config, tokenizer_path = load_pretrained(source, device=device, **options)
    return model, MobileVideoGPTProcessor.from_config(config, load_tokenizer(tokenizer_path))


def load_config(
    source: str | Path, *, revision: str | None = None, offline: bool = False
) -> MobileVideoGPTConfig:
    """Return a checkpoint's configuration without reading its weights."""
    return open_checkpoint(source, revision=revision, offline=offline).config


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer beside a checkpoint.

    Raises:
        CheckpointError: if there is none.
    """
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise CheckpointError(
            f"The folder {folder} holds no tokenizer; copy tokenizer.json (or vocab.json and "
            "merges.txt) and tokenizer_config.json of the model there."
        )
    return AutoTokenizer.from_pretrained(folder)


def open_checkpoint(
    source: str | Path,
    *,
    base: str | Path | None = None,
    revision: str | None = None,
    offline: bool = False,
) -> Checkpoint:
    """Open a checkpoint without reading any tensor; arguments as in ``load_pretrained``."""
    folder = find_checkpoint(source, revision, offline)
    if (folder / ADAPTER_CONFIG).is_file():
        return _open_adapter(folder, base, offline)
    raw = _read_config(folder)
    if is_released_config(raw):
        return _open_released(folder, raw, offline)
    if raw.get("model_type") != MobileVideoGPTConfig.model_type:
        raise CheckpointError(
            f"{folder} holds a model of type {raw.get('model_type')!r}; it must be a "
            "Mobile-VideoGPT in the released layout or in ours."
        )
    config = MobileVideoGPTConfig.from_dict(raw)
    return Checkpoint(folder, config, open_tensors(folder), is_released=False)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder} holds no readable config.json; give a checkpoint's folder."
        ) from error


def _open_released(folder: Path, raw: Mapping[str, Any], offline: bool) -> Checkpoint:
    tensors = from_released(open_tensors(folder))
    tensors, image_config = complete_encoders(tensors, raw, folder, offline)
    return Checkpoint(folder, _released_config(raw, tensors, image_config), tensors, True)


def _released_config(
    raw: Mapping[str, Any],
    tensors: Mapping[str, LazyTensor],
    image_config: CLIPVisionConfig | None,
) -> MobileVideoGPTConfig:
    config = config_from_released(raw, tensors)
    if image_config is not None:
        config.image_config = image_config
    return config


def _open_adapter(folder: Path, base: str | Path | None, offline: bool) -> Checkpoint:
    named = read_adapter_config(folder).get("base_model_name_or_path")
    base = base or named
    if not base:
        raise CheckpointError(f"The adapter in {folder} names no base model; give it as base.")
    base_folder = find_checkpoint(base, offline=offline)
    base_raw = _read_config(base_folder)
    if base_raw.get("model_type") == "qwen2" and not is_released_config(base_raw):
        # The released training starts from a bare language model; its own folder says the rest.
        raw = {**base_raw, **_read_config(folder)}
        tensors = merge_adapter(from_released(open_tensors(base_folder)), folder)
        tensors, image_config = complete_encoders(tensors, raw, folder, offline)
        return Checkpoint(folder, _released_config(raw, tensors, image_config), tensors, True)
    checkpoint = open_checkpoint(base_folder, offline=offline)
    return checkpoint._replace(folder=folder, tensors=merge_adapter(checkpoint.tensors, folder))


def tokenizer_folder(folder: Path, base: str | Path | None = None) -> Path:
    """Return the folder that holds the tokenizer: the checkpoint's, or its base's."""
    has_tokenizer = any((folder / name).is_file() for name in _TOKENIZER_FILES)
    if has_tokenizer or not (folder / ADAPTER_CONFIG).is_file():
        return folder
    return find_checkpoint(base or read_adapter_config(folder)["base_model_name_or_path"])


def build_model(
    checkpoint: Checkpoint,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = torch.float32,
    encoder_dtype: torch.dtype | None = None,
    prepare: Prepare | None = None,
) -> MobileVideoGPTForConditionalGeneration:
    """Make a model of an opened checkpoint; arguments as in ``load_pretrained``.

    The model is built without memory and each tensor is put in place as it is read, so that the
    weights never stand in memory twice.
    """
    model = empty_model(checkpoint.config)
    tensors = fitting_tensors(model, checkpoint)
    half = dtype in (torch.float16, torch.bfloat16)
    for module_name, names in _by_module(tensors).items():
        for name in names:
            wanted = dtype
            if name.startswith(ENCODERS):
                wanted = encoder_dtype or (torch.float32 if half else dtype)
            put_tensor(model, name, tensors[name].load().to(device=device, dtype=wanted))
        if prepare is not None:
            prepare(model, module_name)
    if any(weight.is_meta for weight in model.language_model.lm_head.parameters()):
        model.tie_weights()
    model.to(device)  # buffers, which no checkpoint holds
    if (checkpoint.folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(checkpoint.folder)
    return model.eval()


def _by_module(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of tensors under the names of the modules they belong to, in order."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition(".")[0], []).append(name)
    return groups


def empty_model(config: MobileVideoGPTConfig) -> MobileVideoGPTForConditionalGeneration:
    """Make a model whose weights take no memory: shapes only."""
    with init_empty_weights(include_buffers=False), no_init_weights():
        return MobileVideoGPTForConditionalGeneration(config)


def put_tensor(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Make ``tensor`` the parameter ``name`` of a model."""
    module_name, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(module_name), leaf, nn.Parameter(tensor))


def fitting_tensors(model: nn.Module, checkpoint: Checkpoint) -> dict[str, LazyTensor]:
    """Return the tensors to load, after checking names and shapes.

    Raises:
        CheckpointError: if anything is missing, unexpected or misshapen.
    """
    wanted = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    given = {n: t for n, t in checkpoint.tensors.items() if not n.startswith(_UNUSED)}
    if checkpoint.config.text_config.tie_word_embeddings:
        wanted.pop(_LM_HEAD)
        given.pop(_LM_HEAD, None)

    def shown(names: set[str]) -> str:  # as they are called in the file
        try:
            return name_some(to_released(dict.fromkeys(names)) if checkpoint.is_released else names)
        except CheckpointError:
            return name_some(names)

    folder = checkpoint.folder
    if missing := wanted.keys() - given.keys():
        raise CheckpointError(
            f"The checkpoint {folder} lacks {len(missing)} of {len(wanted)} tensors "
            f"({shown(missing)}); download it again or use a complete one."
        )
    if unexpected := given.keys() - wanted.keys():
        raise CheckpointError(
            f"The checkpoint {folder} holds {len(unexpected)} tensors that the model has no place "
            f"for ({shown(unexpected)}); its config.json may belong to another model."
        )
    for name, shape in wanted.items():
        if given[name].shape != shape:
            raise CheckpointError(
                f"In the checkpoint {folder} the tensor {shown({name})} has shape "
                f"{given[name].shape}, but config.json asks for {shape}; one of the two belongs to "
                "another model."
            )
    return given


def _as_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return None
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise CheckpointError(
            f"dtype is {dtype!r}, but it must be 'auto', 'float32', 'float16' or 'bfloat16'."
        )
    return found
