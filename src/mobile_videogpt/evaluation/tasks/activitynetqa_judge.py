"""The judge of ActivityNet-QA: what it is asked, and how its reply is read.

The request is word for word what the field sends, spelling and all: another wording would be
another measure.
"""

from __future__ import annotations

import ast
import json
from typing import Any

_SYSTEM = (
    "You are an intelligent chatbot designed for evaluating the correctness of generative outputs "
    "for question-answer pairs. Your task is to compare the predicted answer with the correct "
    "answer and determine if they match meaningfully. Here's how you can accomplish the task:"
    "------##INSTRUCTIONS: - Focus on the meaningful match between the predicted answer and the "
    "correct answer.\n- Consider synonyms or paraphrases as valid matches.\n- Evaluate the "
    "correctness of the prediction compared to the answer."
)
_REQUEST = (
    "Please evaluate the following video-based question-answer pair:\n\n"
    "Question: {question}\nCorrect Answer: {answer}\nPredicted Answer: {prediction}\n\n"
    "Provide your evaluation only as a yes/no and score where the score is an integer value "
    "between 0 and 5, with 5 indicating the highest meaningful match. Please generate the response "
    "in the form of a Python dictionary string with keys 'pred' and 'score', where value of 'pred' "
    "is  a string of 'yes' or 'no' and value of 'score' is in INTEGER, not STRING.DO NOT PROVIDE "
    "ANY OTHER OUTPUT TEXT OR EXPLANATION. Only provide the Python dictionary string. For example, "
    "your response should look like this: {{'pred': 'yes', 'score': 4.8}}."
)
_MAX_JUDGE_TOKENS = 64
# What reading a dictionary that a language model wrote can run into.
_UNREADABLE = (ValueError, SyntaxError, TypeError, LookupError, AttributeError, ArithmeticError)


def request_body(model: str, question: str, answer: str, prediction: str) -> dict[str, Any]:
    """Body of the chat completion about one prediction."""
    request = _REQUEST.format(question=question, answer=answer, prediction=prediction)
    return {
        "model": model,
        "messages": [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": request},
        ],
        "temperature": 0,
        "max_tokens": _MAX_JUDGE_TOKENS,
    }


def harness_verdict(reply: str) -> dict[str, Any] | None:
    """What lmms-eval reads from a reply: the first {...}, as a Python dictionary.

    >>> harness_verdict("Sure: {'pred': 'not sure', 'score': 2.9}")
    {'Correctness': 'no', 'score': 2}
    """
    start = reply.find("{")
    if start < 0:
        return None
    inside = reply[start + 1 :].split("}", 1)[0]
    try:
        said = ast.literal_eval(f"{{{inside}}}")
        verdict, score = said["pred"].lower(), int(said["score"])
    except (*_UNREADABLE, MemoryError, RecursionError):
        return None
    return {"Correctness": _yes_or_no(verdict), "score": score}


def _yes_or_no(said: str) -> str:
    return "yes" if "yes" in said else "no" if "no" in said else said


def strict_verdict(reply: str) -> dict[str, Any] | None:
    """Reads only a plain yes or no with a score from 0 to 5; Python or JSON, nested or not."""
    for start in (i for i, symbol in enumerate(reply) if symbol == "{"):
        for end in (i for i, symbol in enumerate(reply) if symbol == "}" and i > start):
            said = _dictionary(reply[start : end + 1])
            if isinstance(said, dict) and {"pred", "score"} <= said.keys():
                return _checked(said["pred"], said["score"])
    return None


def _dictionary(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (*_UNREADABLE, MemoryError, RecursionError):
            continue
    return None


def _checked(said: Any, score: Any) -> dict[str, Any] | None:
    verdict = {True: "yes", False: "no"}[said] if isinstance(said, bool) else str(said)
    verdict = verdict.strip().strip(".").lower()
    try:
        points = float(score)
    except _UNREADABLE:
        return None
    if verdict not in ("yes", "no") or not 0 <= points <= 5:
        return None
    return {"Correctness": verdict, "score": int(points)}
