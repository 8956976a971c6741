"""Numbers recorded from the released code: inputs, weights and outputs, and how near is near."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent.parent / "data" / "golden"
_INDEX = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))["files"]


def cases(pattern: str) -> list[str]:
    return sorted(path.name for path in FOLDER.glob(f"{pattern}.npz"))


class Case:
    """One recorded file."""

    def __init__(self, name: str) -> None:
        with np.load(FOLDER / name) as file:
            self.arrays = {key: torch.from_numpy(np.array(file[key])) for key in file}
        self._compare = _INDEX[name]["compare"]

    def __getitem__(self, key: str) -> Tensor:
        return self.arrays[key]

    def weights(self, prefix: str = "") -> dict[str, Tensor]:
        """The recorded parameters, with a prefix put in front of their names."""
        return {
            prefix + key.removeprefix("weight."): value
            for key, value in self.arrays.items()
            if key.startswith("weight.")
        }

    def check(self, key: str, value: Tensor) -> None:
        """Compare a result with the recorded one, within the recorded tolerance."""
        atol = self._compare.get("atol_per_array", {}).get(key, self._compare["atol"])
        torch.testing.assert_close(value, self[key], rtol=self._compare["rtol"], atol=atol)


def strip(state_dict: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The part of a state dict below a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
