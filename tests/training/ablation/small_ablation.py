"""A small ablation on disk: six variants, two seeds, stages of two steps."""

from pathlib import Path

STAGE = "name: {0}\nkind: {1}\nsteps: 2\nbatch_size: 2\nlearning_rate: 1.0e-3\nwarmup_steps: 1\n"
KINDS = {"stage1": "image_projector", "stage2": "video_projector", "stage3": "instruct"}
VARIANTS = """\
variants:
  dual: {}
  image-only: {encoders: image, frame_selection: uniform}
  video-only: {encoders: video, frame_selection: uniform}
  random: {frame_selection: random}
  all-frames: {frame_selection: uniform, frames_kept_per_chunk: 8, video_passes: 2}
  released-layout: {video_token_layout: released, video_pool_grid: 3}
"""


def write_ablation(folder: Path, start: Path, variants: str = VARIANTS, **fields) -> Path:
    """An ablation's YAML and its stages in `folder`."""
    for name, kind in KINDS.items():
        text = STAGE.format(f"{name}-{kind.replace('_', '-')}", kind)
        (folder / f"{name}.yaml").write_text(f"{text}questions_per_clip: 3\nlora_rank: 4\n")
    values = {"seeds": [0, 1], "train_clips": 8, "test_clips": 3, **fields}
    lines = [f"output: {folder / 'out'}", f"start: {start}", "preset: moving-shapes"]
    lines += [f"{name}: {value}" for name, value in values.items()]
    path = folder / "ablations.yaml"
    path.write_text(
        "\n".join([*lines, "stages: [stage1.yaml, stage2.yaml, stage3.yaml]", variants])
    )
    return path
