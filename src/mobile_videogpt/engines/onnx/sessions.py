"""ONNX Runtime's sessions: how many threads, which options, a plain error when it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, RunOptions

INSTALL = 'install it with: pip install "mobile-videogpt[onnx]"'


def open_session(path: Path, threads: int | None = None) -> InferenceSession:
    """A session on the CPU.

    Args:
        path: of the `.onnx` file.
        threads: as many as torch uses when None, so that one setting serves both.

    Raises:
        ValueError: ONNX Runtime is not installed, or cannot read the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"the onnx engine needs ONNX Runtime; {INSTALL}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Each session has threads of its own: one that is done must not keep a core from the next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{path} cannot be opened by ONNX Runtime {onnxruntime.__version__} ({reason}); export "
            "the model again"
        ) from error


def frugal_run() -> RunOptions:
    """Options of a run after which the session gives its scratch memory back.

    Parts run one after the other: without this the peak is the sum of what each needs.
    """
    from onnxruntime import RunOptions

    options = RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options
