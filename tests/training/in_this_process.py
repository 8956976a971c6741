"""Rendering and encoding without processes of their own, which take seconds to start."""

from concurrent.futures import Future

import pytest

from mobile_videogpt.training.miniature import clips, features


class InThisProcess:
    """An executor without processes."""

    def __init__(self, *arguments, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def submit(self, function, *arguments):
        done = Future()
        done.set_result(function(*arguments))
        return done


def stay_in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Until `patch` is undone."""
    for module in (clips, features):
        patch.setattr(module, "ProcessPoolExecutor", InThisProcess)
