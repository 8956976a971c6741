"""Auto registration on ``import mobile_videogpt`` without paying for the import of transformers.

``AutoConfig``, ``AutoModelForImageTextToText`` and ``AutoProcessor`` must know our classes as soon
as this package is imported, but importing transformers and torch takes seconds. Our modules
register themselves when they are imported; the finder below imports them right after the
transformers module that holds the registry they need.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_REGISTRARS = {
    "transformers.models.auto.configuration_auto": f"{__package__}.config",
    "transformers.models.auto.modeling_auto": f"{__package__}.models.mobile_videogpt",
    "transformers.models.auto.processing_auto": f"{__package__}.processor",
}


class _RegisteringLoader(Loader):
    """Runs the module's own loader, then imports the module of ours that registers itself there."""

    def __init__(self, loader: Any, registrar: str) -> None:
        self._loader = loader
        self._registrar = registrar

    def __getattr__(self, name: str) -> Any:  # get_source, ... for inspect
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _import_registrar(self._registrar)


class _RegisteringFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        registrar = _REGISTRARS.get(fullname)
        if registrar is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader, registrar)
        return spec


def _import_registrar(name: str) -> None:
    if name in sys.modules:  # perhaps being imported right now: it registers itself at its end
        return
    if find_spec(name) is not None:
        import_module(name)


def install() -> None:
    """Register now what transformers has already loaded, and the rest when it is loaded."""
    if not any(isinstance(finder, _RegisteringFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RegisteringFinder())
    for registry, registrar in _REGISTRARS.items():
        if registry in sys.modules:
            _import_registrar(registrar)
