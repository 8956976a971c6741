"""numba's compiler as the loops of this package use it, and a cache that sees all they are made of.

numba keeps on disk what it compiled and compiles anew when the file in which a loop stands has
changed. It does not see that what the loop calls stands in another file, which may have changed as
well; here the name under which a loop is kept carries a stamp of all those files.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "fastmath": {"contract", "nsz", "nnan", "ninf"},
    "error_model": "numpy",
    "boundscheck": False,
}

_STAMP_LENGTH = 8
_IMPORT = re.compile(r"^from (\S+) import|^import (\S+)", re.MULTILINE)


def compiled(function: Callable[..., Any] | None = None, **changes: Any) -> Any:
    """`numba.njit` with the options of all loops: `@compiled`, or `@compiled(fastmath=True)`."""
    import numba

    def compile_later(function: Callable[..., Any]) -> Any:
        # numba names its files by this.
        function.__qualname__ += f"_{source_stamp(function.__module__)}"
        return numba.njit(**{**OPTIONS, **changes})(function)

    return compile_later if function is None else compile_later(function)


@cache
def source_stamp(module: str) -> str:
    """A digest of a module's source and of all that it imports from its own package.

    What is imported inside of functions, or by `import` of a package's part by its name alone, is
    not seen; neither is what has no source file.
    """
    package = module.split(".")[0]
    found: dict[str, bytes] = {}
    pending = [module]
    while pending:
        name = pending.pop()
        if name in found or name not in sys.modules:
            continue
        path = getattr(sys.modules[name], "__file__", None)
        found[name] = Path(path).read_bytes() if path and Path(path).is_file() else b""
        for one, other in _IMPORT.findall(found[name].decode("utf-8", "replace")):
            imported = resolve_name(one or other, sys.modules[name].__package__)
            if imported.split(".")[0] == package:
                pending.append(imported)
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + b"\0" + found[name] + b"\0")
    return digest.hexdigest()[:_STAMP_LENGTH]
