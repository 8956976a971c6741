"""Processes that take turns, with contestants that only pretend to work."""

import pytest

from mobile_videogpt.benchmark import turns, worker
from mobile_videogpt.benchmark.contestant import NotOfferedError, make_contestant
from mobile_videogpt.benchmark.settings import Settings
from mobile_videogpt.benchmark.turns import Worker, WorkerError, take_turns


class Pretender:
    """Stands in for `Worker`: answers at once and notes what it was asked."""

    log: list[tuple[str, str]] = []

    def __init__(self, name, offered=True, wanted_gb=1.0):
        self.name, self.offered, self.wanted_gb = name, offered, wanted_gb
        self.is_running = False
        self.peak_rss_gb = None

    def ask(self, order):
        self.log.append((self.name, order))
        if not self.offered:
            raise NotOfferedError("not today")
        self.is_running = True
        self.peak_rss_gb = 9.0 if order == "extras" else 2.0
        return {"run": {"ttft_s": 1.0}, "extras": {"more": 1}}.get(order, {})

    def leave(self):
        if self.is_running:
            self.log.append((self.name, "leave"))
        self.is_running = False


@pytest.fixture(autouse=True)
def empty_log():
    Pretender.log.clear()


def test_runs_alternate_after_each_has_warmed_up():
    take_turns([Pretender("a"), Pretender("b")], runs=2)
    runs = [name for name, order in Pretender.log if order == "run"]
    assert runs == ["a", "b", "a", "b"]
    assert [order for name, order in Pretender.log if name == "a"][:3] == ["load", "warm_up", "run"]


def test_peak_memory_is_that_of_answering_not_of_the_extras():
    found = take_turns([Pretender("a")], runs=1)["a"]
    assert found.peak_rss_gb == 2.0 and found.extras == {"more": 1}


def test_who_cannot_run_here_is_left_out_and_says_why():
    found = take_turns([Pretender("a"), Pretender("b", offered=False)], runs=2)
    assert found["b"].not_offered == "not today" and found["b"].runs == []
    assert len(found["a"].runs) == 2
    assert Pretender.log.count(("b", "load")) == 1


def test_those_that_wait_leave_when_memory_is_short(monkeypatch):
    # Free memory as it would be on a machine that holds one of them.
    workers = [Pretender("a"), Pretender("b")]
    monkeypatch.setattr(
        turns, "available_bytes", lambda: 3e9 - 2e9 * sum(w.is_running for w in workers)
    )
    take_turns(workers, runs=2)
    orders = [entry for entry in Pretender.log if entry[1] in ("run", "leave")]
    assert orders[:4] == [("a", "run"), ("a", "leave"), ("b", "run"), ("b", "leave")]
    assert Pretender.log.count(("a", "load")) == 3  # two runs and the extras


def test_an_unknown_peer_is_refused():
    with pytest.raises(ValueError, match="unknown peer 'gpt'; choose one of llava"):
        make_contestant(Settings(kind="gpt"))


def test_an_order_that_fails_is_answered_in_one_line(capsys):
    def fail():
        raise RuntimeError("no luck")

    assert worker.obey(fail) == {"error": "RuntimeError: no luck"}
    assert "no luck" in capsys.readouterr().err  # the traceback: nobody expected this
    assert worker.obey(lambda: int("x")).keys() == {"refused"}
    assert not capsys.readouterr().err
    assert worker.obey(lambda: {"x": 1})["found"] == {"x": 1}


def test_a_worker_process_says_what_was_wrong_and_lives_on():
    process = Worker("ours", Settings(model="no-such-preset", is_random=True))
    try:
        with pytest.raises(ValueError, match=r"Unknown preset 'no-such-preset'; choose one of"):
            process.ask("prepare")
        assert process.is_running
    finally:
        process.leave()
    assert not process.is_running


def test_a_worker_process_that_dies_is_named():
    process = Worker("ours", Settings(kind="nobody"))
    with pytest.raises(WorkerError, match=r"process of ours ended with code 1"):
        process.ask("load")
