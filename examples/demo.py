"""What `make demo` runs: three questions about an example clip, with answers and timings.

The clip is opened once; the second and third question reuse what was encoded.
"""

import json
import logging
import sys
import time
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent


def timed(call, *arguments):
    """Run `call`; return its result and the seconds it took."""
    start = time.perf_counter()
    result = call(*arguments)
    return result, time.perf_counter() - start


def main() -> int:
    """Ask the first clip's questions of `clips.json`; return 1 when an answer is wrong."""
    clip = json.loads((EXAMPLES / "clips.json").read_text(encoding="utf-8"))[0]
    path = EXAMPLES / clip["file"]
    questions = clip["questions"][:3]

    start = time.perf_counter()
    import mobile_videogpt as mv

    logging.getLogger("transformers").setLevel(logging.ERROR)
    chat = mv.VideoChat("moving-shapes")
    print(f"built-in model loaded in {time.perf_counter() - start:.2f} s (it knows moving shapes)")
    video, seconds = timed(chat.open, path)
    kept = ", ".join(f"{video.frame_times[index]:.2f}" for index in video.kept_frames)
    print(f"{path.name}: {len(video.frame_times)} frames encoded in {seconds:.2f} s")
    print(f"key frames kept for the video encoder, at seconds {kept}\n")

    right = 0
    for item in questions:
        answer, seconds = timed(chat.ask, video, item["question"])
        is_right = str(answer).strip().lower() == item["answer"].lower()
        right += is_right
        verdict = "right" if is_right else f"the clip's script says: {item['answer']}"
        print(f"Q: {item['question']}\nA: {answer}   [{seconds:.2f} s, {verdict}]\n")
    print(f"{right} of {len(questions)} right")
    return 0 if right == len(questions) else 1


if __name__ == "__main__":
    sys.exit(main())
