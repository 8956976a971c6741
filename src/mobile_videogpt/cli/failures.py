"""What went wrong, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


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


@contextmanager
def needing(extras: str, what: str, *, debug: bool) -> Iterator[None]:
    """What is done within needs optional packages; one that is missing becomes one line.

    Args:
        extras: of this package, which bring them, e.g. "train,eval".
        what: is done, as the sentence's subject.
        debug: leave the error as it is, for its traceback.

    Raises:
        ValueError: a package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if debug or (error.name or "").startswith("mobile_videogpt"):
            raise
        raise ValueError(
            f"{what} needs the package {error.name!r}; run: pip install 'mobile-videogpt[{extras}]'"
        ) from None
