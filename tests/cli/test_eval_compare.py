"""`eval compare` and `eval report`: what they print, write, and refuse."""

import json

import pytest
from made_runs import made_up, write_run


@pytest.fixture
def two_runs(tmp_path):
    good = write_run(tmp_path / "good", made_up(200, 0.8, seed=1, kinds=("CW", "TN")), model="g")
    bad = write_run(tmp_path / "bad", made_up(200, 0.5, seed=2, kinds=("CW", "TN")), model="b")
    return good, bad


def test_the_verdict_and_a_row_a_kind_are_printed(run, two_runs):
    code, out, err = run("eval", "compare", *two_runs)
    assert code == 0 and not err
    assert f"A: {two_runs[0]} (g)" in out
    assert "A is " in out and "points better than B" in out
    names = [line.split()[0] for line in out.splitlines() if line.startswith(("all", "CW", "TN"))]
    assert names == ["all", "CW", "TN"]


def test_equal_runs_are_called_equal(run, two_runs):
    _, out, _ = run("eval", "compare", two_runs[0], two_runs[0])
    assert "no difference to speak of" in out and "p = 1" in out


def test_the_comparison_is_one_json_document(run, two_runs):
    code, out, _ = run("eval", "compare", *two_runs, "--json")
    (row,) = json.loads(out)["benchmarks"]
    assert code == 0 and row["overall"]["difference"]["p_value"] < 0.01


def test_no_run_is_one_line_on_stderr(run, tmp_path, two_runs):
    code, out, err = run("eval", "compare", tmp_path / "nothing", two_runs[0])
    assert code == 1 and not out
    assert err.count("\n") == 1 and "nothing is no run" in err


def test_a_report_is_written_again_without_a_model(run, two_runs):
    folder = two_runs[0]
    code, out, _ = run("eval", "report", folder)
    assert code == 0
    written = [folder / f"report.{end}" for end in ("md", "html", "json")]
    assert out.splitlines() == [str(path) for path in written]
    assert all(path.is_file() for path in written)
    _, compared, _ = run("eval", "compare", folder / "report.json", two_runs[1], "--json")
    assert json.loads(compared)["a"]["model"] == "g"


def test_help_says_what_the_p_value_means(capsys):
    from mobile_videogpt.cli.main import main

    with pytest.raises(SystemExit) as stop:
        main(["eval", "compare", "--help"])
    assert stop.value.code == 0
    assert "equally good runs" in capsys.readouterr().out
