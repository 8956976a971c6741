"""From a name to a folder or file on this machine: built-in, local path or Hugging Face hub id."""

import logging
import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HFValidationError

from mobile_videogpt.checkpoints.errors import CheckpointError
from mobile_videogpt.config import PRESETS

logger = logging.getLogger(__name__)

BUILT_IN = "moving-shapes"
_ASSETS = Path(__file__).parent.parent / "assets"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_EVERYTHING_BUT_PICKLES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"]


def find_checkpoint(name: str | Path, revision: str | None = None, offline: bool = False) -> Path:
    """Return the folder of a checkpoint.

    Args:
        name: ``"moving-shapes"``, a folder, or a hub id such as ``Amshaker/Mobile-VideoGPT-0.5B``.
        revision: branch, tag or commit on the hub.
        offline: look only at what has been downloaded before.

    Raises:
        CheckpointError: if there is no such thing or it cannot be fetched.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if str(name) == BUILT_IN:
        return _built_in()
    if path.exists():
        raise CheckpointError(f"{path} is a file; give the folder that holds config.json.")
    if _HUB_ID.fullmatch(str(name)) and not path.is_absolute():
        return fetch_folder(str(name), _EVERYTHING_BUT_PICKLES, revision, offline)
    if str(name) in PRESETS:
        raise CheckpointError(
            f"{name!r} names sizes without weights; load 'Amshaker/Mobile-VideoGPT-0.5B', "
            f"'Amshaker/Mobile-VideoGPT-1.5B', a folder, or {BUILT_IN!r}."
        )
    raise CheckpointError(
        f"There is no model {str(name)!r}; give {BUILT_IN!r}, a folder with config.json, or a "
        "Hugging Face id such as Amshaker/Mobile-VideoGPT-0.5B."
    )


def _built_in() -> Path:
    folder = _ASSETS / BUILT_IN
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"The built-in checkpoint is missing from this installation ({folder}); install the "
            "package again."
        )
    return folder


def fetch_folder(
    repo_id: str, patterns: list[str], revision: str | None = None, offline: bool = False
) -> Path:
    """Return a local copy of a hub repository, downloading what is not there yet."""
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repo_id, revision=revision, allow_patterns=patterns, local_files_only=offline
            )
        )
    except (OSError, HFValidationError) as error:  # hub and network errors are all OSErrors
        raise _not_fetched(repo_id, error) from error


def fetch_file(repo_id: str, filename: str, offline: bool = False) -> Path:
    """Return a local copy of one file of a hub repository."""
    try:
        return Path(huggingface_hub.hf_hub_download(repo_id, filename, local_files_only=offline))
    except (OSError, HFValidationError) as error:
        raise _not_fetched(f"{repo_id}/{filename}", error) from error


def _not_fetched(what: str, error: Exception) -> CheckpointError:
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    return CheckpointError(
        f"{what} is not on this machine and could not be fetched from the Hugging Face hub "
        f"({reason}); check the name and the network, or download it elsewhere and give its path."
    )
