"""Loss and learning rate of every stage as one PNG and one JSON."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(output: Path, stages: list[str]) -> None:
    """Write `curves.png` and `curves.json` from each stage's `history.json`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    histories = {
        name: [
            row for row in json.loads((output / name / "history.json").read_text()) if "loss" in row
        ]
        for name in stages
    }
    (output / "curves.json").write_text(json.dumps(histories))
    figure, axes = plt.subplots(2, len(stages), figsize=(3.2 * len(stages), 5), squeeze=False)
    for column, (name, rows) in enumerate(histories.items()):
        steps = [row["step"] for row in rows]
        for line, key in enumerate(("loss", "learning_rate")):
            axis = axes[line][column]
            axis.plot(steps, [row[key] for row in rows])
            axis.set_title(f"{name}: {key.replace('_', ' ')}", fontsize=8)
            axis.tick_params(labelsize=7)
        axes[0][column].set_yscale("log")
    figure.tight_layout()
    figure.savefig(output / "curves.png", dpi=110)
    plt.close(figure)
