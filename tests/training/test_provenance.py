"""A run says what it was made with, and a resumed one keeps what the first start said."""

import json
from pathlib import Path

from mobile_videogpt.training.provenance import note_start, provenance


def test_a_run_notes_commit_versions_and_recipe():
    noted = provenance(Path("recipe.yaml"))
    assert noted["recipe"] == "recipe.yaml"
    assert noted["versions"]["torch"]
    # Installed from a wheel there is no checkout; in one, a commit is twelve digits.
    assert noted["commit"] is None or len(noted["commit"].removesuffix("+changes")) == 12


def test_resuming_keeps_the_first_note(tmp_path):
    note_start(tmp_path / "run", Path("first.yaml"))
    note_start(tmp_path / "run", Path("second.yaml"))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"] == "first.yaml"
