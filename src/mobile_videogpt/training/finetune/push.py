"""The finished model on the Hugging Face hub, if that was asked for."""

from __future__ import annotations

import logging
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

logger = logging.getLogger(__name__)


def require_login(repo_id: str) -> None:
    """Find out before hours of training whether anything can be pushed.

    Raises:
        ValueError: for an id of another form, or if nobody is logged in.
    """
    if repo_id.count("/") != 1 or not all(repo_id.split("/")):
        raise ValueError(f"--push-to-hub {repo_id!r} is no repository id; give OWNER/NAME")
    try:
        HfApi().whoami()
    except (LocalTokenNotFoundError, HfHubHTTPError, OSError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ValueError(
            f"nothing can be pushed to the hub ({reason}): run hf auth login"
        ) from None


def push_model(folder: Path, repo_id: str) -> None:
    """Upload a model's folder to a repository, which is made (private) if it does not exist."""
    api = HfApi()
    api.create_repo(repo_id, private=True, exist_ok=True)
    api.upload_folder(
        repo_id=repo_id, folder_path=folder, commit_message="mobile-videogpt finetune"
    )
    logger.info("pushed %s to https://huggingface.co/%s", folder, repo_id)
