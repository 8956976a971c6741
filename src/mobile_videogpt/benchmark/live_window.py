"""A live window that shares half its frames with the last, beside a fresh one."""

from __future__ import annotations

from typing import Any


def measure_window(chat: Any, clip: str) -> dict[str, Any]:
    """Vision seconds of a fresh window and of one that shares half its frames with it.

    Returns:
        `not_offered` where this version of `VideoChat` has no live window.
    """
    if not hasattr(chat, "stream_window"):
        return {"not_offered": "this version has no live window"}
    return {"not_offered": "not wired in yet"}
