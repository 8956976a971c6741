"""What docs/cluster.md says beside its tables, which benchmark/test_page_tables.py checks."""

from pathlib import Path

from benchmark_scripts import load_script

PAGE = (Path(__file__).parent.parent / "docs" / "cluster.md").read_text(encoding="utf-8")


def test_the_batch_sizes_for_more_gpus_divide_the_recipes_steps():
    """The rows of the page's table: GPUs, then the largest batch size of each stage."""
    script = load_script("cluster_tables")
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| **")]
    assert rows
    for gpus, *batches in rows:
        count = int(gpus.strip(" *"))
        for stage, batch in zip(script.STAGES, batches, strict=True):
            values = script.recipe(stage)
            most = min(values["batch_size"], values["global_batch_size"] // count)
            assert int(batch) == most and values["global_batch_size"] % (most * count) == 0
