"""Do this package's rules read, score and ask as lmms-eval does? Random texts through both.

    python benchmarks/record.py benchmarks/results/lmms-eval-agreement.json -- \\
        python benchmarks/lmms_eval_agreement.py

The second `python` is one that has lmms-eval and this package (see lmms_eval_proof.py). Outputs are
strung together at random from letters, signs, phrases and option texts that the rules react to, so
most are stranger than what a model writes. Where the harness draws a letter, ours must find that
there is nothing to read. Prints JSON; exits with 1 if anything differs.

MLVU's older rules are compared too where the files that hold them are named: `--mlvu regex FILE`
with tasks/mlvu/utils.py of lmms-eval 0.3, `--mlvu paren FILE` with that of 0.6.
"""

import argparse
import importlib
import importlib.util
import json
import logging
import os
import random
import sys
import tempfile
from importlib import metadata

from mobile_videogpt.evaluation import aggregate, build_prompt
from mobile_videogpt.evaluation.parsing import (
    clean,
    egoschema_letter,
    mvbench_label,
    nextqa_letter,
    perceptiontest_index,
)
from mobile_videogpt.evaluation.parsing_mlvu import mlvu_answer
from mobile_videogpt.evaluation.tasks.activitynetqa_judge import harness_verdict

LETTERS = "ABCDE"
TEXTS = ["C mends the loom frame with glue.", "To scare the bird ", "A tin box", "C sings.", "no"]
SIGNS = [*LETTERS, *"FZabcdefx01", " ", " ", " ", "\n", "\t", *"()[]{}.,:;!?'\"/=+\\_-><@`", "...",
         "1,000", "3.5", "é", "İ", "ß", "\u00a0", "\u2028", "。"]  # fmt: skip
MARKED = ["(A)", "(B)", "(C)", "(D)", "(E)", "A.", "B)", "C:", "D ", "DNA ", "USA.", "Vitamin C"]
PHRASES = ["the answer is ", "The Answer Is ", "answer is ", "The correct answer is ", "Option ",
           "The best option is", "Best answer:", "Best option:", "i pick ", "My choice is ", "I'd",
           "<think>", "</s>", "man", "a ", "not ", "I choose ", "답:", "선", "选", "答案是", "옵션",
           "答えは"]  # fmt: skip
REPLIES = ["{", "}", "'pred'", "'score'", ":", ",", "'yes'", "'no'", "'Yes'", "'unknown'", "4",
           "4.8", "'4'", "'4.5'", "True", "None", "1e1", "-2", " ", "\n", "[", "]", "x", "'why'",
           "#"]  # fmt: skip
TEMPLATES = ["{'pred': 'yes', 'score': 4}", "{'pred': %s, 'score': %s}",
             "{'pred': %s, 'score': 3, 'why': %s}"]  # fmt: skip
WORDS = ["what", "NASA", "is", "the", "Ünï", "ß", "ǆ", "?", " x ", "a\nb", "İ"]
KINDS = ["plotQA", "needle", "ego", "count", "order", "anomaly_reco", "topic_reasoning"]
SAYINGS_WITH_LETTERS = ["A", "(B)", "D.", "the answer is B"]
SAYINGS = [*SAYINGS_WITH_LETTERS, "c", "", "A man walks"]


class Draws:
    """Stands in for the harness's `random`: says that a letter was drawn."""

    is_drawn = False

    def choice(self, letters):
        self.is_drawn = True
        return letters[0]


