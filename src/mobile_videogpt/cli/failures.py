"""What went wrong, in one line."""

from __future__ import annotations


def describe_error(error: Exception) -> str:
    """One line for `error`: its message when it was written for users, its type otherwise."""
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"no such file or directory: {error.filename}"
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename is not None else ""
        return f"{error.strerror}{place}"
    message = " ".join(str(error).split())
    if isinstance(error, (ValueError, OSError, ImportError)) and message:
        return message
    name = type(error).__name__
    return f"unexpected {name}: {message} (run again with --debug and report it)"
