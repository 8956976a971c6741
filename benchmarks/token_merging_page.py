"""Draw and tabulate in docs/token-merging.md what token_merging.py measured.

    python benchmarks/token_merging_page.py [--check]

Reads benchmarks/results/token-merging.json and token-merging-speed.json. With --check nothing is
written: the exit code says whether the page's table shows what was recorded.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from page_tables import ROOT, add_check_option, recorded, show
from token_merging import DROPPED, IN_PLACE, MERGED


def measured() -> tuple[dict[str, Any], dict[str, Any]]:
    """Accuracy, speed."""
    return recorded("token-merging.json"), recorded("token-merging-speed.json")


PAGES = {"docs/token-merging.md": {"points": lambda: table(*measured())}}


def main() -> int:
    """Draw and fill in, or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add_check_option(parser)
    args = parser.parse_args()
    if not args.check:
        draw(*measured(), ROOT / "docs" / "images" / "token-merging.png")
    return show(PAGES, check=args.check)


def draw(accuracy: dict[str, Any], speed: dict[str, Any], path: Path) -> None:
    """Accuracy over tokens, merged beside dropped; beside it seconds over tokens."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    (exact,) = (point for point in accuracy["points"] if point["method"] == "all")
    styles = {MERGED: ("o-", "C0"), IN_PLACE: ("s--", "C1"), DROPPED: ("v:", "C3")}
    for method, (style, color) in styles.items():
        points = [exact, *(p for p in accuracy["points"] if p["method"] == method)]
        shares = [100 * p["multiple_choice_accuracy"] for p in points]
        left.plot([p["keep"] for p in points], shares, style, color=color, label=method)
    left.set_title(f"MovingShapes, {accuracy['questions']} questions, built-in model")
    left.set_ylabel("multiple choice, % right")
    ratios = [p["keep"] for p in speed["points"]]
    for key, label, style in (("ttft_s", "first token", "o-"), ("prefill_s", "prefill", "o--")):
        right.plot(ratios, [p[key] for p in speed["points"]], style, label=label)
    right.set_title(f"{speed['preset']}, {speed['engine']}, {speed['threads']} threads")
    right.set_ylabel("seconds")
    right.set_ylim(bottom=0)
    for axis in (left, right):
        axis.set_xlabel("share of the image tokens that is kept")
        axis.invert_xaxis()
        axis.legend(frameon=False)
    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, dpi=120)
    partial.replace(path)


def table(accuracy: dict[str, Any], speed: dict[str, Any]) -> str:
    """A row per share: tokens, the three methods' accuracies, the difference, seconds."""
    right = {
        (p["method"], p["keep"]): f"{100 * p['multiple_choice_accuracy']:.1f} %"
        for p in accuracy["points"]
    }
    found = {(d["than"], d["keep"]): d for d in accuracy["merged_minus_other"]}
    moved = {(p["method"], p["keep"]): p["probability_moved"] for p in accuracy["points"]}
    methods = (MERGED, DROPPED, IN_PLACE)
    rows = [
        f"| kept | {' | '.join(methods)} | merged before dropped, points | "
        f"probability moved, in this order | tokens, `{speed['preset']}` | prefill | first token |",
        "| --- " * 9 + "|",
    ]
    for point in speed["points"]:
        keep = point["keep"]
        cells = [right["all", 1.0]] * 3 + [""] * 2
        if keep < 1:
            cells = [right[method, keep] for method in methods]
            cells += [", ".join(_difference(found[other, keep]) for other in methods[1:])]
            cells += [", ".join(f"{100 * moved[method, keep]:.1f} %" for method in methods)]
        cells += [str(point["visual_tokens"])]
        cells += [f"{point[key]:.1f} s" for key in ("prefill_s", "ttft_s")]
        rows.append(f"| {keep:g} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _difference(found: dict[str, float]) -> str:
    points, spread = (found[f"multiple_choice_{kind}"] for kind in ("points", "standard_error"))
    return f"{points:+.1f} ± {spread:.1f}"


if __name__ == "__main__":
    sys.exit(main())