def main() -> int:
    """Compare and print; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--outputs", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--mlvu", nargs=2, action="append", default=[], metavar=("ERA", "FILE"), help="see above"
    )
    args = parser.parse_args()
    draw = random.Random(args.seed)
    harness = Harness()
    outputs = [an_output(draw) for _ in range(args.outputs)]
    compared = {
        **compare_readings(harness, outputs),
        **{f"mlvu_{era}": compare_older_mlvu(era, path, outputs) for era, path in args.mlvu},
        "judge_replies": tally(harness.verdicts([a_reply(draw) for _ in range(args.outputs // 5)])),
        "prompts": tally(harness.prompts(draw, args.outputs // 100)),
        "aggregates": tally(harness.aggregates(draw, args.outputs // 1000)),
    }
    document = {"lmms_eval": metadata.version("lmms_eval"), "seed": args.seed}
    print(json.dumps({**document, "compared": compared}, indent=2))
    return 1 if any(entry["different"] for entry in compared.values()) else 0


def an_output(draw):
    """A text that a rule may react to."""
    pieces = [*SIGNS, *MARKED, *PHRASES, *TEXTS, *(text.lower() for text in TEXTS)]
    separator = draw.choice(["", " "])
    return separator.join(draw.choices(pieces, k=draw.randrange(0, 16)))


def a_reply(draw):
    """What a judge might say, more or less."""
    template = draw.choice(TEMPLATES)
    filled = template % tuple(draw.choice(REPLIES) for _ in range(template.count("%s")))
    before, after = ("".join(draw.choices([*REPLIES, *[""] * 50], k=3)) for _ in range(2))
    return before + filled + after


def tally(pairs):
    """How many pairs (ours, the harness's) there were, how many differ, and the first of those."""
    different = [pair for pair in pairs if pair[0] != pair[1]]
    values = {json.dumps(theirs, sort_keys=True) for _, theirs in pairs}
    return {
        "cases": len(pairs),
        "different_values": len(values),
        "different": len(different),
        **({"first": different[0]} if different else {}),
    }


def compare_readings(harness, outputs):
    """Each rule on each output."""
    options = [f"{letter}. {text}" for letter, text in zip(LETTERS, TEXTS, strict=True)]
    ours = {
        "mvbench": lambda said: [mvbench_label(said) == letter for letter in LETTERS],
        "egoschema": lambda said: egoschema_letter(said, options),
        "nextqa": lambda said: nextqa_letter(said, TEXTS),
        "perceptiontest": perceptiontest_index,
        "mlvu_head": lambda said: mlvu_answer(said, "head"),
    }
    return {
        name: tally([(read(clean(said)), getattr(harness, name)(said.strip())) for said in outputs])
        for name, read in ours.items()
    }


def compare_older_mlvu(era, path, outputs):
    """The rule of an era on each output, beside the file that held it."""
    spec = importlib.util.spec_from_file_location(f"mlvu_{era}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    row = {**a_row("mlvu_dev", random.Random(0)), "task_type": "TR" if era == "regex" else "ego"}

    def theirs(said):
        return next(iter(module.mlvu_process_results(row, [said]).values()))["pred_answer"]

    return tally([(mlvu_answer(clean(said), era), theirs(said.strip())) for said in outputs])


class Harness:
    """lmms-eval's own functions, unchanged."""

    def __init__(self):
        os.environ["HF_HOME"] = tempfile.mkdtemp()
        logging.disable(logging.CRITICAL)
        from loguru import logger

        logger.remove()
        names = ("mvbench", "egoschema", "mlvu", "nextqa", "perceptiontest.val", "activitynetqa")
        self.mv, self.eg, self.ml, self.nx, self.pt, self.an = (
            importlib.import_module(f"lmms_eval.tasks.{name}.utils") for name in names
        )
        rows = [{"option": [f"{x}. {text}" for x, text in zip(LETTERS, TEXTS, strict=True)]},
                {f"a{i}": text for i, text in enumerate(TEXTS)}]  # fmt: skip
        self._eg_options = self.eg.get_multi_choice_info(rows[0])
        self._nx_options = self.nx.get_multi_choice_info(rows[1])

    def mvbench(self, said):
        return [bool(self.mv.mcq_acc(letter, said)) for letter in LETTERS]

    def egoschema(self, said):
        return self._letter(self.eg, said, *self._eg_options)

    def nextqa(self, said):
        return self._letter(self.nx, said, *self._nx_options)

    def _letter(self, module, said, texts, letters):
        module.random = Draws()
        found = module.parse_multi_choice_response(said, letters, texts)
        letter = found[0] if isinstance(found, tuple) else found
        return None if module.random.is_drawn else letter

    def perceptiontest(self, said):
        row = a_row("perceptiontest_val_mc", random.Random(0))
        return self.pt.perceptiontest_val_process_results_mc(row, [said])["accuracy"]["pred_id"]

    def mlvu_head(self, said):
        return self.ml.extract_characters_regex(said)

    def verdicts(self, replies):
        ours = [harness_verdict(reply) for reply in replies]
        theirs = [self.an.parse_score(reply) for reply in replies]
        return [(v and list(v.values()), t and list(t)) for v, t in zip(ours, theirs, strict=True)]

    def prompts(self, draw, count):
        letters = "\nAnswer with the option's letter from the given choices directly."
        build = {
            "mvbench_action_count": (self.mv.mvbench_doc_to_text, "Only give the best option.\n"),
            "egoschema_subset": (self.eg.egoschema_doc_to_text, letters),
            "nextqa_mc_test": (self.nx.nextqa_doc_to_text_mc, ""),
            "perceptiontest_val_mc": (self.pt.perceptiontest_val_doc_to_text, letters),
            "mlvu_dev": (
                self.ml.mlvu_doc_to_text,
                "\nOnly give the best option.\nBest option: (",
            ),
            "activitynetqa": (
                self.an.activitynetqa_doc_to_text,
                " Answer the question using a single word or phrase.",
            ),
        }
        pairs = []
        for task, (function, end) in build.items():
            for row in (a_row(task, draw) for _ in range(count)):
                theirs = function(row, {"pre_prompt": "", "post_prompt": end})
                pairs.append((build_prompt(task, row), theirs))
        return pairs

    def aggregates(self, draw, count):
        """From rows and outputs to the number, and from the harness's own records to it."""
        mean = {
            "mvbench_action_count": (
                lambda row, said: self.mv.mvbench_process_results(row, said)["mvbench_accuracy"],
                self.mv.mvbench_aggregate_results,
            ),
            "mlvu_dev": (
                lambda row, said: next(iter(self.ml.mlvu_process_results(row, said).values())),
                self.ml.mlvu_aggregate_results_dev,
            ),
            "perceptiontest_val_mc": (
                lambda r, said: self.pt.perceptiontest_val_process_results_mc(r, said)["accuracy"],
                lambda records: self.pt.perceptiontest_val_aggregate_accuracy(records, None),
            ),
            "egoschema_subset": (
                lambda r, said: self.eg.egoschema_process_results_generation(r, said)["score"],
                lambda records: self.eg.egoschema_aggregate_score(records, None),
            ),
            "nextqa_mc_test": (
                lambda row, said: self.nx.nextqa_mc_process_results(row, said)["exact_match"],
                lambda records: sum(records) / len(records),
            ),
        }
        plain = {
            "egoschema_subset",
            "nextqa_mc_test",
        }  # which may draw a letter: not to be compared
        pairs = []
        for task, (process, total) in mean.items():
            sayings = SAYINGS_WITH_LETTERS if task in plain else SAYINGS
            for _ in range(count):
                rows = [(a_row(task, draw), draw.choice(sayings)) for _ in range(1, 40)]
                records = [process(row, [said]) for row, said in rows]
                theirs = round(float(total(records)), 9)
                for scored in (rows, records):
                    pairs.append((round(float(aggregate(task, scored)["value"]), 9), theirs))
        return pairs


def a_row(task, draw):
    """An invented annotation row."""
    words = [" ".join(draw.choices(WORDS, k=draw.randrange(1, 5))) + f" {i}" for i in range(7)]
    row = {"question": words[0], "video_name": "v", "question_id": "0"}
    if task == "mvbench_action_count":
        candidates = words[1 : draw.randrange(2, 6)]
        return {**row, "video": "v", "candidates": candidates, "answer": draw.choice(candidates)}
    if task == "egoschema_subset":
        options = [f"{letter}. {text}" for letter, text in zip(LETTERS, words[1:], strict=False)]
        answer = draw.choice(["0", 1, "3", 4])
        return {**row, "video_idx": "v", "question_idx": "0", "option": options, "answer": answer}
    if task == "nextqa_mc_test":
        options = {f"a{i}": text for i, text in enumerate(words[1:6])}
        return {**row, "video": 1, "qid": 0, "type": "CW", "answer": draw.randrange(5), **options}
    if task == "perceptiontest_val_mc":
        answer = draw.choice(["0", 1, "2"])
        rest = {"area": "memory", "reasoning": "descriptive", "tag": []}
        return {**row, "options": words[1:4], "answer_id": answer, **rest}
    if task == "mlvu_dev":
        rest = {"answer": draw.choice("ABCD"), "task_type": draw.choice(KINDS), "duration": 1.0}
        return {**row, "candidates": words[1:5], **rest}
    return {**row, "answer": "boat", "type": "3"}


if __name__ == "__main__":
    sys.exit(main())
