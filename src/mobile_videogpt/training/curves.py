"""Loss, learning rate and whatever else is asked for of every stage, as one PNG and one JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

CURVES = ("loss", "learning_rate")
MEDIA_CURVES = (*CURVES, "grad_norm", "samples_per_second", "peak_memory_bytes")


def draw_curves(output: Path, stages: list[str], keys: Sequence[str] = CURVES) -> None:
    """Write `curves.png` and `curves.json` from each stage's `history.json`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    whole = {name: json.loads((output / name / "history.json").read_text()) for name in stages}
    histories = {name: [row for row in rows if "loss" in row] for name, rows in whole.items()}
    (output / "curves.json").write_text(json.dumps(histories))
    figure, axes = plt.subplots(
        len(keys), len(stages), figsize=(3.2 * len(stages), 2.5 * len(keys)), squeeze=False
    )
    for column, (name, rows) in enumerate(histories.items()):
        steps = [row["step"] for row in rows]
        for line, key in enumerate(keys):
            axis = axes[line][column]
            axis.plot(steps, [row[key] for row in rows])
            axis.set_title(f"{name}: {key.replace('_', ' ')}", fontsize=8)
            axis.tick_params(labelsize=7)
        unseen = [(row["step"], row["eval_loss"]) for row in whole[name] if "eval_loss" in row]
        if unseen:
            axes[0][column].plot(*zip(*unseen, strict=True), "o-", label="validation")
            axes[0][column].legend(fontsize=7)
        axes[0][column].set_yscale("log")
    figure.tight_layout()
    figure.savefig(output / "curves.png", dpi=110)
    plt.close(figure)
