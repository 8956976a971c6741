"""Medians, shares of the ceiling, ratios, and the table of what is asked."""

import pytest

from mobile_videogpt.benchmark import rows
from mobile_videogpt.benchmark.costs import Cost
from mobile_videogpt.benchmark.report import describe_parts, describe_peer, medians, ratios
from mobile_videogpt.benchmark.turns import Turns

CEILING = {"matmul_gflops": {"float32": 100.0}, "memory_gb_s": 10.0}


def run(ttft_s, prefill_s, decode_tok_s=10.0):
    return {
        "ttft_s": ttft_s,
        "decode_tok_s": decode_tok_s,
        "visual_tokens": 2402,
        "part:prefill": prefill_s,
        "part:decode_tokens": 3.1,
    }


def test_medians_have_a_spread_and_counts_have_none():
    found = medians([run(3.0, 1), run(1.0, 1), run(2.0, 1)])
    assert found["ttft_s"] == 2.0 and found["spread"]["ttft_s"] == [1.0, 3.0]
    assert found["visual_tokens"] == 2402 and "visual_tokens" not in found["spread"]


def test_a_part_has_its_share_of_the_first_token_and_of_the_ceiling():
    costs = {"prefill": Cost(flops=100e9, weights=0)}
    found = describe_parts([run(4.0, 2.0)], costs, {"language_model": "float32"}, CEILING)
    assert found["prefill"]["share_of_ttft"] == 0.5
    assert found["prefill"]["least_s"] == 1.0 and found["prefill"]["of_ceiling"] == 0.5
    assert found["decode_token"]["seconds"] == pytest.approx(0.1)


def test_a_format_whose_products_were_not_measured_has_no_ceiling():
    costs = {"prefill": Cost(flops=100e9, weights=0)}
    found = describe_parts([run(4.0, 2.0)], costs, {"language_model": "float16"}, CEILING)
    assert found["prefill"]["of_ceiling"] is None


def test_ratios_above_one_are_in_our_favour():
    ours = {"ttft_s": 2.0, "decode_tok_s": 40.0, "peak_rss_gb": 1.0}
    peer = {"ttft_s": 30.0, "decode_tok_s": 8.0, "peak_rss_gb": 5.0}
    assert ratios(ours, peer) == {"ttft": 15.0, "decode": 5.0, "peak_rss": 5.0}


def test_a_peer_that_could_not_run_says_why():
    assert describe_peer(Turns(not_offered="no wheel")) == {"not_offered": "no wheel"}


def report(**more):
    llava = {"ttft_s": 150.0, "decode_tok_s": 6.0}
    ours = {"ttft_s": 10.0, "decode_tok_s": 30.0, "followup_share": 0.02, "merge_tokens": None}
    found = {**ours, "peers": {rows.LLAVA: llava}, **more}
    return {**found, "ratios": {rows.LLAVA: ratios(found, llava)}}


def met(found):
    return {row["what"]: row["met"] for row in rows.table_rows(found)}


def test_rows_are_met_missed_or_not_measured():
    found = met(report())
    assert found["first token, beside LLaVA-OneVision-0.5B"] is True
    assert found["decode, beside LLaVA-OneVision-0.5B"] is True
    assert found["first token, beside SmolVLM2-500M"] is None
    assert found["first token of a follow-up question"] is True
    assert met(report(ttft_s=10.1))["first token, beside LLaVA-OneVision-0.5B"] is False
    assert met(report(followup_share=0.031))["first token of a follow-up question"] is False


def test_merged_tokens_never_count_as_the_exact_prompt():
    assert met(report(merge_tokens=0.5))["first token, beside LLaVA-OneVision-0.5B"] is None
    merged = {rows.MERGED: {"ttft_s": 7.0}}
    found = met(report(variants=merged))
    assert found["the same with merged tokens, LLaVA-OneVision-0.5B"] is True


def test_peak_memory_counts_only_with_an_int4_language_model():
    what = "peak memory with an int4 language model"
    assert met(report(peak_rss_gb=1.0, formats={"language_model": "float32"}))[what] is None
    assert met(report(peak_rss_gb=1.0, formats={"language_model": "int4"}))[what] is True
