"""The harness's recorded cases: where they lie, and their tasks by the names they have there."""

import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).resolve().parents[1] / "data" / "evaluation"
FIXTURES = RECORDED / "fixtures"


def recorded(name: str) -> Any:
    """One of the recorded documents, such as "scoring/mvbench"."""
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def fixture(path: str) -> Any:
    """One of the invented annotation files."""
    return json.loads((FIXTURES / path).read_text(encoding="utf-8"))


def scoring_task(benchmark: str, item: dict[str, Any]) -> str:
    """The name of the task that a recorded item belongs to."""
    if benchmark == "mvbench":
        return f"mvbench_{item['sub_task']}"
    if benchmark == "mlvu":
        return f"mlvu_{item['set']}"
    return {
        "egoschema": "egoschema_subset",
        "nextqa": "nextqa_mc_test",
        "perceptiontest": "perceptiontest_val_mc",
    }[benchmark]
