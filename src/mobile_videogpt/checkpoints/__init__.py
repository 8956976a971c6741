"""Checkpoints: tensor names ours <-> released, strict loading, conversion, merging of LoRA
adapters.

Three layouts load: ours (what ``save_pretrained`` writes), the released one, and a LoRA adapter
with its base. Nothing is skipped quietly; a tensor that is missing, unexpected or misshapen is an
error that names it.
"""

from mobile_videogpt.checkpoints.convert import convert
from mobile_videogpt.checkpoints.errors import CheckpointError
from mobile_videogpt.checkpoints.load import (
    Pretrained,
    load_config,
    load_model,
    load_pretrained,
    load_tokenizer,
)
from mobile_videogpt.checkpoints.names import from_released, to_released

__all__ = [
    "CheckpointError",
    "Pretrained",
    "convert",
    "from_released",
    "load_config",
    "load_model",
    "load_pretrained",
    "load_tokenizer",
    "to_released",
]
