"""Render the example clips and `clips.json` (test split, so training never saw them).

python examples/render_clips.py
"""

import json
from pathlib import Path

from mobile_videogpt.synthetic.dataset import clip_number, clip_questions, write_clip
from mobile_videogpt.synthetic.world import make_clip

EXAMPLES = Path(__file__).resolve().parent
SEED = 9
CLIPS = (18, 19, 27)  # a push, a change of colour with bounces, and four objects


def main() -> None:
    """Write the clips and their questions with the answers that the scripts give."""
    entries = []
    for number, index in enumerate(CLIPS, start=1):
        clip = make_clip(clip_number(SEED, index), "test")
        name = f"shapes-{number}.mp4"
        write_clip(clip, EXAMPLES / name)
        questions = [
            {"question": q.text, "answer": q.answer, "family": q.family}
            for q in clip_questions(clip)
            if not q.needs_options and not q.history and q.family != "description"
        ]
        entries.append({"file": name, "questions": questions})
    text = json.dumps(entries, indent=1) + "\n"
    (EXAMPLES / "clips.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
