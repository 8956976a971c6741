"""Auto registration on ``import mobile_videogpt`` without paying for the import of transformers.

``AutoConfig``, ``AutoModelForImageTextToText`` and ``AutoProcessor`` must know our classes as soon
as this package is imported, but importing transformers and torch takes seconds. Our modules
register themselves when they are imported; here the Auto classes' entry points are made to import
them on their first call. Doing it while transformers itself is being imported would be too early:
its modules import each other in circles.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# Modules of ours that register what they define, in the order of their dependencies.
_REGISTRARS = ("config", "models.mobile_videogpt", "processor")

# transformers module -> class -> class methods through which users reach the registries.
_ENTRY_POINTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "transformers.models.auto.configuration_auto": ("AutoConfig", ("from_pretrained", "for_model")),
    "transformers.models.auto.auto_factory": ("_BaseAutoModelClass", ("from_config",)),
    "transformers.models.auto.processing_auto": ("AutoProcessor", ("from_pretrained",)),
}


@functools.cache
def register_all() -> None:
    """Import every module of ours that registers Auto classes."""
    for name in _REGISTRARS:
        import_module(f"{__package__}.{name}")


def install() -> None:
    """Prepare the Auto classes that are loaded already, and the others when they are."""
    if not any(isinstance(finder, _AutoModuleFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AutoModuleFinder())
    for name in _ENTRY_POINTS:
        if name in sys.modules:
            _prepare(sys.modules[name])


def _prepare(module: ModuleType) -> None:
    class_name, methods = _ENTRY_POINTS[module.__name__]
    auto_class = getattr(module, class_name, None)
    for name in methods:
        if auto_class is not None and isinstance(vars(auto_class).get(name), classmethod):
            setattr(auto_class, name, _registering(vars(auto_class)[name].__func__))


def _registering(method: Callable[..., Any]) -> Any:
    """Return the class method with a first step that registers our classes."""

    @functools.wraps(method)
    def wrapper(cls: type, *args: Any, **kwargs: Any) -> Any:
        register_all()
        return method(cls, *args, **kwargs)

    return classmethod(wrapper)


class _AutoModuleFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _ENTRY_POINTS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PreparingLoader(spec.loader)
        return spec


class _PreparingLoader(Loader):
    """The module's own loader, with ``_prepare`` after it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:  # get_source, ... for inspect
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _prepare(module)
