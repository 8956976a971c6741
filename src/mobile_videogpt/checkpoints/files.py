"""Tensors on disk: one mapping over safetensors files, shards and foreign pickles, read lazily.

Nothing is read before it is asked for, so that a checkpoint never stands in memory twice.
"""

import json
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mobile_videogpt.checkpoints.errors import CheckpointError

PICKLES = (".bin", ".pth", ".pt")
_WHOLE_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is known by shape and read on ``load()``."""

    shape: tuple[int, ...]
    load: Callable[[], Tensor]


def with_names(tensors: Mapping[str, LazyTensor], names: Iterable[str]) -> dict[str, LazyTensor]:
    """Return the same tensors under other names, in the same order."""
    return dict(zip(names, tensors.values(), strict=True))


def open_tensors(path: Path) -> dict[str, LazyTensor]:
    """Open a weight file or a folder with one (or with shards and their index).

    Pickles (``.bin``, ``.pth``) are opened with ``weights_only=True``: they cannot run code.

    Raises:
        CheckpointError: if there is none or it cannot be read.
    """
    if path.is_dir():
        tensors: dict[str, LazyTensor] = {}
        for file in _files_of_folder(path):
            tensors.update(open_tensors(file))
        return tensors
    if not path.is_file():
        raise CheckpointError(f"There is no weight file {path}; give an existing file or folder.")
    return _open_pickle(path) if path.suffix in PICKLES else _open_safetensors(path)


def _files_of_folder(folder: Path) -> list[Path]:
    for name in _WHOLE_FILES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            return [folder / Path(shard).name for shard in sorted(set(weight_map.values()))]
    raise CheckpointError(
        f"The folder {folder} holds no weights; it needs model.safetensors, its shards with "
        "model.safetensors.index.json, or pytorch_model.bin."
    )


def _open_safetensors(path: Path) -> dict[str, LazyTensor]:
    def reader(name: str) -> Callable[[], Tensor]:
        return lambda: _read_one(path, name)

    try:
        with safe_open(path, framework="pt") as file:
            return {
                name: LazyTensor(tuple(file.get_slice(name).get_shape()), reader(name))
                for name in file.keys()  # noqa: SIM118 - not a mapping
            }
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}); the download may be incomplete."
        ) from error


def _read_one(path: Path, name: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name)


def _open_pickle(path: Path) -> dict[str, LazyTensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, ValueError):  # the format before torch 1.6 cannot be mapped
        content = _load_old_pickle(path)
    except (pickle.UnpicklingError, OSError, EOFError) as error:
        raise _unreadable_pickle(path, error) from error
    return {
        name: LazyTensor(tuple(tensor.shape), lambda tensor=tensor: tensor)  # type: ignore[misc]
        for name, tensor in _named_tensors(content)
    }


def _load_old_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise _unreadable_pickle(path, error) from error


def _unreadable_pickle(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().partition("\n")[0]
    return CheckpointError(
        f"{path} cannot be read as a file of tensors only ({reason}); convert it to safetensors "
        "where you trust it."
    )


def _named_tensors(content: object) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors of a dictionary, or of the one dictionary that training scripts wrap."""
    if not isinstance(content, Mapping):
        return
    wrapped = (content.get(name) for name in ("model", "module", "state_dict"))
    inner = next((value for value in wrapped if isinstance(value, Mapping)), content)
    for name, value in inner.items():
        if isinstance(value, Tensor):
            yield str(name), value
