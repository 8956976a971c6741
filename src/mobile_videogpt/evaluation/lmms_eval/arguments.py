"""What `--model_args` may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mobile_videogpt.evaluation.lmms_eval.generation import DEFAULT_MAX_NEW_TOKENS

LIKELIHOODS = ("sum", "mean")


@dataclass(frozen=True)
class Arguments:
    """Fields are the names of `--model_args`; those of `VideoChat` mean what they mean there."""

    device: str = "auto"
    dtype: str = "auto"
    engine: str = "auto"
    merge_tokens: float | None = None
    cache_dir: str | None = None
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    """For tasks that do not say."""
    likelihood: str = "sum"
    """"sum": of a whole answer, as this package ranks options; "mean": per token, as the harness's
    own models rank them."""
    batch_size: Any = 1
    """What the harness passes along; requests are answered one after the other."""
    max_batch_size: Any = None

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Arguments:
        """Check what the harness hands over.

        Raises:
            ValueError: an argument is unknown, or has a value that it cannot have.
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise ValueError(
                    f"unknown model argument {name!r}; known are pretrained, {', '.join(known)}"
                )
        # "None" is how a command line says that there is none.
        values: dict[str, Any] = {k: None if v == "None" else v for k, v in given.items()}
        read = cls(**values)
        if read.likelihood not in LIKELIHOODS:
            raise ValueError(
                f"likelihood is {read.likelihood!r}; it must be one of {', '.join(LIKELIHOODS)}"
            )
        return read

    def loading(self) -> dict[str, Any]:
        """Keyword arguments of `VideoChat`."""
        names = ("device", "dtype", "engine", "merge_tokens", "cache_dir")
        return {name: getattr(self, name) for name in names}
