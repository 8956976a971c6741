"""Import every module of the package and say which ones fail; run where only the core is installed.

A module that needs an extra (PEFT, matplotlib, ...) imports it inside the function that uses it, so
that reading the package never needs more than the core. The exceptions are made of what their extra
brings, and imported where it is installed: the HTTP side of the server, whose classes are the
framework's own, and the loops that numba compiles.
"""

import importlib
import importlib.util
import pkgutil
import sys
import traceback

import mobile_videogpt

# Module, and all below it -> the package of its extra.
MADE_OF = {
    "mobile_videogpt.serving.api": "fastapi",
    "mobile_videogpt.serving.page": "fastapi",
    "mobile_videogpt.models.scan_loops": "numba",
    "mobile_videogpt.engines.loops": "numba",
}
EXTRAS = ("peft", "matplotlib", "onnxruntime", "fastapi", "pytest")


def module_names() -> list[str]:
    """Every module below the package, `__main__` apart (importing it would run it)."""
    found = pkgutil.walk_packages(mobile_videogpt.__path__, "mobile_videogpt.")
    names = sorted(m.name for m in found if not m.name.endswith("__main__"))
    lacking = [name for name, needed in MADE_OF.items() if not importlib.util.find_spec(needed)]
    return [name for name in names if not f"{name}.".startswith(tuple(f"{n}." for n in lacking))]


def main() -> int:
    """Import each module; return 1 when one of them cannot be imported."""
    present = [name for name in EXTRAS if importlib.util.find_spec(name)]
    if present:
        print(f"not a core-only environment, it has {', '.join(present)}: this proves less")
    failed = []
    names = module_names()
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            traceback.print_exc()
            failed.append(name)
    print(f"{len(names) - len(failed)} of {len(names)} modules import")
    if failed:
        print("cannot be imported:", ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
