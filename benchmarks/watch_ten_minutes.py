"""Ten minutes of `watch` on an RTSP stream: memory, lag, and whether the answers name the events.

    python benchmarks/record.py benchmarks/results/watch-ten-minutes.json -- \\
        python benchmarks/watch_ten_minutes.py

A pretend camera (examples/rtsp_camera.py) shows MovingShapes clips in turn to the command line, in
a process of its own; every few minutes the stream is cut and comes back. A window that lies within
one clip has answers that the clip's script knows. The resident set of the process is read every two
seconds. Loaded libraries and what the first windows need are there after a minute: growth is
measured from then on, by the median of the first minute after it and of the last one.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from rtsp_camera import FPS, RtspCamera, encode

from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.synthetic.families import NUMBERS
from mobile_videogpt.synthetic.world import COLORS, SHAPES

CLIP_S = 8  # each four-second clip is shown twice, so that a window of four fits into it
WINDOW_S = 4
MOVING = "How many objects move?"
EVENTS = "What happens?"
QUESTIONS = (MOVING, EVENTS)
ALL_NAMES = [f"{color} {shape}" for color in COLORS for shape in SHAPES]
# A frame on the edge of a clip may be placed a little early or late.
EDGE_S = 0.15


def main() -> int:
    """Watch, and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clips", type=int, default=24, help="how many different ones")
    parser.add_argument("--cut-every", type=float, default=150.0, metavar="S")
    parser.add_argument("--cut-for", type=float, default=10.0, metavar="S")
    args = parser.parse_args()
    clips = [make_clip(seed, "test") for seed in range(args.clips)]
    film = encode([frame for clip in clips for _ in range(2) for frame in clip.frames()])
    with RtspCamera(film) as camera:
        process = start_watch(camera.url, args.seconds)
        memory: list[tuple[float, int]] = []
        helpers = (
            threading.Thread(target=sample_memory, args=(process, memory), daemon=True),
            threading.Thread(target=cut, args=(camera, args, process), daemon=True),
        )
        for helper in helpers:
            helper.start()
        records = list(read_records(process))
        document = {
            "seconds_watched": args.seconds,
            "window_s": WINDOW_S,
            "stream": {"fps": FPS, "clips": args.clips, "seconds_per_clip": CLIP_S},
            "exit_code": process.wait(),
            **describe_answers(records, clips, camera),
            "connected_at": [r["seconds"] for r in records if r["event"] == "connected"],
            "events": dict(Counter(record["event"] for record in records)),
            "connections": camera.connections,
            **describe_memory(memory),
            "last": records[-1] if records else None,
        }
    print(json.dumps(document, indent=2))
    return 0


def start_watch(url: str, seconds: float) -> subprocess.Popen[str]:
    """The command line, as a user calls it."""
    asked = [word for question in QUESTIONS for word in ("--ask", question)]
    options = f"--window {WINDOW_S} --every 2 --stop-after {seconds} --max-new-tokens 48".split()
    command = [sys.executable, "-m", "mobile_videogpt", "watch", url, *options, *asked]
    condition = ["--when", "Is there a red circle?", "--is", "yes", "--on-change"]
    return subprocess.Popen([*command, *condition], stdout=subprocess.PIPE, text=True)


def read_records(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """The command's lines."""
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def cut(camera: RtspCamera, args: argparse.Namespace, process: subprocess.Popen[str]) -> None:
    """Cut the stream and bring it back, again and again."""
    while process.poll() is None:
        time.sleep(args.cut_every)
        camera.cut()
        time.sleep(args.cut_for)
        camera.restore()


def sample_memory(process: subprocess.Popen[str], memory: list[tuple[float, int]]) -> None:
    """(seconds, bytes of the resident set) every two seconds."""
    began = time.monotonic()
    while process.poll() is None:
        try:
            pages = Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1]
        except (OSError, IndexError):
            return
        memory.append((time.monotonic() - began, 4096 * int(pages)))
        time.sleep(2)


def describe_memory(memory: list[tuple[float, int]]) -> dict[str, Any]:
    """How large the process was, and how much it grew after its first minute."""
    last = memory[-1][0]

    def median(begin: float, end: float) -> float:
        values = [size for seconds, size in memory if begin <= seconds < end]
        return round(statistics.median(values) / 1e6, 1) if values else 0.0

    minutes = [median(60 * n, 60 * (n + 1)) for n in range(int(last // 60))]
    return {
        "rss_mb_by_minute": minutes,
        "rss_mb_peak": round(max(size for _, size in memory) / 1e6, 1),
        "rss_growth_mb": round(minutes[-1] - minutes[1], 1) if len(minutes) > 2 else None,
    }


def describe_answers(records: list[Any], clips: list[Any], camera: RtspCamera) -> dict[str, Any]:
    """Lag, pace, and how many answers about windows within one clip are right."""
    answers = [record for record in records if record["event"] == "answer"]
    offset = wall_offset()
    within = [(row, clip_of_window(row, clips, camera, offset)) for row in answers]
    within = [(row, clip) for row, clip in within if clip is not None]
    counted = [(row, clip) for row, clip in within if row["question"] == MOVING]
    told = [(row, clip) for row, clip in within if row["question"] == EVENTS]
    lags = [row["lag_s"] for row in answers]
    windows = {row["time"]: row for row in answers}
    return {
        "windows": len(windows),
        "triggers": dict(Counter(row["trigger"] for row in windows.values())),
        "windows_within_a_clip": len(counted),
        "moving_counted_right": sum(
            row["answer"].rstrip(".") == NUMBERS[len(clip.moving)] for row, clip in counted
        ),
        "objects_named": objects_named(told),
        "lag_s": {
            "median": round(statistics.median(lags), 3) if lags else None,
            "nine_of_ten": round(statistics.quantiles(lags, n=10)[-1], 3)
            if len(lags) > 1
            else None,
            "most": max(lags, default=None),
        },
        "furthest_behind": [
            {name: row[name] for name in ("seconds", "lag_s", "took_s", "trigger", "frames")}
            for row in sorted(windows.values(), key=lambda row: -row["lag_s"])[:5]
        ],
        "frames_encoded_per_window": round(
            statistics.mean(row["frames"]["encoded"] for row in windows.values()), 2
        )
        if windows
        else None,
    }


def objects_named(told: list[tuple[Any, Any]]) -> dict[str, int]:
    """Of the objects in the clips, how many a description names; of those named, how many are."""
    found = Counter[str]()
    for row, clip in told:
        shown = {shape.name for shape in clip.shapes}
        shown_later = {f"{s.event.color} {s.shape}" for s in clip.shapes if s.event.color}
        named = {name for name in ALL_NAMES if name in row["answer"]}
        found["shown"] += len(shown)
        found["shown_and_named"] += len(shown & named)
        found["named"] += len(named)
        found["named_and_shown"] += len((shown | shown_later) & named)
    return dict(found)


def wall_offset() -> float:
    """Seconds of the wall's clock at the beginning of the machine's steady one."""
    return time.time() - time.monotonic()


def clip_of_window(row: Any, clips: list[Any], camera: RtspCamera, offset: float) -> Any:
    """The clip that was on show during the whole window; None if it was more than one."""
    end = datetime.fromisoformat(row["time"]).timestamp() - offset
    begin = end - (row["end_s"] - row["start_s"])
    first, last = camera.position(begin - EDGE_S), camera.position(end + EDGE_S)
    place = int(first // CLIP_S)
    return clips[place] if place == int(last // CLIP_S) else None


if __name__ == "__main__":
    sys.exit(main())
