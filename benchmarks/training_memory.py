"""The memory formula of `info --training` beside what one training step really takes.

    python benchmarks/record.py benchmarks/results/training-memory.json -- \
        python benchmarks/training_memory.py moving-shapes
    python benchmarks/record.py benchmarks/results/training-memory-0.5b.json -- \
        python benchmarks/training_memory.py 0.5b

Every step runs in a process of its own, with random weights, on this machine's CPU (or GPU).
`allocator` is what PyTorch gave out at most, `process` what the process grew by; the miniature's
process is left out, because libraries take more than the miniature does.
"""

import json
import subprocess
import sys

MINIATURE = [
    {"stage": "image_projector", "batch_size": 8},
    {"stage": "image_projector", "batch_size": 8, "media": "video"},
    {"stage": "video_projector", "batch_size": 8},
    {"stage": "video_projector", "batch_size": 8, "media": "video"},
    {"stage": "instruct", "batch_size": 8, "lora_rank": 64},
    {"stage": "instruct", "batch_size": 8, "lora_rank": 64, "lora_dropout": 0.05},
    {"stage": "instruct", "batch_size": 8, "lora_rank": 64, "gradient_checkpointing": True},
    {"stage": "instruct", "batch_size": 8, "lora_rank": 64, "has_all_logits": True},
    {"stage": "instruct", "batch_size": 8, "lora_rank": 64, "dtype": "bfloat16"},
]
FULL_SIZE = [{"stage": "image_projector"}, {"stage": "instruct", "media": "still"}]


def measure(preset: str, run: dict, has_profile: bool) -> dict:
    """One step, without the parts of the estimate."""
    wanted = {"preset": preset, "run": {"dtype": "float32", **run}, "has_profile": has_profile}
    command = [
        sys.executable,
        "-m",
        "mobile_videogpt.training.planning.memory_probe",
        json.dumps(wanted),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    (step,) = json.loads(done.stdout)["steps"]
    del step["estimate"]
    return step


def main(presets: list[str]) -> int:
    """Measure the named presets; prints JSON."""
    steps = []
    for preset in presets:
        is_miniature = preset == "moving-shapes"
        for run in MINIATURE if is_miniature else FULL_SIZE:
            step = measure(preset, run, has_profile=is_miniature)
            if is_miniature and step["device"] == "cpu":
                for table in ("measured_bytes", "ratio"):
                    step[table].pop("process", None)
            steps.append(step)
    ratios = [ratio for step in steps for ratio in step["ratio"].values()]
    print(json.dumps({"least_ratio": min(ratios), "largest_ratio": max(ratios), "steps": steps}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
